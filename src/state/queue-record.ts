import { crc32 } from "node:zlib"
import type { NewMessage } from "./state.ts"

/** One message as it is kept. */
export interface MessageRecord extends Omit<NewMessage, "delayMs"> {
  /** Epoch milliseconds. */
  readonly pushedAtMs: number
  /** Epoch milliseconds before which it is not handed out; 0: at once. */
  readonly dueAtMs: number
}

export interface DeadRecord {
  readonly attempts: number
  readonly error: string
  /** The record it had; undefined when that is damaged. */
  readonly message: MessageRecord | undefined
  readonly bytes: Buffer
}

const VERSION = 1
/** Checksum (4), version (1), pushed (8), due (8), length of tenant and key (2 each). */
const HEADER = 25
const NONE = 0xffff
const DEAD_HEADER = 4
const MAX_ERROR_BYTES = 1024

export function encodeMessage({ value, key, tenant, pushedAtMs, dueAtMs }: MessageRecord): Buffer {
  const tenantBytes = tenant === null ? 0 : Buffer.byteLength(tenant)
  const keyBytes = key === null ? 0 : Buffer.byteLength(key)
  const record = Buffer.allocUnsafe(HEADER + tenantBytes + keyBytes + Buffer.byteLength(value))
  record[4] = VERSION
  record.writeDoubleLE(pushedAtMs, 5)
  record.writeDoubleLE(dueAtMs, 13)
  record.writeUInt16LE(tenant === null ? NONE : tenantBytes, 21)
  record.writeUInt16LE(key === null ? NONE : keyBytes, 23)
  if (tenant !== null) record.write(tenant, HEADER)
  if (key !== null) record.write(key, HEADER + tenantBytes)
  record.write(value, HEADER + tenantBytes + keyBytes)
  record.writeUInt32LE(crc32(record.subarray(4)), 0)
  return record
}

/** @returns undefined for what this version did not write, or not like this. Copies. */
export function decodeMessage(record: Uint8Array | undefined): MessageRecord | undefined {
  if (record === undefined || record.length < HEADER) return undefined
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  if (bytes[4] !== VERSION || bytes.readUInt32LE(0) !== crc32(bytes.subarray(4))) return undefined
  const tenantLength = bytes.readUInt16LE(21)
  const keyLength = bytes.readUInt16LE(23)
  const keyAt = HEADER + (tenantLength === NONE ? 0 : tenantLength)
  const valueAt = keyAt + (keyLength === NONE ? 0 : keyLength)
  return {
    pushedAtMs: bytes.readDoubleLE(5),
    dueAtMs: bytes.readDoubleLE(13),
    tenant: tenantLength === NONE ? null : bytes.toString("utf8", HEADER, keyAt),
    key: keyLength === NONE ? null : bytes.toString("utf8", keyAt, valueAt),
    value: bytes.toString("utf8", valueAt),
  }
}

/** @param message - The record of the message, as it is. */
export function encodeDead(attempts: number, error: string, message: Uint8Array): Buffer {
  const text = Buffer.from(error)
  const length = Math.min(text.length, MAX_ERROR_BYTES)
  const header = Buffer.alloc(DEAD_HEADER)
  header.writeUInt16LE(Math.min(attempts, 0xffff), 0)
  header.writeUInt16LE(length, 2)
  return Buffer.concat([header, text.subarray(0, length), message])
}

/** @returns undefined when it is cut off. Copies. */
export function decodeDead(record: Uint8Array): DeadRecord | undefined {
  if (record.length < DEAD_HEADER) return undefined
  const copy = Buffer.from(record)
  const errorEnd = DEAD_HEADER + copy.readUInt16LE(2)
  if (errorEnd > copy.length) return undefined
  const bytes = copy.subarray(errorEnd)
  return {
    attempts: copy.readUInt16LE(0),
    error: copy.toString("utf8", DEAD_HEADER, errorEnd),
    message: decodeMessage(bytes),
    bytes,
  }
}

/** Place in the queue and time of the push: also another queue, or one begun anew, never gives the same. */
export function messageId(sequence: number, pushedAtMs: number): string {
  return sequence.toString(16).padStart(12, "0") + Math.trunc(pushedAtMs).toString(16).padStart(12, "0")
}
