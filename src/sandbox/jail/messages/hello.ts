import { nearest } from "../../../config/nearest.ts"
import { type ErrorCode, PluginError } from "../../../errors.ts"
import { HOOK_NAMES, type HookName, toCamelCase } from "../../../hooks.ts"
import { quote } from "../../../host/quote.ts"
import type { Json, Limits } from "../../sandbox.ts"
import type { Answer, HelloParams } from "../protocol.ts"
import { toLineBytes } from "./line-bytes.ts"
import { toLine } from "./write-line.ts"

/** What a program said of itself. */
export type Hello =
  | { readonly version: 0 }
  | {
      readonly version: 1
      readonly hooks: ReadonlySet<HookName>
      /** The most calls it wants to have at the same time. */
      readonly concurrency: number
    }

export const HELLO_ID = 0
const PROTOCOL = 1
const DEFAULT_CONCURRENCY = 64
const MAX_CONCURRENCY = 1024
/** Names in the list of hooks, both spellings of each included. */
const MAX_NAMES = 64

/** The first line that a program gets. */
export function helloLine(plugin: string, config: Json, limits: Limits): string {
  const params: HelloParams = { protocol: PROTOCOL, plugin, config, limits: { line_bytes: toLineBytes(limits) } }
  return toLine({ method: "hello", params, id: HELLO_ID })
}

/**
 * @param answer - To `hello`. One without `protocol` is of version 0, unless it is an error with the id of `hello`.
 * @throws {PluginError} `E_PLUGIN_HOOK_MISMATCH`: it names a hook that there is not. `E_PLUGIN_LOAD_FAILED`: it failed, or
 *   speaks another protocol, or not this one.
 */
export function readHello(plugin: string, { id, error, fields }: Answer): Hello {
  const { protocol = null, hooks = null, concurrency = null } = fields
  if (protocol === null && (error === null || id !== HELLO_ID)) return { version: 0 }
  const fail = (what: string, code: ErrorCode = "E_PLUGIN_LOAD_FAILED") =>
    new PluginError(code, plugin, `hello: ${what}`)
  if (error !== null) throw fail(error.message.slice(0, MAX_ERROR))
  if (fields.ok !== true) throw fail('its answer has neither "ok": true nor "error"')
  if (protocol !== PROTOCOL) throw fail(`it speaks protocol ${quote(JSON.stringify(protocol))}, not ${PROTOCOL}`)
  if (id !== HELLO_ID) throw fail(`its answer has not the id ${HELLO_ID}`)
  if (!isNames(hooks)) throw fail("hooks is not a list of names of hooks")
  return {
    version: 1,
    hooks: new Set(hooks.map((name) => toHook(name, fail))),
    concurrency: toConcurrency(concurrency, fail),
  }
}

const MAX_ERROR = 2000

type Fail = (what: string, code?: ErrorCode) => PluginError

function isNames(hooks: Json): hooks is readonly string[] {
  return Array.isArray(hooks) && hooks.length <= MAX_NAMES && hooks.every((name) => typeof name === "string")
}

const HOOK_OF: ReadonlyMap<string, HookName> = new Map(
  HOOK_NAMES.flatMap((hook) => [[hook, hook] as const, [toCamelCase(hook), hook] as const]),
)

function toHook(name: string, fail: Fail): HookName {
  const hook = HOOK_OF.get(name)
  if (hook !== undefined) return hook
  const meant = nearest(name, HOOK_NAMES.map(toCamelCase))
  const advice = meant === undefined ? "" : `; did it mean ${meant}?`
  throw fail(`there is no hook ${quote(name)}${advice}`, "E_PLUGIN_HOOK_MISMATCH")
}

function toConcurrency(value: Json, fail: Fail): number {
  if (value === null) return DEFAULT_CONCURRENCY
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_CONCURRENCY) return value
  throw fail(`concurrency is not a whole number from 1 to ${MAX_CONCURRENCY}`)
}
