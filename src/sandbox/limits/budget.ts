import type { ErrorCode } from "../../errors.ts"

/** Most calls are over sooner than this and never ask the CPU clock, which costs as much as a short call. */
const UNASKED_MS = 1

/** Thrown out of the guest when it has used up a budget; no guest code runs after it. */
export class BudgetSpent extends Error {}

/**
 * What the guest that runs now may still use. `spent` is asked often while it runs: by the metering of native code and
 * by the interpreter. Time on the stack is measured by the monotonic clock; when it is over, the thread's own CPU clock
 * is asked, so that a guest does not pay for the time an overloaded machine gave to others. Four times the budget on the
 * monotonic clock ends it in any case.
 */
export class Budget {
  /** Why the guest had to stop, once it had to. */
  verdict: ErrorCode | null = null
  #enteredMs = 0
  #cpuLeftMs = 0
  /** When the next question to the CPU clock is due. */
  #askMs = 0
  #hardEndMs = 0
  #wallEndMs = 0
  /** CPU clock of the thread when it was asked first, microseconds; -1 before. */
  #cpuMark = -1
  /** Time on the stack before that. */
  #beforeMarkMs = 0
  #chargedMs = 0

  /** @param wallEndMs - End of the whole call on the clock of performance.now(). */
  enter(nowMs: number, cpuLeftMs: number, wallEndMs: number): void {
    this.verdict = null
    this.#enteredMs = nowMs
    this.#cpuLeftMs = cpuLeftMs
    this.#wallEndMs = wallEndMs
    this.#askMs = nowMs + cpuLeftMs
    this.#hardEndMs = nowMs + cpuLeftMs * 4
    this.#cpuMark = -1
    this.#chargedMs = 0
  }

  /** Counts work that the host does for the guest when it is no longer on the stack. */
  charge(ms: number): void {
    this.#chargedMs += ms
    this.#cpuLeftMs -= ms
    this.#askMs -= ms
  }

  /** @returns true when the guest has to stop; `verdict` then says why. */
  spent(): boolean {
    if (this.verdict !== null) return true
    const nowMs = performance.now()
    if (nowMs >= this.#wallEndMs) return this.#stop("E_LIMIT_TIME")
    if (this.#cpuMark === -1) {
      const sinceMs = nowMs - this.#enteredMs
      if (sinceMs < UNASKED_MS && nowMs < this.#askMs) return false
      // A guest runs far less than this between two polls, so more can only be time others had.
      this.#beforeMarkMs = Math.min(sinceMs, UNASKED_MS)
      this.#cpuMark = cpuClock()
      this.#askMs = Math.max(this.#askMs, nowMs)
    }
    if (nowMs < this.#askMs) return false
    const left = this.#cpuLeftMs - this.#usedMs()
    if (left <= 0 || nowMs >= this.#hardEndMs) return this.#stop("E_LIMIT_CPU")
    this.#askMs = Math.min(nowMs + left, this.#hardEndMs)
    return false
  }

  /** @returns milliseconds to charge for the time since `enter`. */
  leave(): number {
    const usedMs = this.#cpuMark === -1 ? Math.min(performance.now() - this.#enteredMs, UNASKED_MS) : this.#usedMs()
    return usedMs + this.#chargedMs
  }

  #usedMs(): number {
    return this.#beforeMarkMs + (cpuClock() - this.#cpuMark) / 1000
  }

  #stop(code: ErrorCode): true {
    this.verdict = code
    return true
  }
}

function cpuClock(): number {
  const { user, system } = process.threadCpuUsage()
  return user + system
}
