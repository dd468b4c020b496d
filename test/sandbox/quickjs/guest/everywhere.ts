import assert from "node:assert/strict"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { runInThisContext } from "node:vm"
import type { GuestServices } from "../../../../src/host/services.ts"
import { GuestExchange } from "../../../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../../../src/plugins/header-access.ts"
import { createQuickjsTier } from "../../../../src/sandbox/quickjs/tier.ts"
import type { SandboxTier } from "../../../../src/sandbox/sandbox.ts"
import { requestContext, textOf } from "../../../plugins/request-context.ts"
import { createNodeContext } from "./node-context.ts"

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

let tier: Promise<SandboxTier> | undefined

async function inQuickjs(script: string): Promise<string[]> {
  tier ??= createQuickjsTier()
  const folder = await mkdtemp(join(tmpdir(), "bext-guest-"))
  try {
    const entry = join(folder, "index.js")
    await writeFile(entry, answering(script))
    const limits = { memoryBytes: 64 * 1024 * 1024, messageBytes: 8 * 1024 * 1024, maxInstances: 1 }
    const source = { name: "sample", folder, entry }
    await using sandbox = await (await tier).load(source, services, limits, "shared")
    await sandbox.ready(null)
    const context = requestContext()
    const exchange = new GuestExchange(access, context, "request", null)
    await sandbox.call({
      hook: "on_request",
      exchange,
      params: [],
      tenant: null,
      limits: { cpuMs: 20_000, wallMs: 60_000, fuel: 0 },
      leader: true,
      signal: null,
    })
    exchange.commit()
    return JSON.parse(await textOf(context.response!.body))
  } finally {
    await rm(folder, { recursive: true })
  }
}

function answering(script: string): string {
  return `export async function onRequest() {
    return { action: "respond", body: JSON.stringify(await ${script}) }
  }`
}

const permissions = { sensitive_headers: [], set_cookies: [], identity: false, rewrite_path: false }
const access = {
  plugin: "sample",
  headers: new HeaderAccess("sample", permissions, [], () => {}),
  permissions,
  body: "none",
  maxBodyBytes: 0,
  maxAnswerBytes: 8 * 1024 * 1024,
} as const

function unused(): never {
  throw new Error("the library asks for no service")
}

const services: GuestServices = {
  config: {},
  storage: unused,
  fetch: unused,
  secret: unused,
  metric: unused,
  log: unused,
}
