import type { ErrorCode } from "../../errors.ts"
import type { HookCall } from "../sandbox.ts"

/** Longest delay Node's timers know. */
export const MAX_DELAY_MS = 2 ** 31 - 1

/** What is watched. */
export interface WatchedCall {
  readonly request: HookCall
  /** End of the whole call on the clock of performance.now(). */
  readonly wallEndMs: number
  readonly done: boolean
  /** Set here: ends the watch. */
  unwatch: (() => void) | null
}

/**
 * Watches over a call that waits: its wall time and, until it is done, its abort signal.
 * @param end - Told why the call has to end.
 */
export function watchCall(call: WatchedCall, end: (code: ErrorCode, what: string, cause?: unknown) => void): void {
  const { signal, limits, hook } = call.request
  const outOfTime = () => end("E_LIMIT_TIME", `${hook} did not settle within ${limits.wallMs} ms`)
  const aborted = () => {
    if (!call.done) end("E_LIMIT_TIME", `${hook}: the caller gave up`, signal?.reason)
  }
  const timer = setTimeout(outOfTime, Math.min(Math.max(call.wallEndMs - performance.now(), 0), MAX_DELAY_MS))
  call.unwatch = () => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", aborted)
  }
  // Later, so that whoever made the call can wait for its answer first.
  if (signal?.aborted) queueMicrotask(aborted)
  else signal?.addEventListener("abort", aborted)
}
