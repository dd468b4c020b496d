import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { HOOK_NAMES } from "../../../../src/hooks.ts"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"
import { HOOK_EXPORTS } from "../../../../src/sandbox/wasm/bext/hook-exports.ts"
import { REFUSAL_CODES } from "../../../../src/sandbox/wasm/bext/refusal-codes.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { request } from "../../../contracts/sandbox-contract.ts"
import { loadBext } from "./bext-guest.ts"

const text = readFileSync(join(import.meta.dirname, "../../../../docs/wasm-abi.md"), "utf8")

describe("docs/wasm-abi.md", () => {
  it("lists the functions of the ABI with their types, all of them and no other", () => {
    const listed = new Map<string, string>()
    for (const [names, signature] of rows("Functions"))
      for (const name of words(names)) listed.set(name, toType(signature))
    const types = Array.from(FUNCTIONS, ([name, { type }]): [string, string] => [name, type])
    assert.deepEqual([...listed].sort(), types.sort())
  })

  it("lists the functions that wait under that heading", () => {
    const groups = section("Functions").split(/^\| \*\*(.+)\*\* \| \|$/m)
    const waiting = groups[groups.indexOf("waiting") + 1]!
    const listed = words(waiting.match(/^\| `.*?\|/gm)!.join())
    const own = Array.from(FUNCTIONS).flatMap(([name, { waits }]) => (waits === undefined ? [] : [name]))
    assert.deepEqual(listed.filter((name) => name !== "http_fetch_body").sort(), own.sort())
  })

  it("lists the hooks with their types", () => {
    const listed = new Map<string, string>()
    for (const [names, signature] of rows("Hooks a module may export")) {
      if (!signature.includes("->")) continue
      for (const name of words(names)) listed.set(name, toType(signature))
    }
    assert.equal(listed.get("_initialize"), "() -> ()")
    listed.delete("_initialize")
    assert.deepEqual(
      [...listed].sort(),
      HOOK_NAMES.map((hook): [string, string] => [hook, HOOK_EXPORTS[hook].type]).sort(),
    )
  })

  it("numbers the refusals as the host does", () => {
    const listed = rows("Errors").flatMap(([number, code]): [string, number][] => {
      const [name] = words(code)
      return name === undefined || !/^-\d+$/.test(number) ? [] : [[name, Number(number)]]
    })
    assert.deepEqual(listed, [...REFUSAL_CODES])
  })

  it("says which functions cost more fuel than others, and how much", () => {
    const listed = new Map<string, number>()
    for (const [units, names] of rows("Fuel")) {
      if (/^[\d,]+$/.test(units)) for (const name of words(names)) listed.set(name, Number(units.replaceAll(",", "")))
    }
    const own = Array.from(FUNCTIONS).flatMap(([name, { fuel }]): [string, number][] =>
      fuel === 0 ? [] : [[name, fuel]],
    )
    assert.deepEqual([...listed].sort(), own.sort())
  })

  it("shows a module that works", async () => {
    const [, wat] = /```wat\n(.*?)```/s.exec(text)!
    const services = new RecordingServices()
    await using guest = await loadBext(wat!, { services })
    const exchange = new RecordingExchange("/")
    exchange.lists.request.set("x-name", "Ada")
    await guest.call(request(exchange))
    assert.deepEqual([exchange.answer?.status, exchange.text], [200, "Ada"])
    const other = new RecordingExchange("/")
    await guest.call(request(other))
    assert.equal(other.answer, null)
  })
})

/** Cells of the rows of a section's tables. */
function rows(title: string): [string, string][] {
  return Array.from(section(title).matchAll(/^\| ([^|]*) \| ([^|]*) \|/gm), ([, first, second]) => [first!, second!])
}

function section(title: string): string {
  const [, rest] = text.split(`\n## ${title}\n`)
  assert.ok(rest !== undefined, title)
  return rest.split("\n## ")[0]!
}

/** What is in code style. */
function words(cell: string): string[] {
  return Array.from(cell.matchAll(/`([\w-]+)`/g), ([, word]) => word!)
}

/** `(side, by: i64) -> i32` → `(i32 i64) -> (i32)`; parameters without a type are i32. */
function toType(signature: string): string {
  const [, parameters, result = ""] = /^`\((.*?)\)(?: -> (\w+|\(\)))?/.exec(signature)!
  const types = parameters!
    .split(", ")
    .filter((name) => name !== "")
    .map((name) => /: (\w+)$/.exec(name)?.[1] ?? "i32")
  return `(${types.join(" ")}) -> (${result === "()" ? "" : result})`
}
