const NEWLINE = 10
const CARRIAGE_RETURN = 13
const MAX_LINE_BYTES = 8192

/**
 * Makes lines of what a guest writes to a standard stream. A line ends at a newline, or when it is 8 KiB long; empty ones are
 * left out. Bytes that are not UTF-8 become U+FFFD.
 */
export class OutputLines {
  readonly #emit: (line: string) => void
  /** The line that has no end yet; made for the first guest that needs one. */
  #line: Buffer | null = null
  #length = 0
  #ended = 0

  constructor(emit: (line: string) => void) {
    this.#emit = emit
  }

  /** @returns how many lines ended. */
  add(bytes: Uint8Array): number {
    const before = this.#ended
    let start = 0
    while (start < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, start)
      const end = newline < 0 ? bytes.length : newline
      while (start < end) start += this.#append(bytes.subarray(start, end))
      if (newline < 0) break
      this.flush()
      start = newline + 1
    }
    return this.#ended - before
  }

  /** Ends the line that has no end yet. */
  flush(): void {
    let length = this.#length
    this.#length = 0
    if (length > 0 && this.#line![length - 1] === CARRIAGE_RETURN) length--
    if (length === 0) return
    this.#ended++
    this.#emit(this.#line!.toString("utf8", 0, length))
  }

  /** @returns how many bytes were taken. */
  #append(bytes: Uint8Array): number {
    if (this.#length === MAX_LINE_BYTES) this.flush()
    this.#line ??= Buffer.alloc(MAX_LINE_BYTES)
    const part = bytes.subarray(0, MAX_LINE_BYTES - this.#length)
    this.#line.set(part, this.#length)
    this.#length += part.length
    return part.length
  }
}
