import type { ErrorCode } from "../../errors.ts"
import type { Call } from "./call.ts"

/** Longest delay Node's timers know. */
export const MAX_DELAY_MS = 2 ** 31 - 1

/**
 * Watches over a call that waits: its wall time and, until it is done, its abort signal.
 * @param end - Told why the call has to end.
 */
export function watchCall(call: Call, end: (code: ErrorCode, what: string, cause?: unknown) => void): void {
  const { signal, limits, hook } = call.request
  const outOfTime = () => end("E_LIMIT_TIME", `${hook} did not settle within ${limits.wallMs} ms`)
  const aborted = () => {
    if (!call.done) end("E_LIMIT_TIME", `${hook}: the caller gave up`, signal?.reason)
  }
  const timer = setTimeout(outOfTime, Math.min(call.wallEndMs - performance.now(), MAX_DELAY_MS))
  call.unwatch = () => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", aborted)
  }
  // Later, so that whoever made the call can wait for its answer first.
  if (signal?.aborted) queueMicrotask(aborted)
  else signal?.addEventListener("abort", aborted)
}
