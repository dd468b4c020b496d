import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { ERRORS } from "../../../../src/errors.ts"
import { HOOK_NAMES, type HookName, toCamelCase } from "../../../../src/hooks.ts"
import { applyAnswer } from "../../../../src/sandbox/jail/messages/apply-answer.ts"
import { toParams } from "../../../../src/sandbox/jail/messages/call-params.ts"
import { runGuestCall } from "../../../../src/sandbox/jail/messages/guest-calls.ts"
import { helloLine, readHello } from "../../../../src/sandbox/jail/messages/hello.ts"
import { parseLine } from "../../../../src/sandbox/jail/messages/parse-line.ts"
import { toCallLine, toResultLine } from "../../../../src/sandbox/jail/messages/write-line.ts"
import { WrittenBody } from "../../../../src/sandbox/jail/messages/written-body.ts"
import type { Json } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, LIMITS, request } from "../../../contracts/sandbox-contract.ts"

const page = readFileSync(new URL("../../../../docs/nsjail-protocol.md", import.meta.url), "utf8")
/** Every line of JSON in a block of its own; the one that shows a request takes several. */
const examples = Array.from(page.matchAll(/^```json\n(.*?)^```/gms), ([, block]) => block!)
const lines = examples.flatMap((block) => (isOneValue(block) ? [block] : block.trimEnd().split("\n")))
const services = new RecordingServices()

describe("docs/nsjail-protocol.md", () => {
  it("shows the greeting as it is sent", () => {
    const limits = { ...LIMITS, messageBytes: 1024 * 1024 }
    assert.equal(exampleOf("hello"), helloLine("fraud-score", { threshold: 80 }, limits).trimEnd())
  })

  it("shows an answer to the greeting that is understood", () => {
    const line = lines.find((text) => text.includes('"hooks"')) ?? assert.fail("no answer to hello")
    const message = parseLine(Buffer.from(line))
    assert.ok("answer" in message)
    assert.deepEqual(readHello("p", message.answer), { version: 1, hooks: new Set(["on_request"]), concurrency: 64 })
  })

  it("shows a call, and a request with exactly the fields that are sent", () => {
    const call = request(new RecordingExchange("/a"))
    const sent = JSON.parse(toCallLine("p", call, 7, services, LIMITS))
    const shown = JSON.parse(exampleOf("onRequest"))
    assert.deepEqual([Object.keys(shown), shown.method, shown.id], [Object.keys(sent), sent.method, sent.id])
    const example = lines.find((text) => text.includes('"client_address"')) ?? assert.fail("no request")
    const { body, ...fields } = sent.params
    assert.deepEqual([Object.keys(JSON.parse(example)), body], [Object.keys(fields), { text: "body" }])
  })

  it("shows a call of the program and its answers", async () => {
    const message = parseLine(Buffer.from(exampleOf("storage.get")))
    assert.ok("call" in message)
    const context = { ...CONTEXT, services: new RecordingServices() }
    context.services.storage(null).set("seen", "yes", 0)
    const value = await runGuestCall(message.call, context)
    const [answer, refusal] = lines.filter((text) => text.includes('"result"'))
    assert.equal(answer, toResultLine(message.call.id ?? 0, { value }, LIMITS).trimEnd())
    const { error } = JSON.parse(refusal ?? "null").params
    assert.ok(Object.hasOwn(ERRORS, error.code) && typeof error.message === "string")
  })

  it("has a row for every hook, with the names of its parameters", () => {
    const rows = tableBelow("## Calls of the host")
    for (const hook of HOOK_NAMES) {
      const [, text] = rows.find(([names]) => names.includes(`\`${toCamelCase(hook)}\``)) ?? assert.fail(hook)
      if (hook === "on_request" || hook === "on_response") continue
      const params = toParams(event(hook, ["a", "b", "c"]), services)
      if (params === null) assert.equal(text, "`null`", hook)
      if (typeof params !== "object" || params === null) continue
      const shown = [...text!.matchAll(/"(\w+)":/g)].map(([, name]) => name)
      for (const name of Object.keys(params)) assert.ok(shown.includes(name), `${hook}: ${name} is not in ${text}`)
    }
  })

  it("names only fields of answers that are looked at", () => {
    const rows = tableBelow("## Answers of the program")
    for (const [names, text] of rows) {
      const hooks: readonly HookName[] = names.includes("onResponse")
        ? ["on_response"]
        : names.includes("transform")
          ? ["transform"]
          : names.includes("onRequest") || names.startsWith("with")
            ? ["on_request"]
            : []
      const action = names.includes("respond") ? "respond" : "continue"
      for (const [, field] of text!.replace(/\([^)]*\)/g, "").matchAll(/`(?!null`)([a-z_]+)`/g)) {
        // Of a type that no field has; identity is not this plugin's to set, whatever the value.
        const answer = { ok: true, action, [field!]: [[[]]] }
        for (const hook of hooks) assert.throws(() => apply(hook, answer), { name: "PluginError" }, `${hook}: ${field}`)
      }
    }
  })

  it("names methods that there are", async () => {
    const rows = tableBelow("## Calls of the program")
    assert.equal(rows.length, 14)
    for (const [name] of rows) {
      const method = name.replaceAll("`", "")
      const run = async () => runGuestCall({ method, params: [], id: 1, call: null }, CONTEXT)
      await assert.rejects(run, { code: "E_GUEST_RESULT_INVALID" }, method)
    }
  })

  it("names codes that there are", () => {
    for (const [code] of page.matchAll(/\bE_[A-Z_]+[A-Z]\b/g)) assert.ok(Object.hasOwn(ERRORS, code), code)
  })
})

const CONTEXT = {
  plugin: "p",
  services,
  tenant: null,
  exchange: new RecordingExchange("/"),
  written: new WrittenBody("p", 10),
  signal: new AbortController().signal,
  limits: LIMITS,
}

function isOneValue(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function exampleOf(method: string): string {
  return lines.find((line) => JSON.parse(line).method === method)?.trimEnd() ?? assert.fail(`no example of ${method}`)
}

/** Cells of the first table below a heading. */
function tableBelow(heading: string): [string, string][] {
  const section = page.slice(page.indexOf(heading) + heading.length)
  const [table = ""] = /(?:^\|.*\n)+/m.exec(section) ?? []
  const rows = table.trimEnd().split("\n").slice(2)
  return rows.map((row): [string, string] => {
    const [, first = "", second = ""] = row.split("|").map((cell) => cell.trim())
    return [first, second]
  })
}

function apply(hook: HookName, answer: Record<string, Json>): void {
  const exchange =
    hook === "transform" ? null : new RecordingExchange("/", hook === "on_response" ? "response" : "request")
  const message = parseLine(Buffer.from(JSON.stringify(answer)))
  assert.ok("answer" in message)
  applyAnswer("p", { ...event(hook, []), exchange }, message.answer, null, new Set(), LIMITS.messageBytes)
}
