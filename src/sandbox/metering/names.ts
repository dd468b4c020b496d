import { invalid } from "./module-rejected.ts"
import { Reader } from "./reader.ts"

/** A name as text; `start` is where its length is. */
export function readName(bytes: Uint8Array, start: number): string {
  const reader = new Reader(bytes, start)
  const length = reader.u32()
  try {
    return UTF8.decode(bytes.subarray(reader.at, reader.at + length))
  } catch {
    return invalid("a name that is not UTF-8", start)
  }
}

/** A byte order mark is a character like others: without it two names of a module could become one. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Passes over a name. Its bytes are kept as they are: decoding could join names that differ, and V8 has checked UTF-8. */
export function skipName(reader: Reader): void {
  reader.skip(reader.u32())
}

export function nameStartsWith(bytes: Uint8Array, nameStart: number, nameEnd: number, prefix: string): boolean {
  const first = nameTextStart(bytes, nameStart)
  if (nameEnd - first < prefix.length) return false
  for (let i = 0; i < prefix.length; i++) if (bytes[first + i] !== prefix.charCodeAt(i)) return false
  return true
}

/** Where a name's text begins, behind its length. */
export function nameTextStart(bytes: Uint8Array, nameStart: number): number {
  let lengthEnd = nameStart
  while (bytes[lengthEnd]! >= 0x80) lengthEnd++
  return lengthEnd + 1
}
