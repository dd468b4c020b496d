import type { Exchange } from "../../sandbox.ts"
import type { Field } from "./answer.ts"

/** What `handle_response` needs of `handle_request`: `Exchange.slot` carries it as text. */
export interface Handed {
  /** The guest's, an i32. */
  readonly context: number
  /** Of the response, set before there was one. */
  readonly fields: readonly Field[]
}

const NO_FIELDS: readonly Field[] = []

export function encodeSlot({ context, fields }: Handed): string {
  return fields.length === 0 ? String(context) : JSON.stringify({ context, fields })
}

export function decodeSlot(slot: string): Handed {
  return slot.startsWith("{") ? (JSON.parse(slot) as Handed) : { context: Number(slot), fields: NO_FIELDS }
}

/**
 * Puts a field into the app's response as if it had been there before the app's own: the app's takes the place of one
 * that was set, and stands beside one that was added. Cookies stand beside each other (RFC 6265 §3).
 */
export function putField(exchange: Exchange, [name, value, added]: Field): void {
  if (added || name === "set-cookie") exchange.appendHeader("response", name, value)
  else if (exchange.header("response", name) === undefined) exchange.setHeader("response", name, value)
}
