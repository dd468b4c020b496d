import { isUtf8 } from "node:buffer"
import { PluginError } from "../../../errors.ts"
import type { HookName } from "../../../hooks.ts"
import type { GuestServices } from "../../../host/services.ts"
import type { Exchange, HookCall, Json, Side } from "../../sandbox.ts"
import type { BodyParam, RequestParams } from "../protocol.ts"
import { toBase64, toBuffer } from "./base64.ts"

/** Bytes of a body up to which it is sent along; a longer one is read by whoever wants it. */
const INLINE_BYTES = 64 * 1024

/** What a program is told in a call. */
export function toParams(call: HookCall, services: GuestServices): Json {
  const { exchange, hook, params } = call
  if (exchange === null) return EVENT_PARAMS[hook](params)
  return hook === "on_response" ? toResponseParams(exchange, services) : toRequestParams(exchange, services)
}

type EventParams = (params: readonly Json[]) => Json

const none: EventParams = () => null
const event: EventParams = ([fields = null]) => fields
const named =
  (...names: readonly string[]): EventParams =>
  (params) =>
    Object.fromEntries(names.map((name, i) => [name, params[i] ?? null]))

/** Of hooks without a request: their arguments by name. */
const EVENT_PARAMS: Readonly<Record<HookName, EventParams>> = {
  on_request: none,
  on_response: none,
  transform: named("source", "path", "context"),
  on_server_start: named("config"),
  on_server_stop: none,
  on_request_complete: event,
  on_cache_write: named("key", "tags"),
  on_cache_invalidate: named("pattern", "count"),
  on_reload: none,
  on_queue_message: event,
  cleanup: none,
  cache_get: named("key"),
  cache_set: named("key", "entry", "ttl_ms"),
  cache_delete: named("key"),
  cache_invalidate_tag: named("tag"),
  cache_invalidate_path: named("path"),
  cache_is_healthy: none,
}

function toResponseParams(exchange: Exchange, services: GuestServices): RequestParams {
  const request = toRequestParams(exchange, services)
  const response = { ...request, status: exchange.status, response_headers: exchange.headers("response") }
  const body = services.granted("response_body") ? toBodyParam(exchange, "response") : null
  return body === null ? response : { ...response, response_body: body }
}

function toRequestParams(exchange: Exchange, services: GuestServices): RequestParams {
  const params = {
    method: exchange.method,
    path: exchange.path,
    query: exchange.query,
    scheme: exchange.scheme,
    host: exchange.host,
    client_address: exchange.clientAddress,
    request_id: exchange.requestId,
    upgrade: exchange.upgrade,
    user: exchange.user,
    tenant_id: exchange.tenantId,
    site_id: exchange.siteId,
    headers: exchange.headers("request"),
    extensions: Object.fromEntries(exchange.extensionEntries()),
  }
  const body = services.granted("request_body") ? toBodyParam(exchange, "request") : null
  return body === null ? params : { ...params, body }
}

/** @returns null when there is none to be had: it was not kept, or is a stream that nobody buffers. */
function toBodyParam(exchange: Exchange, side: Side): BodyParam | null {
  let bytes: Uint8Array
  try {
    bytes = exchange.body(side)
  } catch (error) {
    if (error instanceof PluginError && error.code === "E_BODY_NOT_DECLARED") return null
    throw error
  }
  if (bytes.length > INLINE_BYTES) return { bytes: bytes.length }
  return isUtf8(bytes) ? { text: toBuffer(bytes).toString() } : { base64: toBase64(bytes) }
}
