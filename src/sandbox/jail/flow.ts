import type { Readable } from "node:stream"

const WINDOW_MS = 100

/**
 * Bounds how much of a stream is read in a tenth of a second: over it, the stream stands still until the tenth is over, and
 * whoever writes to it has to wait.
 */
export class Flow {
  readonly #stream: Readable
  readonly #most: number
  #used = 0
  #windowEndMs = 0
  #timer: NodeJS.Timeout | null = null
  #held = false
  #ended = false

  /** @param most - Units that are let through in a window. */
  constructor(stream: Readable, most: number) {
    this.#stream = stream
    this.#most = most
  }

  /** Counts what was read. */
  count(units: number): void {
    const nowMs = performance.now()
    if (nowMs >= this.#windowEndMs) {
      this.#used = 0
      this.#windowEndMs = nowMs + WINDOW_MS
    }
    this.#used += units
    if (this.#used <= this.#most || this.#timer !== null || this.#ended) return
    this.#stream.pause()
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#go()
    }, this.#windowEndMs - nowMs)
  }

  /** Has the stream stand still, until `release`. */
  hold(): void {
    if (this.#ended) return
    this.#held = true
    this.#stream.pause()
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    this.#go()
  }

  /** Lets everything through that is still in it. */
  drain(): void {
    this.#ended = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#stream.resume()
  }

  #go(): void {
    if (this.#timer === null && !this.#held) this.#stream.resume()
  }
}
