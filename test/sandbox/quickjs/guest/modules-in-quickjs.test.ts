import assert from "node:assert/strict"
import { test } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import { answerOf, loadGuest } from "./quickjs-guest.ts"

const answering = (expression: string) => `export const onRequest = async () => new Response(String(${expression}))`

function refusal(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof PluginError)
    assert.equal(error.code, "E_PLUGIN_LOAD_FAILED", error.message)
    assert.match(error.message, message)
    return true
  }
}

test("modules in JavaScript, TypeScript and JSON import each other", async () => {
  await using guest = await loadGuest({
    "src/index.ts": `import type { Plugin } from "bext/plugin"
      import { double, type Shape } from "./lib/double.js"
      import * as text from "../text.mjs"
      import data from "./data.json"
      const shape: Shape = { side: data.side }
      export default { onRequest: () => new Response(text.show(double(shape.side))) } satisfies Plugin`,
    "src/lib/double.ts": "export type Shape = { side: number }; export const double = (n: number): number => n * 2",
    "text.mjs": "export { show } from './show'",
    "show/index.js": "export function show(value) { return '<' + value + '>' }",
    "src/data.json": '{ "side": 21 }',
  })
  assert.equal(await answerOf(guest), "<42>")
})

test("modules that import each other in a circle run", async () => {
  await using guest = await loadGuest({
    "index.js": `import { b } from "./b.js"; export const a = () => 1; ${answering("b()")}`,
    "b.js": 'import { a } from "./index.js"; export const b = () => a() + 1',
  })
  assert.equal(await answerOf(guest), "2")
})

test("a dynamic import gives the module or rejects, and the guest goes on", async () => {
  await using guest = await loadGuest({
    "index.js": `
      export async function onRequest(ctx) {
        const { value } = await import("./later.js")
        const refused = []
        for (const name of ["./none.js", "node:fs", "../outside.js", "lodash", ""]) {
          try { await import(name) } catch { refused.push(name) }
        }
        return new Response(value + refused.length)
      }`,
    "later.js": "export const value = 'late '",
  })
  assert.equal(await answerOf(guest), "late 5")
  assert.equal(await answerOf(guest), "late 5")
})

test("what is wrong with the source is told at load, with file, line and column", async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ "src/index.js": "const a = 1\nlet b = = 2\n" }, /src\/index\.js:2:9/],
    [{ "index.js": 'import "./lib/b.js"', "lib/b.js": "\n\n  return }" }, /lib\/b\.js:3:\d/],
    [{ "index.ts": 'let a: string = "x"\nlet b = @' }, /index\.ts:2:10/],
    [{ "index.js": '\nimport { missing } from "./b.js"', "b.js": "export const a = 1" }, /missing/],
    [{ "index.js": '// x\nimport x from "left-pad"' }, /index\.js:2:15: cannot import "left-pad"/],
    [{ "index.js": 'import "./b.js"', "b.js": 'import "../../../etc/passwd"' }, /b\.js:1:8: cannot import/],
    [{ "index.js": "\n  throw new RangeError('at the top')" }, /RangeError: at the top/],
    [{ "index.js": 'import "./d.json"', "d.json": "[1,]" }, /d\.json: .*JSON/],
  ]
  for (const [files, message] of cases) await assert.rejects(loadGuest(files), refusal(message))
})

test("a stack trace names the author's file, line and column", async () => {
  const source = `type Unused = {
  a: number
}
export function onRequest(ctx: unknown) {
  const spare: Unused = { a: 1 };  throw new Error("here")
}`
  await using guest = await loadGuest({ "src/index.ts": source })
  await assert.rejects(answerOf(guest), (error) => {
    assert.ok(error instanceof PluginError)
    assert.equal(error.code, "E_GUEST_THREW")
    assert.match(String((error.cause as Error).stack), /src\/index\.ts:5:\d+/)
    return true
  })
})

test("a stack trace of a bundle names the files it was made of", async () => {
  // Line 1, column 0 of the bundle is line 40, column 2 of the source.
  const map = { version: 3, sources: ["../src/hooks.ts"], names: [], mappings: "AAuCE" }
  const encoded = Buffer.from(JSON.stringify(map)).toString("base64")
  const code = `export function onRequest() { throw new Error("x") }\n//# sourceMappingURL=data:application/json;base64,${encoded}`
  await using guest = await loadGuest({ "dist/bundle.js": code })
  await assert.rejects(answerOf(guest), (error) => {
    assert.match(String(((error as PluginError).cause as Error).stack), /src\/hooks\.ts:40:3/)
    return true
  })
})
