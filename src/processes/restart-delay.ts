const FIRST_MS = 250
const MOST_MS = 30_000
/** A process that lived this long was well; its end is no part of a loop. */
const WELL_AFTER_MS = 60_000

/** How long a slot waits before it starts a process again: not at all the first time, then twice as long each time. */
export class RestartDelay {
  #failures = 0

  /** @param livedMs - How long the process served; 0 when it never did. @returns milliseconds. */
  next(livedMs: number): number {
    if (livedMs >= WELL_AFTER_MS) this.#failures = 0
    const delayMs = this.#failures === 0 ? 0 : Math.min(MOST_MS, FIRST_MS * 2 ** (this.#failures - 1))
    this.#failures++
    return delayMs
  }
}
