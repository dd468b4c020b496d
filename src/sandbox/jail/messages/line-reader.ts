import { ProtocolFault } from "./protocol-fault.ts"

const NEWLINE = 0x0a
const FIRST_BYTES = 4 * 1024
/** A buffer of this size is kept for the next line that comes in pieces. */
const KEPT_BYTES = 64 * 1024

/** Takes a stream of bytes apart into its lines. */
export class LineReader {
  readonly #maxBytes: number
  readonly #take: (line: Buffer) => void
  /** The beginning of a line whose end has not come yet. */
  #pending: Buffer = Buffer.alloc(0)
  #length = 0
  #held = false
  #busy = false
  /** Chunks, or what is left of one, whose lines were not taken yet. */
  readonly #waiting: Buffer[] = []

  /**
   * @param maxBytes - Of a line, its end not counted.
   * @param take - Gets each line without its "\n", as a view that is valid during the call only. What it throws comes out of
   *   `push`, and the rest of that chunk is lost.
   */
  constructor(maxBytes: number, take: (line: Buffer) => void) {
    this.#maxBytes = maxBytes
    this.#take = take
  }

  /** Bytes of a line that has not ended. */
  get pendingBytes(): number {
    return this.#length
  }

  /** @throws {ProtocolFault} A line is too long, at the first byte that is too many. */
  push(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#takeWaiting()
  }

  /**
   * No further line is taken, also of a chunk that is being taken apart: one chunk has thousands of lines, and each may cost
   * the host a while. Whoever holds stops the stream as well, or chunks pile up here.
   */
  hold(): void {
    this.#held = true
  }

  /** Goes on with what has come meanwhile. @throws as `push`. */
  release(): void {
    this.#held = false
    this.#takeWaiting()
  }

  #takeWaiting(): void {
    // Whoever gets a line may push or release: the rest of its chunk comes first.
    if (this.#busy) return
    this.#busy = true
    try {
      while (!this.#held && this.#waiting.length > 0) this.#split(this.#waiting.shift()!)
    } finally {
      this.#busy = false
    }
  }

  #split(chunk: Buffer): void {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#held) {
        this.#waiting.unshift(chunk.subarray(start))
        return
      }
      const part = chunk.subarray(start, end)
      start = end + 1
      if (this.#length === 0) this.#whole(part)
      else this.#last(part)
    }
    if (start < chunk.length) this.#append(start === 0 ? chunk : chunk.subarray(start))
  }

  #whole(line: Buffer): void {
    if (line.length > this.#maxBytes) throw this.#tooLong(line)
    this.#take(line)
  }

  #last(part: Buffer): void {
    this.#append(part)
    const buffer = this.#pending
    const line = buffer.subarray(0, this.#length)
    this.#length = 0
    if (buffer.length > KEPT_BYTES) this.#pending = Buffer.alloc(0)
    this.#take(line)
  }

  #append(part: Buffer): void {
    const needed = this.#length + part.length
    if (needed > this.#maxBytes) {
      throw this.#tooLong(this.#length === 0 ? part : this.#pending.subarray(0, this.#length))
    }
    if (needed > this.#pending.length) this.#grow(needed)
    this.#pending.set(part, this.#length)
    this.#length = needed
  }

  /** Twofold each time: whoever sends a line byte by byte does not make the host copy it as often. */
  #grow(needed: number): void {
    const size = Math.min(Math.max(FIRST_BYTES, needed, this.#pending.length * 2), this.#maxBytes)
    const larger = Buffer.allocUnsafeSlow(size)
    larger.set(this.#pending.subarray(0, this.#length))
    this.#pending = larger
  }

  #tooLong(beginning: Buffer): ProtocolFault {
    const fault = new ProtocolFault(`it wrote a line of more than ${this.#maxBytes} bytes`, beginning)
    this.#length = 0
    this.#pending = Buffer.alloc(0)
    return fault
  }
}
