import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { runInNewContext } from "node:vm"
import { answerOf, loadGuest } from "./quickjs-guest.ts"

const api = readFileSync(new URL("../../../../src/plugin-api.ts", import.meta.url), "utf8")
const documented = [...api.slice(api.indexOf("export type WebGlobals")).matchAll(/^ {2}\| "(\w+)"$/gm)].map(
  ([, name]) => name!,
)

test("a guest has exactly the globals of ECMAScript, those the guest API lists, and bext", async () => {
  const namesOf = "JSON.stringify(Object.getOwnPropertyNames(globalThis))"
  await using guest = await loadGuest({ "index.js": `export const onRequest = () => new Response(${namesOf})` })
  const names: string[] = JSON.parse(await answerOf(guest))
  // V8 adds console to a bare realm; InternalError is how QuickJS says that a limit was hit.
  const language = new Set([...JSON.parse(runInNewContext(namesOf)), "InternalError"])
  language.delete("console")
  const added = names.filter((name) => !language.has(name))
  assert.deepEqual(added.sort(), [...documented, "bext"].sort())
})

test("the documented globals are not enumerable and may be replaced", async () => {
  const code = `export const onRequest = () => {
    const names = ${JSON.stringify(documented)}
    const enumerable = Object.keys(globalThis).filter((name) => names.includes(name))
    for (const name of names) globalThis[name] = 1
    return { action: "respond", body: JSON.stringify([enumerable, names.filter((name) => globalThis[name] !== 1)]) }
  }`
  await using guest = await loadGuest({ "index.js": code })
  assert.deepEqual(JSON.parse(await answerOf(guest)), [[], []])
})
