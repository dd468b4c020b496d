const FIRST_MS = 100
const MOST_MS = 10_000

/** How long the next start of a program waits: not at all after its first failure, then twice as long each time. */
export class StartPause {
  #failures = 0

  /** Milliseconds. */
  get ms(): number {
    return this.#failures < 2 ? 0 : Math.min(MOST_MS, FIRST_MS * 2 ** (this.#failures - 2))
  }

  /** A start failed, or what was started ended without having done anything. */
  failed(): void {
    this.#failures++
  }

  succeeded(): void {
    this.#failures = 0
  }
}
