import type { ErrorCode, PluginError } from "../../errors.ts"
import type { HookCall, Json } from "../sandbox.ts"
import type { WrittenBody } from "./messages/written-body.ts"

/** Timers count whole milliseconds and may be that much early. */
const EARLY_MS = 2

/** One call of one hook, until its program has answered or nobody waits any more. */
export class JailCall {
  readonly request: HookCall
  /** End of the whole call on the clock of performance.now(). */
  readonly wallEndMs: number
  /** Its promise, for whoever made the call. */
  readonly outcome: Promise<Json | undefined>
  /** performance.now() when it was sent to a process. */
  sentMs = 0
  /** Its share of the CPU time of the process, milliseconds. */
  cpuMs = 0
  done = false
  /** Ends the watch over wall time and abort signal. */
  unwatch: (() => void) | null = null
  /** What `body.write` has taken. */
  written: WrittenBody | null = null
  /** Codes of what the host refused while the program worked on it; null: nothing. */
  refused: Set<ErrorCode> | null = null
  #abort: AbortController | null = null
  #resolve!: (result: Json | undefined) => void
  #reject!: (error: unknown) => void

  constructor(request: HookCall, nowMs: number) {
    this.request = request
    this.wallEndMs = nowMs + request.limits.wallMs - (request.waitedMs ?? 0)
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Ends what the host does for it when the call is over. Made when first asked for. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.done) this.#abort.abort()
    return this.#abort.signal
  }

  /** Whether its wall time is over. */
  isLate(nowMs: number): boolean {
    return nowMs >= this.wallEndMs - EARLY_MS
  }

  succeed(result: Json | undefined): void {
    if (this.#end()) this.#resolve(result)
  }

  fail(error: PluginError | unknown): void {
    if (this.#end()) this.#reject(error)
  }

  #end(): boolean {
    if (this.done) return false
    this.done = true
    this.unwatch?.()
    this.#abort?.abort()
    return true
  }
}
