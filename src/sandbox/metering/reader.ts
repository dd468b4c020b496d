import { invalid, unsupported } from "./module-rejected.ts"

/**
 * A bounds-checked cursor over a module's bytes. Every read past `end` and every malformed integer is `E_WASM_INVALID`.
 * Source: WebAssembly Core 3.0 §5.2 (values), §5.3 (types).
 */
export class Reader {
  readonly bytes: Uint8Array
  at: number
  readonly end: number

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  u8(): number {
    if (this.at >= this.end) invalid("unexpected end", this.at)
    return this.bytes[this.at++]!
  }

  u32(): number {
    const first = this.u8()
    return first < 0x80 ? first : this.#u32Rest(first)
  }

  skip(count: number): void {
    if (count > this.end - this.at) invalid("unexpected end", this.at)
    this.at += count
  }

  /** Passes over an integer of up to 32, 33 or 35 bits, signed or not: all take at most five bytes. */
  skipInt32(): void {
    this.#skipLeb(5)
  }

  skipInt64(): void {
    this.#skipLeb(10)
  }

  /** Number of entries of a vector whose entries take at least one byte each. */
  count(what: string): number {
    const start = this.at
    const count = this.u32()
    if (count > this.end - this.at) invalid(`${what} count exceeds its section`, start)
    return count
  }

  /** A number, vector or reference type; only `funcref` and `externref` among the reference types. */
  valueType(): number {
    const start = this.at
    const type = this.u8()
    if (type >= 0x7b && type <= 0x7f) return type
    return checkReferenceType(type, start)
  }

  /** What `ref.null` names: `func` or `extern`; a type index would make a typed reference. */
  heapType(): void {
    const start = this.at
    const type = this.u8()
    if (type < 0x40 || type >= 0x80) unsupported("a typed function reference", start)
    checkReferenceType(type, start)
  }

  referenceType(): number {
    const start = this.at
    return checkReferenceType(this.u8(), start)
  }

  #u32Rest(first: number): number {
    const start = this.at - 1
    let value = first & 0x7f
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.u8()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    const last = this.u8()
    if (last > 0x0f) invalid("integer too long", start)
    return (value | (last << 28)) >>> 0
  }

  #skipLeb(longest: number): void {
    const start = this.at
    for (let length = 0; length < longest; length++) if (this.u8() < 0x80) return
    invalid("integer too long", start)
  }
}

function checkReferenceType(type: number, offset: number): number {
  if (type === 0x70 || type === 0x6f) return type
  if (type === 0x63 || type === 0x64) unsupported("a typed function reference", offset)
  if (type === 0x69 || type === 0x74) unsupported("an exception reference", offset)
  if (type >= 0x65 && type <= 0x73) unsupported("a garbage-collected reference type", offset)
  return invalid(`unknown type 0x${type.toString(16)}`, offset)
}
