const CLOSE = 0x8

/**
 * Follows one direction of a websocket from frame to frame. It looks at the frames' headers alone, and so knows where a
 * frame of one's own may go without falling into another.
 * Source: RFC 6455 §5.2; between two frames is enough, as control frames may stand inside a fragmented message (§5.4).
 */
export class FrameBoundary {
  /** A Close frame went by: nothing may follow it. */
  closed = false
  /** Bytes of the current header that were seen, and how many it has. */
  #seen = 0
  #size = 2
  /** Bytes of the current header that say how long the payload is, behind the first two. */
  #extended = 0
  #opcode = 0
  #length = 0
  /** Bytes of the current payload that are still to come. */
  #payload = 0

  /** Whether the next byte begins a frame. */
  get between(): boolean {
    return this.#seen === 0 && this.#payload === 0
  }

  /** Moves past all of `chunk`. */
  pass(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) at = this.#step(chunk, at)
  }

  /**
   * Moves to the end of the first frame that ends in `chunk`.
   * @returns How many bytes that is; undefined when the frame goes on behind `chunk`.
   */
  passFrame(chunk: Uint8Array): number | undefined {
    let at = 0
    while (at < chunk.length) {
      at = this.#step(chunk, at)
      if (this.between) return at
    }
    return undefined
  }

  #step(chunk: Uint8Array, at: number): number {
    if (this.#payload === 0) {
      this.#readHeader(chunk[at]!)
      return at + 1
    }
    const bytes = Math.min(this.#payload, chunk.length - at)
    this.#payload -= bytes
    return at + bytes
  }

  #readHeader(byte: number): void {
    const position = this.#seen++
    if (position === 0) {
      this.#opcode = byte & 0x0f
    } else if (position === 1) {
      const length = byte & 0x7f
      const extended = length === 126 ? 2 : length === 127 ? 8 : 0
      this.#length = extended === 0 ? length : 0
      this.#size = 2 + extended + ((byte & 0x80) === 0 ? 0 : 4)
      this.#extended = extended
    } else if (position < 2 + this.#extended) {
      this.#length = this.#length * 256 + byte
    }
    if (this.#seen > 1 && this.#seen === this.#size) this.#endHeader()
  }

  #endHeader(): void {
    if (this.#opcode === CLOSE) this.closed = true
    // A length that no number holds exactly is one that nobody will live to see the end of.
    this.#payload = Number.isSafeInteger(this.#length) ? this.#length : Number.POSITIVE_INFINITY
    this.#seen = 0
  }
}
