/** One span as it waits for its export. Texts are cut to a bounded length; none is a header, a query or a guest's word. */
export type Span = ServerSpan | HookSpan | UpstreamSpan

interface Common {
  readonly traceId: string
  readonly spanId: string
  /** W3C trace flags. */
  readonly flags: number
  /** Epoch milliseconds. */
  readonly startedAtMs: number
  readonly endedAtMs: number
}

/** The request itself. */
export interface ServerSpan extends Common {
  readonly kind: "server"
  /** The caller's span, when it named one. */
  readonly parentId: string | null
  readonly method: string
  readonly path: string
  readonly scheme: string
  /** Authority as in `RequestContext`. */
  readonly host: string
  readonly hostname: string
  readonly clientAddress: string
  readonly requestId: string
  readonly route: string | null
  readonly status: number
  readonly aborted: boolean
  readonly errorCode: string | null
}

/** A hook call. */
export interface HookSpan extends Common {
  readonly kind: "hook"
  readonly parentId: string
  readonly plugin: string
  readonly hook: string
  readonly tier: string
  readonly fuel: number | null
  readonly errorCode: string | null
}

/** A request to an upstream. */
export interface UpstreamSpan extends Common {
  readonly kind: "upstream"
  readonly parentId: string
  readonly method: string
  readonly url: string
  /** Null: no answer came. */
  readonly status: number | null
  readonly resent: number
  readonly errorCode: string | null
}
