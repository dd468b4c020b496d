// Keys and values of this plugin, and of the request's tenant, if it has one. Keys are 1 to 512 bytes without NUL, slash,
// backslash and ".." (E_STORAGE_KEY). What is written is bounded by the plugin's quota (E_LIMIT_STORAGE).
import * as host from "./bext"
import { at, check, takeBytes, takeText, toUtf8 } from "./memory"

/** The value as text; null: absent, expired, or refused (see `refusal`). */
export function storageGet(key: string): string | null {
  const bytes = toUtf8(key)
  return takeText(host.storage_get(at(bytes), bytes.byteLength))
}

/** The value as bytes; null: as `storageGet`. */
export function storageGetBytes(key: string): Uint8Array | null {
  const bytes = toUtf8(key)
  return takeBytes(host.storage_get(at(bytes), bytes.byteLength))
}

/**
 * Seen at once, durable after `storageFlush`.
 * @param ttlMs - Milliseconds until the key disappears; 0: never.
 * @returns 0, or negative: refused.
 */
export function storageSet(key: string, value: string, ttlMs: i64 = 0): i32 {
  return storageSetBytes(key, Uint8Array.wrap(toUtf8(value)), ttlMs)
}

/** As `storageSet`. */
export function storageSetBytes(key: string, value: Uint8Array, ttlMs: i64 = 0): i32 {
  const bytes = toUtf8(key)
  return check(
    ttlMs === 0
      ? host.storage_set(at(bytes), bytes.byteLength, value.dataStart, value.length)
      : host.storage_set_ttl(at(bytes), bytes.byteLength, value.dataStart, value.length, ttlMs),
  )
}

/** @returns 1: it was there; 0; negative: refused. */
export function storageDelete(key: string): i32 {
  const bytes = toUtf8(key)
  return check(host.storage_delete(at(bytes), bytes.byteLength))
}

/** Keys that start with `prefix`, sorted. @param limit - 1 to 1000. @returns null: refused. */
export function storageKeys(prefix: string = "", limit: i32 = 1000): string[] | null {
  const bytes = toUtf8(prefix)
  const list = takeText(host.storage_keys(at(bytes), bytes.byteLength, limit))
  if (list == null) return null
  const keys = list.split("\0")
  keys.pop()
  return keys
}

/**
 * Adds to a counter, atomically across processes, and waits for it. An absent key counts as 0.
 * @returns the new value; when `refusal()` is not 0, it means nothing.
 */
export function storageIncrement(key: string, by: i64 = 1, ttlMs: i64 = 0): i64 {
  const bytes = toUtf8(key)
  const value = new ArrayBuffer(8)
  check(host.storage_incr(at(bytes), bytes.byteLength, by, ttlMs, at(value)))
  return load<i64>(at(value))
}

/**
 * Sets the value if the present one is as expected, atomically across processes, and waits for it.
 * @param expected - Null: absent.
 * @returns 1: set; 0; negative: refused.
 */
export function storageCompareAndSwap(key: string, expected: string | null, value: string, ttlMs: i64 = 0): i32 {
  const bytes = toUtf8(key)
  const before = toUtf8(expected == null ? "" : expected)
  const beforeLength = expected == null ? -1 : before.byteLength
  const after = toUtf8(value)
  return check(
    host.storage_cas(at(bytes), bytes.byteLength, at(before), beforeLength, at(after), after.byteLength, ttlMs),
  )
}

/** Waits until everything written so far is on disk. @returns 0, or negative: refused. */
export function storageFlush(): i32 {
  return check(host.storage_flush())
}
