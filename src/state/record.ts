import type { Stored } from "./state.ts"

const TEXT = 1
const BYTES = 2
/** Kind (1 byte) and expiry (float64, little endian). */
const HEADER = 9

/** The bytes of one stored value: kind, expiry, payload. */
export function encodeRecord(entry: Stored): Buffer {
  const text = typeof entry.value === "string"
  const length = text ? Buffer.byteLength(entry.value as string) : entry.value.length
  const record = Buffer.allocUnsafe(HEADER + length)
  record[0] = text ? TEXT : BYTES
  record.writeDoubleLE(entry.expiresAtMs, 1)
  if (text) record.write(entry.value as string, HEADER, "utf8")
  else record.set(entry.value as Uint8Array, HEADER)
  return record
}

/** @returns undefined for a record this version did not write. Copies: `record` may be the driver's own memory. */
export function decodeRecord(record: Uint8Array): Stored | undefined {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  if (bytes.length < HEADER) return undefined
  const expiresAtMs = bytes.readDoubleLE(1)
  if (bytes[0] === TEXT) return { value: bytes.toString("utf8", HEADER), expiresAtMs }
  if (bytes[0] === BYTES) return { value: Uint8Array.from(bytes.subarray(HEADER)), expiresAtMs }
  return undefined
}
