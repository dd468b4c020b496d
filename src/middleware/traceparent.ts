import { randomHex } from "../message/random-hex.ts"

export interface Trace {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** Two hex digits: sampled (01) and random-trace-id (02). */
  readonly flags: string
}

const VERSION_00 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
/** A later version may append fields; what version 00 knows stays where it is (§4.3). */
const LATER_VERSION = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/
const MAX_LENGTH = 512
const KNOWN_FLAGS = 0x03
const NO_TRACE = "0".repeat(32)
const NO_SPAN = "0".repeat(16)

/**
 * Reads a `traceparent` field.
 * @returns null when it is not valid; the trace then starts anew and `tracestate` must not be passed on.
 * Source: W3C Trace Context §3.2, §4.3.
 */
export function parseTraceparent(value: string): Trace | null {
  if (value.length > MAX_LENGTH) return null
  const match = VERSION_00.exec(value) ?? (value.startsWith("00") ? null : LATER_VERSION.exec(value))
  if (match === null) return null
  const [, traceId, parentId, flags] = match
  if (traceId === NO_TRACE || parentId === NO_SPAN) return null
  return { traceId: traceId!, flags: toFlags(Number.parseInt(flags!, 16) & KNOWN_FLAGS) }
}

/** A trace that begins here, marked sampled: 00 would switch off every service behind that follows its parent. */
export function startTrace(): Trace {
  return { traceId: randomHex(32), flags: "01" }
}

/** The field for one more span of the trace, in version 00. */
export function childOf(trace: Trace): string {
  return `00-${trace.traceId}-${randomHex(16)}-${trace.flags}`
}

function toFlags(bits: number): string {
  return bits.toString(16).padStart(2, "0")
}
