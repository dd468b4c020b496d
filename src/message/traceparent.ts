import type { HeaderList } from "./header-list.ts"
import { randomHex } from "./random-hex.ts"

export interface Trace {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** Two hex digits: sampled (01) and random-trace-id (02). */
  readonly flags: string
}

/** A trace as its caller named it. */
export interface CallerTrace extends Trace {
  /** 16 lower-case hex digits, not all zero: the caller's span. */
  readonly parentId: string
}

const VERSION_00 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
/** A later version may append fields; what version 00 knows stays where it is (§4.3). */
const LATER_VERSION = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/
const MAX_LENGTH = 512
const SAMPLED = 0x01
const KNOWN_FLAGS = 0x03
const NO_TRACE = "0".repeat(32)
const NO_SPAN = "0".repeat(16)

/**
 * The trace that a request belongs to by its headers. Without a valid one, `tracestate` is taken out of them.
 * @returns null when the trace is to start anew.
 * Source: W3C Trace Context §4.
 */
export function takeCallerTrace(headers: HeaderList): CallerTrace | null {
  const received = headers.get("traceparent")
  const caller = received === undefined ? null : parseTraceparent(received)
  if (caller === null) headers.delete("tracestate")
  return caller
}

/**
 * Reads a `traceparent` field.
 * @returns null when it is not valid; the trace then starts anew and `tracestate` must not be passed on.
 * Source: W3C Trace Context §3.2, §4.3.
 */
export function parseTraceparent(value: string): CallerTrace | null {
  if (value.length > MAX_LENGTH) return null
  const match = VERSION_00.exec(value) ?? (value.startsWith("00") ? null : LATER_VERSION.exec(value))
  if (match === null) return null
  const [, traceId, parentId, flags] = match
  if (traceId === NO_TRACE || parentId === NO_SPAN) return null
  return { traceId: traceId!, parentId: parentId!, flags: toFlags(Number.parseInt(flags!, 16) & KNOWN_FLAGS) }
}

/** A trace that begins here, marked sampled: 00 would switch off every service behind that follows its parent. */
export function startTrace(): Trace {
  return { traceId: randomHex(32), flags: toFlags(SAMPLED) }
}

export function isSampled({ flags }: Trace): boolean {
  return (Number.parseInt(flags, 16) & SAMPLED) !== 0
}

/** The same trace, marked as it is decided here. */
export function markSampled({ traceId, flags }: Trace, sampled: boolean): Trace {
  const others = Number.parseInt(flags, 16) & ~SAMPLED
  return { traceId, flags: toFlags(sampled ? others | SAMPLED : others) }
}

/** The id of one more span: 16 lower-case hex digits. */
export function newSpanId(): string {
  return randomHex(16)
}

/** The field that names a span of the trace, in version 00. Left out, the span is a new one. */
export function toTraceparent({ traceId, flags }: Trace, spanId: string = newSpanId()): string {
  return `00-${traceId}-${spanId}-${flags}`
}

/** @param traceparent - As `toTraceparent` makes them. */
export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35)
}

function toFlags(bits: number): string {
  return bits.toString(16).padStart(2, "0")
}
