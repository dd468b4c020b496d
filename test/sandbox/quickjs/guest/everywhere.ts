import assert from "node:assert/strict"
import { test } from "node:test"
import { runInThisContext } from "node:vm"
import { createNodeContext } from "./node-context.ts"
import { answerOf, loadGuest } from "./quickjs-guest.ts"

/** Expressions that give the same JSON value with the guest's globals, in V8 and in QuickJS, as with Node's own. */
export function likeNode(title: string, expressions: readonly string[]): void {
  const script = toScript(expressions)
  test(`${title}, in a bare realm`, async () => {
    compare(expressions, await inRealm(script), await inNode(script))
  })
  test(`${title}, in QuickJS`, async () => {
    compare(expressions, await inQuickjs(script), await inNode(script))
  })
}

/** Expressions and the JSON value they give with the guest's globals, where Node does otherwise or has no such thing. */
export function asStated(title: string, cases: Readonly<Record<string, unknown>>): void {
  const expressions = Object.keys(cases)
  const expected = Object.values(cases).map((value) => JSON.stringify(value))
  const script = toScript(expressions)
  test(`${title}, in a bare realm`, async () => compare(expressions, await inRealm(script), expected))
  test(`${title}, in QuickJS`, async () => compare(expressions, await inQuickjs(script), expected))
}

/** Each expression's value as JSON, or `"throws NAME"`. */
function toScript(expressions: readonly string[]): string {
  return `(async () => {
    const values = []
    for (const run of [${expressions.map((expression) => `async () => (${expression})`).join(",\n")}]) {
      try { values.push(JSON.stringify(await run()) ?? '"undefined"') } catch (error) { values.push(JSON.stringify("throws " + error?.name)) }
    }
    return values
  })()`
}

function compare(expressions: readonly string[], actual: readonly string[], expected: readonly string[]): void {
  assert.equal(actual.length, expressions.length)
  expressions.forEach((expression, i) => {
    assert.equal(actual[i], expected[i], expression)
  })
}

function inNode(script: string): Promise<string[]> {
  return runInThisContext(script)
}

async function inRealm(script: string): Promise<string[]> {
  return Array.from((await createNodeContext().run(script)) as string[])
}

async function inQuickjs(script: string): Promise<string[]> {
  const code = `export async function onRequest() {
    return { action: "respond", body: JSON.stringify(await ${script}) }
  }`
  await using guest = await loadGuest({ "index.js": code })
  return JSON.parse(await answerOf(guest))
}
