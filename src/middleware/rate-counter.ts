/** Where one rule's requests are counted. A counter that has to ask somebody else answers with a promise. */
export interface RateCounter {
  /** Counts one request of `key`. */
  consume(key: string): RateCount | Promise<RateCount>
}

export interface RateCount {
  /** Requests left in this window, 0 when there are none. */
  readonly remaining: number
  /** Milliseconds until the window of this key ends. */
  readonly resetMs: number
  readonly exceeded: boolean
}

/**
 * Makes the counter of one rule.
 * @param id - The same for the same rule in every process and after a reload.
 */
export type CreateRateCounter = (requests: number, windowMs: number, id: string) => RateCounter

export interface WindowCounterOptions {
  /** Keys that are remembered. */
  readonly maxKeys?: number
  /** Monotonic milliseconds, so that a step of the wall clock neither frees nor locks anybody. */
  readonly now?: () => number
}

interface Window {
  count: number
  readonly endMs: number
}

const MAX_KEYS = 50_000

/**
 * Counts in fixed windows in this process's memory. A window begins with the first request of its key. Above `maxKeys` the
 * windows that began first are forgotten.
 */
export class WindowCounter implements RateCounter {
  readonly requests: number
  readonly windowMs: number
  protected readonly now: () => number
  readonly #maxKeys: number
  /** In the order in which they began. */
  readonly #windows = new Map<string, Window>()

  constructor(requests: number, windowMs: number, options: WindowCounterOptions = {}) {
    this.requests = requests
    this.windowMs = windowMs
    this.now = options.now ?? (() => performance.now())
    this.#maxKeys = options.maxKeys ?? MAX_KEYS
  }

  consume(key: string): RateCount {
    const nowMs = this.now()
    const window = this.#live(key, nowMs) ?? this.#begin(key, nowMs + this.windowMs)
    window.count++
    return {
      remaining: Math.max(this.requests - window.count, 0),
      resetMs: window.endMs - nowMs,
      exceeded: window.count > this.requests,
    }
  }

  /** Milliseconds until the window of `key` ends; 0 when there is none. */
  protected remainingMs(key: string): number {
    const nowMs = this.now()
    const window = this.#live(key, nowMs)
    return window === undefined ? 0 : window.endMs - nowMs
  }

  /** Counts what was counted elsewhere, in a window that ends in `remainingMs` there, and here unless one has begun. */
  protected add(key: string, count: number, remainingMs: number): void {
    const nowMs = this.now()
    const window = this.#live(key, nowMs) ?? this.#begin(key, nowMs + Math.min(remainingMs, this.windowMs))
    window.count += count
  }

  #live(key: string, nowMs: number): Window | undefined {
    const window = this.#windows.get(key)
    return window !== undefined && window.endMs > nowMs ? window : undefined
  }

  #begin(key: string, endMs: number): Window {
    const window = { count: 0, endMs }
    // One that is over would keep its place in the order.
    this.#windows.delete(key)
    this.#windows.set(key, window)
    if (this.#windows.size > this.#maxKeys) this.#forgetOldest(Math.ceil(this.#maxKeys / 16))
    return window
  }

  /** Many at a time: finding the first key of a Map costs more the more keys in front of it were deleted. */
  #forgetOldest(count: number): void {
    let left = count
    for (const key of this.#windows.keys()) {
      if (left-- === 0) return
      this.#windows.delete(key)
    }
  }
}
