const WINDOW_MS = 100

/** What is read, and can stand still. */
export interface Stoppable {
  stop(): void
  go(): void
}

/**
 * Bounds how much is read in a tenth of a second: over it, reading stands still until the tenth is over, and whoever writes
 * has to wait.
 */
export class Flow {
  readonly #source: Stoppable
  readonly #most: number
  #used = 0
  #windowEndMs = 0
  #timer: NodeJS.Timeout | null = null
  #held = false
  #ended = false

  /** @param most - Units that are let through in a window. */
  constructor(source: Stoppable, most: number) {
    this.#source = source
    this.#most = most
  }

  get isStopped(): boolean {
    return this.#timer !== null || this.#held
  }

  /** Counts what was read. */
  count(units: number, nowMs: number): void {
    if (nowMs >= this.#windowEndMs) {
      this.#used = 0
      this.#windowEndMs = nowMs + WINDOW_MS
    }
    this.#used += units
    if (this.#used <= this.#most || this.#timer !== null || this.#ended) return
    this.#source.stop()
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#go()
    }, this.#windowEndMs - nowMs)
  }

  /** Has it stand still, until `release`. */
  hold(): void {
    if (this.#ended || this.#held) return
    this.#held = true
    this.#source.stop()
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    this.#go()
  }

  /** Lets everything through that still comes. */
  drain(): void {
    this.#ended = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#held = false
    this.#source.go()
  }

  #go(): void {
    if (!this.isStopped) this.#source.go()
  }
}
