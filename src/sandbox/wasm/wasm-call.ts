import type { PluginError } from "../../errors.ts"
import type { HookCall, Json } from "../sandbox.ts"

/** One call of one hook, until its guest has returned or was stopped. */
export class WasmCall {
  readonly request: HookCall
  /** What runs, for messages. */
  what: string
  /** End of the whole call on the clock of performance.now(). */
  readonly wallEndMs: number
  cpuLeftMs: number
  /** It comes before any hook: there is no request. */
  isLoading = false
  /** The guest's function has returned. */
  returned = false
  done = false
  failure: PluginError | null = null
  result: Json | undefined = undefined
  /** Set while the guest waits: ends the wait by unwinding the guest's stack. */
  abandon: (() => void) | null = null
  /** Gives the answer to whoever waits for it. */
  answer: (() => void) | null = null
  /** Ends the watch over wall time and abort signal. */
  unwatch: (() => void) | null = null

  constructor(request: HookCall, nowMs: number, what: string = request.hook) {
    this.request = request
    this.what = what
    this.wallEndMs = nowMs + request.limits.wallMs - (request.waitedMs ?? 0)
    this.cpuLeftMs = request.limits.cpuMs
  }

  fail(error: PluginError): void {
    this.failure ??= error
    this.done = true
  }
}
