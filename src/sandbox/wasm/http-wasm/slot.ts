import { PluginError } from "../../../errors.ts"
import type { Exchange } from "../../sandbox.ts"
import type { Field } from "./answer.ts"

/** What `handle_response` needs of `handle_request`: `Exchange.slot` carries it as text. */
export interface Handed {
  /** The guest's, an i32. */
  readonly context: number
  /** Of the response, set before there was one. */
  readonly headers: readonly Field[]
  readonly trailers: readonly Field[]
  /** Content that it wrote, where the plugin may write that of the app's response. */
  readonly body: Uint8Array | null
}

const NO_FIELDS: readonly Field[] = []

export function encodeSlot({ context, headers, trailers, body }: Handed): string {
  if (headers.length === 0 && trailers.length === 0 && body === null) return String(context)
  return JSON.stringify({ context, headers, trailers, body: body && Buffer.from(body).toString("base64") })
}

export function decodeSlot(slot: string): Handed {
  if (!slot.startsWith("{")) return { context: Number(slot), headers: NO_FIELDS, trailers: NO_FIELDS, body: null }
  const { body, ...others } = JSON.parse(slot) as Omit<Handed, "body"> & { readonly body: string | null }
  return { ...others, body: body === null ? null : Buffer.from(body, "base64") }
}

/**
 * Puts a field into the app's response as if it had been there before the app's own: the app's takes the place of one
 * that was set, and stands beside one that was added. Cookies stand beside each other (RFC 6265 §3).
 */
export function putHeader(exchange: Exchange, [name, value, added]: Field): void {
  if (added || name === "set-cookie") exchange.appendHeader("response", name, value)
  else if (exchange.header("response", name) === undefined) exchange.setHeader("response", name, value)
}

/** As `putHeader`, for a field behind the content. */
export function putTrailer(exchange: Exchange, [name, value, added]: Field): void {
  const isThere = exchange.trailers("response").some(([one]) => one === name)
  if (added) exchange.appendTrailer("response", name, value)
  else if (!isThere) exchange.setTrailer("response", name, value)
}

/** As `putHeader`, for content: it stays where the app has none but could have. */
export function putBody(exchange: Exchange, body: Uint8Array): void {
  const { method, status } = exchange
  const bodiless = method === "HEAD" || status === 204 || status === 205 || status === 304
  if (!bodiless && isEmpty(exchange)) exchange.setBody("response", body)
}

function isEmpty(exchange: Exchange): boolean {
  try {
    return exchange.body("response").length === 0
  } catch (error) {
    // Events are never buffered, and are content.
    if (error instanceof PluginError && error.code === "E_BODY_NOT_DECLARED") return false
    throw error
  }
}
