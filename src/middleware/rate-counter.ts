import { RateLimiterMemory } from "rate-limiter-flexible"

/** Where one rule's requests are counted. A counter that several processes share answers with a promise. */
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

const MAX_KEYS = 50_000

/** What RateLimiterMemory keeps inside. Its version is pinned, and every test of the rate limiter goes through here. */
interface MemoryStorage {
  incrby(key: string, value: number, durationSec: number): { consumedPoints: number; msBeforeNext: number }
  delete(key: string): boolean
  readonly _storage: ReadonlyMap<string, unknown>
}

/**
 * Counts in fixed windows in this process's memory. `RateLimiterMemory.consume` counts at once but answers by promise,
 * which would make every request wait a turn, so this asks the library's storage; and it bounds the number of keys, which
 * the library does not: above `maxKeys` the windows that began first are forgotten.
 */
export function createMemoryCounter(requests: number, windowMs: number, maxKeys = MAX_KEYS): RateCounter {
  const limiter = new RateLimiterMemory({ points: requests, duration: windowMs / 1000 })
  const storage = (limiter as unknown as { _memoryStorage: MemoryStorage })._memoryStorage
  return {
    consume(key) {
      const { consumedPoints, msBeforeNext } = storage.incrby(key, 1, limiter.duration)
      if (storage._storage.size > maxKeys) forgetOldest(storage, Math.ceil(maxKeys / 16))
      return {
        remaining: Math.max(requests - consumedPoints, 0),
        resetMs: msBeforeNext,
        exceeded: consumedPoints > requests,
      }
    },
  }
}

/** Many at a time: finding the first key of a Map costs more the more keys in front of it were deleted. */
function forgetOldest(storage: MemoryStorage, count: number): void {
  let left = count
  for (const key of storage._storage.keys()) {
    if (left-- === 0) return
    storage.delete(key)
  }
}
