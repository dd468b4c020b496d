const FIRST_BYTES = 4 * 1024

/**
 * Puts chunks together in one growing buffer. Keeping the chunks instead would let whoever sends a byte at a time make
 * each of them cost a hundred.
 */
export class ByteCollector {
  #buffer: Buffer = Buffer.alloc(0)
  #length = 0

  get length(): number {
    return this.#length
  }

  append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, needed, this.#buffer.length * 2))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    this.#buffer.set(chunk, this.#length)
    this.#length = needed
  }

  /** What was appended so far, in a buffer not much larger. */
  toBuffer(): Buffer {
    const bytes = this.#buffer.subarray(0, this.#length)
    return this.#buffer.length - this.#length > FIRST_BYTES ? Buffer.from(bytes) : bytes
  }
}
