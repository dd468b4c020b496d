import type { Exchange } from "../../sandbox.ts"
import type { Field } from "./answer.ts"

/** What `handle_response` needs of `handle_request`: `Exchange.slot` carries it as text. */
export interface Handed {
  /** The guest's, an i32. */
  readonly context: number
  /** Of the response, set before there was one. */
  readonly headers: readonly Field[]
  readonly trailers: readonly Field[]
}

const NO_FIELDS: readonly Field[] = []

export function encodeSlot({ context, headers, trailers }: Handed): string {
  const bare = headers.length === 0 && trailers.length === 0
  return bare ? String(context) : JSON.stringify({ context, headers, trailers })
}

export function decodeSlot(slot: string): Handed {
  if (slot.startsWith("{")) return JSON.parse(slot) as Handed
  return { context: Number(slot), headers: NO_FIELDS, trailers: NO_FIELDS }
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
