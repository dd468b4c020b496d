import { type ErrorCode, PluginError, toPlainError } from "../../../errors.ts"
import type { HookName } from "../../../hooks.ts"
import type { Exchange, HookCall, Json, Side } from "../../sandbox.ts"
import type { Answer } from "../protocol.ts"
import { CheckedFields, isObject, type Pairs } from "./checked-fields.ts"

/** Characters of a guest's text that are kept. */
const MAX_TEXT = 2000
/** Characters of JSON. Everybody behind the plugin may have to copy it: to another guest, to a lane, into a header. */
const MAX_USER = 64 * 1024

/** What is there besides the answer itself. */
interface Reading {
  readonly fields: CheckedFields
  /** What `body.write` has taken. */
  readonly written: Uint8Array | null
}

/**
 * Puts into effect what a program answered.
 * @param written - What `body.write` has taken; null: nothing.
 * @param refused - Codes of what the host refused while the program worked on this call.
 * @param maxBytes - Of one value: `limits.messageBytes`.
 * @returns The result, of hooks that have one.
 * @throws {PluginError} `E_GUEST_THREW`, or the code of a refusal: the program says that it failed. `E_GUEST_RESULT_INVALID`,
 *   `E_LIMIT_MESSAGE`, or what the exchange refuses.
 */
export function applyAnswer(
  plugin: string,
  call: HookCall,
  answer: Answer,
  written: Uint8Array | null,
  refused: ReadonlySet<ErrorCode>,
  maxBytes: number,
): Json | undefined {
  const { exchange, hook } = call
  if (answer.error !== null) throw guestFailure(plugin, hook, answer.error, refused)
  const fields = new CheckedFields(plugin, "", answer.fields, maxBytes)
  try {
    if (fields.value("ok") !== true) throw fields.invalid('the answer has neither "ok": true nor "error"')
    if (exchange === null) return toResult(hook, fields)
    if (hook === "on_response") changeResponse({ fields, written }, exchange)
    else changeRequest({ fields, written }, exchange)
    return undefined
  } catch (error) {
    if (!(error instanceof PluginError)) throw error
    throw new PluginError(error.code, plugin, `${hook}: ${toPlainError(error).what}`, { cause: error.cause })
  }
}

function guestFailure(
  plugin: string,
  hook: HookName,
  { message, code }: NonNullable<Answer["error"]>,
  refused: ReadonlySet<ErrorCode>,
): PluginError {
  const known = refused.has(code as ErrorCode) ? (code as ErrorCode) : "E_GUEST_THREW"
  return new PluginError(known, plugin, `${hook}: ${message.slice(0, MAX_TEXT)}`)
}

function toResult(hook: HookName, fields: CheckedFields): Json | undefined {
  if (hook === "transform") return fields.optionalText("result") ?? undefined
  if (!hook.startsWith("cache_")) return undefined
  const result = fields.value("result") ?? undefined
  if (result !== undefined) fields.checkSize(JSON.stringify(result), "result")
  return result
}

function changeRequest(reading: Reading, exchange: Exchange): void {
  const { fields } = reading
  const responds = fields.oneOf("action", ["continue", "respond"], "continue") === "respond"
  changeHeaders(fields, exchange, "request")
  const method = fields.optionalText("method")
  if (method !== null) exchange.setMethod(method)
  const path = fields.optionalText("path")
  if (path !== null) exchange.setPath(path)
  const query = fields.optionalText("query")
  if (query !== null) exchange.setQuery(query)
  changeExtensions(fields, exchange)
  changeIdentity(fields, exchange)
  if (responds) {
    respond(reading, exchange)
    return
  }
  // A guard that says 403 and forgets the action must not let the request pass.
  for (const name of ["status", "headers"]) {
    if (fields.has(name)) throw fields.invalid(`${name} is for "action": "respond"`)
  }
  changeBody(reading, exchange, "request")
}

function changeResponse(reading: Reading, exchange: Exchange): void {
  const { fields } = reading
  fields.oneOf("action", ["continue"], "continue")
  changeHeaders(fields, exchange, "response")
  changeExtensions(fields, exchange)
  if (fields.has("status")) exchange.setStatus(toStatus(fields))
  changeBody(reading, exchange, "response")
}

function changeHeaders(fields: CheckedFields, exchange: Exchange, side: Side): void {
  for (const name of fields.texts("remove_headers")) exchange.removeHeader(side, name)
  for (const [name, value] of fields.pairs("set_headers")) exchange.setHeader(side, name, value)
  for (const [name, value] of fields.pairs("add_headers")) exchange.appendHeader(side, name, value)
}

function changeExtensions(fields: CheckedFields, exchange: Exchange): void {
  for (const [key, value] of fields.textEntries("extensions")) exchange.setExtension(key, value)
}

/** Null is a value here: nobody, none. */
function changeIdentity(fields: CheckedFields, exchange: Exchange): void {
  const user = fields.value("user")
  if (user !== undefined) {
    if (JSON.stringify(user).length > MAX_USER)
      throw fields.invalid(`user has more than ${MAX_USER} characters of JSON`)
    exchange.setIdentity("user", user)
  }
  const tenantId = fields.value("tenant_id")
  if (tenantId !== undefined) exchange.setIdentity("tenantId", tenantId)
  const siteId = fields.value("site_id")
  if (siteId !== undefined) exchange.setIdentity("siteId", siteId)
}

function changeBody(reading: Reading, exchange: Exchange, side: Side): void {
  const body = readBody(reading)
  if (body !== null) exchange.setBody(side, toBytes(body))
}

function respond(reading: Reading, exchange: Exchange): void {
  const { fields } = reading
  const body = readBody(reading)
  const headers = fields.pairs("headers")
  const status = fields.has("status") ? toStatus(fields) : 200
  exchange.respond(status, typeof body === "string" ? withType(headers) : headers, toBytes(body ?? ""))
}

function toStatus(fields: CheckedFields): number {
  const status = fields.value("status")
  if (typeof status !== "number") throw fields.invalid("status is not a number")
  return status
}

function readBody({ fields, written }: Reading): string | Uint8Array | null {
  const body = fields.value("body") ?? null
  if (body === null || !isObject(body) || body.written !== true) return fields.optionalBytes("body")
  if (written === null) throw fields.invalid("body is what body.write has taken, but that is nothing")
  return written
}

/** Browsers guess the type of what has none, and may take a text for a page with scripts. */
function withType(headers: Pairs): Pairs {
  if (headers.some(([name]) => name.toLowerCase() === "content-type")) return headers
  return [...headers, ["content-type", "text/plain;charset=UTF-8"]]
}

function toBytes(body: string | Uint8Array): Uint8Array {
  return typeof body === "string" ? Buffer.from(body) : body
}
