/** Wrong tokens one address may try in a minute. */
const MAX_ATTEMPTS = 10
const WINDOW_MS = 60_000
/** Addresses remembered at once. */
const MAX_ADDRESSES = 1000

/** Counts wrong tokens by address. An address that tried too many waits, also with the right one: else guessing could go on. */
export class FailedAttempts {
  readonly #windows = new Map<string, { count: number; endsAtMs: number }>()

  /** @param nowMs - Monotonic. @returns Seconds to wait; 0 = it may try. */
  waitSeconds(address: string, nowMs: number): number {
    const window = this.#windows.get(address)
    if (window === undefined || window.count < MAX_ATTEMPTS || window.endsAtMs <= nowMs) return 0
    return Math.ceil((window.endsAtMs - nowMs) / 1000)
  }

  add(address: string, nowMs: number): void {
    const window = this.#windows.get(address)
    if (window !== undefined && window.endsAtMs > nowMs) {
      window.count++
      return
    }
    this.#windows.delete(address)
    if (this.#windows.size >= MAX_ADDRESSES) this.#windows.delete(this.#windows.keys().next().value!)
    this.#windows.set(address, { count: 1, endsAtMs: nowMs + WINDOW_MS })
  }
}
