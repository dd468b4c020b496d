import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ErrorCode } from "../../../../src/errors.ts"
import { HOOK_NAMES, toCamelCase } from "../../../../src/hooks.ts"
import { type Hello, helloLine, readHello } from "../../../../src/sandbox/jail/messages/hello.ts"
import { parseAnswer0, parseLine } from "../../../../src/sandbox/jail/messages/parse-line.ts"
import { LIMITS } from "../../../contracts/sandbox-contract.ts"

describe("helloLine", () => {
  it("says who is greeted, with what settings, and how long a line may be", () => {
    assert.deepEqual(
      JSON.parse(helloLine("fraud-score", { threshold: 80 }, { ...LIMITS, messageBytes: 1024 * 1024 })),
      {
        method: "hello",
        params: {
          protocol: 1,
          plugin: "fraud-score",
          config: { threshold: 80 },
          limits: { line_bytes: 1_463_640 },
        },
        id: 0,
      },
    )
  })
})

describe("readHello", () => {
  it("reads the hooks in both spellings, each once", () => {
    for (const spell of [toCamelCase, (hook: string) => hook]) {
      const hooks = JSON.stringify(HOOK_NAMES.map((hook) => spell(hook as (typeof HOOK_NAMES)[number])))
      const found = hello(`{"id":0,"ok":true,"protocol":1,"hooks":${hooks}}`)
      assert.deepEqual(found, { version: 1, hooks: new Set(HOOK_NAMES), concurrency: 64 })
    }
    const twice = hello('{"id":0,"ok":true,"protocol":1,"hooks":["onRequest","on_request"]}')
    assert.deepEqual(twice, { version: 1, hooks: new Set(["on_request"]), concurrency: 64 })
    assert.deepEqual(hello('{"id":0,"ok":true,"protocol":1,"hooks":[]}'), {
      version: 1,
      hooks: new Set(),
      concurrency: 64,
    })
  })

  it("reads how many calls the program wants at the same time", () => {
    for (const [text, concurrency] of [
      ["1", 1],
      ["1024", 1024],
      ["null", 64],
    ] as const) {
      const found = hello(`{"id":0,"ok":true,"protocol":1,"hooks":[],"concurrency":${text}}`)
      assert.deepEqual(found, { version: 1, hooks: new Set(), concurrency })
    }
    for (const text of ["0", "-1", "1025", "1.5", "1e999", '"64"', "true", "[]"]) {
      fails(`{"id":0,"ok":true,"protocol":1,"hooks":[],"concurrency":${text}}`, "E_PLUGIN_LOAD_FAILED", /concurrency/)
    }
  })

  it("takes an answer without a protocol for version 0, whatever it says", () => {
    for (const line of ['{"ok":true}', '{"id":0,"ok":true}', '{"error":"unknown method"}', "{}", '{"protocol":null}']) {
      assert.deepEqual(hello(line), { version: 0 }, line)
    }
    for (const line of ["", '{"id":0,"error":"unknown method"}']) {
      assert.deepEqual(readHello("p", parseAnswer0(Buffer.from(line))), { version: 0 }, line)
    }
  })

  it("fails when the program says, with the id of hello, that it cannot begin", () => {
    const line = `{"id":0,"error":"no database${"x".repeat(10_000)}"}`
    fails(line, "E_PLUGIN_LOAD_FAILED", /^p: hello: no databasex{1989} \[/)
    fails('{"id":0,"protocol":1,"error":{"message":"no"}}', "E_PLUGIN_LOAD_FAILED", /^p: hello: no \[/)
    fails('{"protocol":1,"error":"no"}', "E_PLUGIN_LOAD_FAILED", /no/)
  })

  it("fails when the protocol is another one, instead of taking it for version 0", () => {
    for (const protocol of ["2", "0", '"1"', "true", "[1]", '{"a":"\\u001b"}']) {
      fails(`{"id":0,"ok":true,"protocol":${protocol},"hooks":[]}`, "E_PLUGIN_LOAD_FAILED", /^[ -~]*speaks protocol/)
    }
  })

  it("fails when version 1 leaves out the id, or says neither ok nor error", () => {
    fails('{"ok":true,"protocol":1,"hooks":[]}', "E_PLUGIN_LOAD_FAILED", /has not the id 0/)
    fails('{"id":1,"ok":true,"protocol":1,"hooks":[]}', "E_PLUGIN_LOAD_FAILED", /has not the id 0/)
    fails('{"id":0,"protocol":1,"hooks":[]}', "E_PLUGIN_LOAD_FAILED", /ok/)
    fails('{"id":0,"ok":false,"protocol":1,"hooks":[]}', "E_PLUGIN_LOAD_FAILED", /ok/)
  })

  it("fails when the hooks are no list of names", () => {
    for (const hooks of ["null", '"onRequest"', "{}", "[1]", "[null]", '{"0":"onRequest","length":1}']) {
      fails(`{"id":0,"ok":true,"protocol":1,"hooks":${hooks}}`, "E_PLUGIN_LOAD_FAILED", /hooks is not a list/)
    }
    fails('{"id":0,"ok":true,"protocol":1}', "E_PLUGIN_LOAD_FAILED", /hooks is not a list/)
    const many = JSON.stringify(Array(65).fill("onRequest"))
    fails(`{"id":0,"ok":true,"protocol":1,"hooks":${many}}`, "E_PLUGIN_LOAD_FAILED", /hooks is not a list/)
  })

  it("names the hook that was meant", () => {
    const line = (name: string) => `{"id":0,"ok":true,"protocol":1,"hooks":[${JSON.stringify(name)}]}`
    fails(line("onReqest"), "E_PLUGIN_HOOK_MISMATCH", /there is no hook "onReqest"; did it mean onRequest\?/)
    fails(line("OnRequest"), "E_PLUGIN_HOOK_MISMATCH", /did it mean onRequest\?/)
    for (const name of ["__proto__", "constructor", "toString", "", "x".repeat(1000), "\u001b[2J", "hello", "cancel"]) {
      fails(line(name), "E_PLUGIN_HOOK_MISMATCH", /^p: hello: there is no hook [ -~]{2,160}$/)
    }
  })
})

function hello(line: string): Hello {
  const message = parseLine(Buffer.from(line))
  assert.ok("answer" in message)
  return readHello("p", message.answer)
}

function fails(line: string, code: ErrorCode, message: RegExp): void {
  assert.throws(() => hello(line), { name: "PluginError", code, message }, line)
}
