import { last_error } from "./bext"

/**
 * Memory for what the host passes. It is outside of the garbage collector's, so that nothing moves or frees it; what takes
 * it over copies it and frees it.
 */
export function bext_alloc(size: i32): usize {
  return size > 0 ? heap.alloc(size) : 0
}

let refused: i32 = 0

/**
 * The negative number of the function called last, when the host refused it; otherwise 0. A hook that returns it fails with
 * the refusal's code.
 */
export function refusal(): i32 {
  return refused
}

/** Keeps a result for `refusal`. */
export function check(result: i32): i32 {
  refused = min(result, 0)
  return result
}

/** Text: null when there is none, or when it was refused (see `refusal`). */
export function takeText(result: i64): string | null {
  const address = addressOf(result)
  return address === 0 ? null : takeParameter(address, lengthOf(result))
}

/** Bytes: as `takeText`. */
export function takeBytes(result: i64): Uint8Array | null {
  const address = addressOf(result)
  if (address === 0) return null
  const length = lengthOf(result)
  const bytes = new Uint8Array(length)
  memory.copy(bytes.dataStart, address, length)
  heap.free(address)
  return bytes
}

/** The text a hook is given as address and length. Once for each. */
export function takeParameter(address: usize, length: i32): string {
  const text = String.UTF8.decodeUnsafe(address, length)
  heap.free(address)
  return text
}

/** UTF-8. Half of a pair of surrogates becomes U+FFFD. */
export function toUtf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE)
}

/** Where it is; no longer than the buffer is in use. */
export function at(buffer: ArrayBuffer): usize {
  return changetype<usize>(buffer)
}

let returned: ArrayBuffer = new ArrayBuffer(1)

/** What `transform` and the hooks of `cache_backend` return: text or JSON. Nothing is 0, a failure `failure(fail(…))`. */
export function toResult(text: string): i64 {
  // The host reads it when the hook has returned. An empty text has an address as well.
  returned = String.UTF8.encode(text, true, String.UTF8.ErrorMode.REPLACE)
  return ((<i64>at(returned)) << 32) | <i64>(returned.byteLength - 1)
}

/** A negative number as the result of a hook that returns text or JSON. */
export function failure(result: i32): i64 {
  return <i64>(<u32>result)
}

/** "E_CODE: what happened", of the last refusal in this call; null when there was none. */
export function lastError(): string | null {
  const result = last_error()
  const address = <usize>(<u64>result >> 32)
  return address === 0 ? null : takeParameter(address, lengthOf(result))
}

/** The code of `lastError`, such as "E_PERMISSION"; "" when there was none. */
export function lastErrorCode(): string {
  const text = lastError()
  return text == null ? "" : text.split(":")[0]
}

function addressOf(result: i64): usize {
  const address = <usize>(<u64>result >> 32)
  refused = address === 0 ? lengthOf(result) : 0
  return address
}

function lengthOf(result: i64): i32 {
  return <i32>(result & 0xffffffff)
}
