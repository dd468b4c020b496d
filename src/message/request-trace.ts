/** What is recorded of a request that is traced. Times are of performance.now(); nothing here throws or waits. */
export interface RequestTrace {
  /** The request took the route with this glob. */
  routed(glob: string): void
  /** The host answered with an error page. @param code - A code of errors.ts. */
  failed(code: string): void
  /** A hook call with the request, or about it, is over. May come after `end`. */
  called(call: TracedCall): void
  /**
   * A request to an upstream begins.
   * @param url - Where it goes, without query.
   */
  callUpstream(method: string, url: string): UpstreamCall
  /** The response is written, or lost. What is still under way ends with it. The second time it does nothing. */
  end(result: TracedResult): void
}

/** One call of a plugin's hook. */
export interface TracedCall {
  readonly plugin: string
  readonly hook: string
  readonly tier: string
  readonly startedAtMs: number
  readonly endedAtMs: number
  /** Units of fuel; null in tiers that do not count. */
  readonly fuel: number | null
  /** Why it failed, a code of errors.ts; null when it succeeded. */
  readonly errorCode: string | null
}

export interface UpstreamCall {
  /** The W3C traceparent that names this call. */
  readonly traceparent: string
  /** The connection was lost before anything came back; the same request is sent once more. */
  resent(): void
  answered(status: number): void
  /** No answer comes. Ends the call. @param code - A code of errors.ts. */
  failed(code: string): void
  /** The answer, body included, has arrived. */
  end(): void
}

export interface TracedResult {
  readonly status: number
  /** From accept to the last byte. */
  readonly durationMs: number
  /** The response did not reach the client as a whole. */
  readonly aborted: boolean
}
