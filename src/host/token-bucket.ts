/**
 * Allows `perMinute` takes a minute, evenly: it starts full, so an idle caller may take a minute's worth at once, and
 * then gets one back every 60 / `perMinute` seconds. Times come from the caller.
 */
export class TokenBucket {
  readonly #perMinute: number
  #tokens: number
  #filledAtMs: number

  constructor(perMinute: number, nowMs: number) {
    this.#perMinute = perMinute
    this.#tokens = perMinute
    this.#filledAtMs = nowMs
  }

  /** @param nowMs - Monotonic milliseconds. @returns whether there was one. */
  take(nowMs: number): boolean {
    const gained = (Math.max(0, nowMs - this.#filledAtMs) * this.#perMinute) / 60_000
    this.#tokens = Math.min(this.#perMinute, this.#tokens + gained)
    this.#filledAtMs = nowMs
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
