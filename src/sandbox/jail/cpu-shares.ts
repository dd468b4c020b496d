import type { JailCall } from "./jail-call.ts"

/** Shortest and longest time between two looks at the CPU clock of a jail. */
const MIN_LOOK_MS = 5
const MAX_LOOK_MS = 250

/**
 * Watches the CPU time of one process while calls are in flight in it. Which of them used it the kernel cannot tell: what
 * was used between two looks is divided among the calls of that time, by how long each of them was there.
 */
export class CpuShares {
  readonly #calls: () => Iterable<JailCall>
  readonly #cpuMs: () => number
  readonly #spent: (call: JailCall) => void
  #timer: NodeJS.Timeout | null = null
  #lookedMs = 0
  #usedMs = 0

  /**
   * @param calls - Those in flight, oldest first.
   * @param cpuMs - Reads the clock.
   * @param spent - Told of the oldest call that has used up its budget.
   */
  constructor(calls: () => Iterable<JailCall>, cpuMs: () => number, spent: (call: JailCall) => void) {
    this.#calls = calls
    this.#cpuMs = cpuMs
    this.#spent = spent
  }

  /** A call was sent. Costs nothing while the watch goes on. */
  watch(nowMs: number): void {
    if (this.#timer !== null) return
    // The first look only finds out where the clock stands.
    this.#lookedMs = nowMs
    this.#usedMs = -1
    this.#next(MIN_LOOK_MS)
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #next(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(ms, MIN_LOOK_MS), MAX_LOOK_MS))
  }

  #look(): void {
    this.#timer = null
    const nowMs = performance.now()
    const calls = [...this.#calls()]
    if (calls.length === 0) return
    const usedMs = this.#cpuMs()
    if (this.#usedMs >= 0) this.#divide(calls, usedMs - this.#usedMs, nowMs)
    this.#usedMs = usedMs
    this.#lookedMs = nowMs
    const over = calls.find((call) => call.cpuMs >= call.request.limits.cpuMs)
    if (over !== undefined) {
      this.#spent(over)
      return
    }
    this.#next(Math.min(...calls.map((call) => call.request.limits.cpuMs - call.cpuMs)))
  }

  #divide(calls: readonly JailCall[], usedMs: number, nowMs: number): void {
    const windowMs = nowMs - this.#lookedMs
    if (windowMs <= 0) return
    const share = usedMs / windowMs / calls.length
    for (const call of calls) call.cpuMs += share * (nowMs - Math.max(call.sentMs, this.#lookedMs))
  }
}
