import { isUtf8 } from "node:buffer"
import { nearest } from "../../../config/nearest.ts"
import { type ErrorCode, PluginError, toPlainError } from "../../../errors.ts"
import { quote } from "../../../host/quote.ts"
import type { GuestFetchRequest, GuestFetchResponse, GuestServices, LogLevel } from "../../../host/services.ts"
import type { Exchange, Json, Limits } from "../../sandbox.ts"
import type { GuestCall } from "../protocol.ts"
import { toBase64, toBuffer } from "./base64.ts"
import { CheckedFields, isObject, type JsonObject } from "./checked-fields.ts"
import type { WrittenBody } from "./written-body.ts"

/** What a call of a program has to do with. */
export interface GuestCallContext {
  readonly plugin: string
  readonly services: GuestServices
  /** Storage partition of the call that it belongs to. */
  readonly tenant: string | null
  /** Of the call that it belongs to; null: it has none, or belongs to none. */
  readonly exchange: Exchange | null
  /** What `body.write` adds to; null as `exchange`. */
  readonly written: WrittenBody | null
  /** Ends a fetch. */
  readonly signal: AbortSignal
  readonly limits: Limits
}

/**
 * Does what a program asks of the host.
 * @returns The value for it; a promise when that takes a while.
 * @throws {PluginError} (or rejects) Refusals of the service; `E_GUEST_PROTOCOL`: there is no such method;
 *   `E_GUEST_RESULT_INVALID`: a parameter of another type; `E_LIMIT_MESSAGE`.
 */
export function runGuestCall({ method, params }: GuestCall, context: GuestCallContext): Json | Promise<Json> {
  const run = METHODS.get(method)
  const { limits, plugin } = context
  if (run === undefined) throw unknownMethod(plugin, method)
  const fields = new CheckedFields(plugin, `${method}: `, toObject(params), limits.messageBytes)
  if (params !== null && !isObject(params)) throw fields.invalid("params is not an object")
  return run(fields, context)
}

/**
 * A refusal as the program gets it. Of anything but a refusal it learns nothing.
 */
export function errorToJson(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  if (!(error instanceof PluginError) || error.code === "E_INTERNAL") {
    return { code: "E_INTERNAL", message: "an error of the host" }
  }
  return { code: error.code, message: toPlainError(error).what.slice(0, MAX_MESSAGE) }
}

type Method = (fields: CheckedFields, context: GuestCallContext) => Json | Promise<Json>

const MAX_MESSAGE = 2000
const MAX_READ_BYTES = 256 * 1024
const MAX_KEYS = 1000
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/
const LEVELS: ReadonlyMap<string, LogLevel> = new Map(
  (["debug", "info", "warn", "error"] as const).map((level) => [level, level]),
)

const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["storage.get", (fields, context) => toValue(fields, storageOf(context).get(fields.text("key")))],
  [
    "storage.set",
    (fields, context) => {
      storageOf(context).set(fields.text("key"), fields.bytes("value"), fields.number("ttl_ms", 0))
      return null
    },
  ],
  ["storage.delete", (fields, context) => storageOf(context).delete(fields.text("key"))],
  [
    "storage.keys",
    (fields, context) =>
      storageOf(context).keys(fields.optionalText("prefix") ?? "", fields.integer("limit", MAX_KEYS)),
  ],
  [
    "storage.incr",
    (fields, context) =>
      storageOf(context).incr(fields.text("key"), fields.integer("by", 1), fields.number("ttl_ms", 0)),
  ],
  [
    "storage.cas",
    (fields, context) => {
      const expected = fields.optionalBytes("expected") ?? undefined
      return storageOf(context).cas(fields.text("key"), expected, fields.bytes("value"), fields.number("ttl_ms", 0))
    },
  ],
  [
    "storage.flush",
    async (_, context) =>
      storageOf(context)
        .flush()
        .then(() => null),
  ],
  ["fetch", async (fields, { services, signal }) => toFetched(await services.fetch(toFetchRequest(fields), signal))],
  ["queue.push", push],
  ["secret", (fields, { services }) => services.secret(fields.text("name"))],
  [
    "metric",
    (fields, { services }) => {
      const tags = Object.fromEntries(fields.scalarEntries("tags"))
      services.metric(fields.text("name"), fields.number("value", Number.NaN), tags)
      return null
    },
  ],
  [
    "log",
    (fields, { services }) => {
      services.log(LEVELS.get(fields.optionalText("level") ?? "info") ?? "info", fields.text("message"))
      return null
    },
  ],
  ["body.read", readBody],
  ["body.write", writeBody],
])

function unknownMethod(plugin: string, method: string): PluginError {
  const meant = nearest(method, METHODS.keys())
  const advice = meant === undefined ? "" : `; did it mean ${meant}?`
  return new PluginError("E_GUEST_PROTOCOL", plugin, `the host has no method ${quote(method)}${advice}`)
}

function toObject(params: Json): JsonObject {
  return isObject(params) ? params : {}
}

function storageOf({ services, tenant }: GuestCallContext) {
  return services.storage(tenant)
}

function toValue(fields: CheckedFields, value: string | Uint8Array | undefined): Json {
  if (value === undefined) return null
  fields.checkSize(value, "the value")
  return typeof value === "string" ? value : { base64: toBase64(value) }
}

function toFetchRequest(fields: CheckedFields): GuestFetchRequest {
  const method = fields.optionalText("method") ?? "GET"
  if (!TOKEN.test(method)) throw fields.invalid("method is not the name of one")
  const body = fields.optionalBytes("body")
  return {
    url: fields.text("url"),
    method: method.toUpperCase(),
    headers: fields.pairs("headers"),
    body: typeof body === "string" ? Buffer.from(body) : body,
    redirect: fields.oneOf("redirect", ["follow", "manual", "error"], "follow"),
  }
}

function toFetched({ url, status, headers, body }: GuestFetchResponse): Json {
  return { url, status, headers, body: isUtf8(body) ? { text: toBuffer(body).toString() } : { base64: toBase64(body) } }
}

async function push(fields: CheckedFields, { services, tenant }: GuestCallContext): Promise<string> {
  const value = fields.value("value")
  if (value === undefined) throw fields.invalid("there is no value")
  const message = {
    value: JSON.stringify(value),
    key: fields.optionalText("key"),
    delayMs: fields.number("delay_ms", 0),
  }
  return services.push(fields.text("queue"), message, tenant)
}

function readBody(fields: CheckedFields, { exchange }: GuestCallContext): Json {
  if (exchange === null) throw needsCall(fields)
  const side = fields.oneOf("side", ["request", "response"], null)
  const [offset, length] = [fields.integer("offset", null), fields.integer("length", null)]
  if (offset < 0) throw fields.invalid("offset is below 0")
  if (length < 0 || length > MAX_READ_BYTES) throw fields.invalid(`length is not 0 to ${MAX_READ_BYTES}`)
  return { base64: toBase64(exchange.body(side).subarray(offset, offset + length)) }
}

function writeBody(fields: CheckedFields, { exchange, written }: GuestCallContext): Json {
  if (exchange === null || written === null) throw needsCall(fields)
  const text = fields.optionalText("text")
  if (text !== null && fields.has("base64")) throw fields.invalid("there are both text and base64")
  written.append(text === null ? fields.base64("base64") : Buffer.from(text))
  return null
}

function needsCall(fields: CheckedFields): PluginError {
  return fields.invalid("needs call, the id of a call with a request")
}
