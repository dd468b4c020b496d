/** Below this length a loop copies faster than `TypedArray.set`. */
const SHORT_COPY = 24

/** A growing buffer for a module's bytes. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>
  length = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
  }

  u8(value: number): void {
    if (this.length === this.#bytes.length) this.#reserve(1)
    this.#bytes[this.length++] = value
  }

  u32(value: number): void {
    this.#reserve(5)
    let rest = value >>> 0
    while (rest > 0x7f) {
      this.#bytes[this.length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#bytes[this.length++] = rest
  }

  /** A signed integer that fits 32 bits, in the shortest form; also the encoding of a small i64. */
  s32(value: number): void {
    this.#reserve(5)
    let rest = value | 0
    while (rest < -0x40 || rest > 0x3f) {
      this.#bytes[this.length++] = (rest & 0x7f) | 0x80
      rest >>= 7
    }
    this.#bytes[this.length++] = rest & 0x7f
  }

  /** An opcode, or any other byte, followed by an index. */
  op(code: number, index: number): void {
    this.u8(code)
    this.u32(index)
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start
    this.#reserve(count)
    if (count < SHORT_COPY) for (let i = start; i < end; i++) this.#bytes[this.length++] = source[i]!
    else {
      this.#bytes.set(source.subarray(start, end), this.length)
      this.length += count
    }
  }

  /** Length-prefixed contents of another writer: a function body or the contents of a section. */
  sized(contents: Writer): void {
    this.u32(contents.length)
    this.copy(contents.#bytes, 0, contents.length)
  }

  append(contents: Writer): void {
    this.copy(contents.#bytes, 0, contents.length)
  }

  /** A name of ASCII characters. */
  name(text: string): void {
    this.u32(text.length)
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i))
  }

  clear(): void {
    this.length = 0
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }
}
