import assert from "node:assert/strict"
import { join } from "node:path"
import { test } from "node:test"
import { docExamples, parseExample } from "./support/doc-example.ts"
import { runDocExample } from "./support/run-doc-example.ts"

const root = join(import.meta.dirname, "..")

for (const name of ["src/plugin-api.ts", "docs/plugin-api.md", "docs/queue.md"]) {
  for (const example of await docExamples(join(root, name), name)) {
    test(`the example at ${example.place} does what it states`, () => runDocExample(example))
  }
}

const plugin = 'export const onRequest = (ctx) => (ctx.path === "/a" ? new Response("b") : undefined)'

for (const statement of [
  '// GET /a → 404 "b"',
  '// GET /a → 200 "c"',
  '// GET /a → 200 x-missing: 1 "b"',
  "// GET /a → continue",
  "// GET /b → 200",
  "// GET /b → app sees /c",
]) {
  test(`an example that states what is not so fails: ${statement}`, async () => {
    const example = parseExample("here:1", "js", [plugin, statement])
    await assert.rejects(runDocExample(example), { code: "ERR_ASSERTION" })
  })
}

test("an example without a statement fails, and so does a statement that cannot be read", async () => {
  await assert.rejects(runDocExample(parseExample("here:1", "js", [plugin])), /here:1 states nothing/)
  assert.throws(() => parseExample("here:1", "js", ["// GET → nothing"]), /here:1: not a statement/)
})
