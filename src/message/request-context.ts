import type { Socket } from "node:net"
import type { Readable } from "node:stream"
import type { HeaderList } from "./header-list.ts"
import type { RequestTrace } from "./request-trace.ts"
import type { Trailers } from "./trailers.ts"

/** Who the request speaks for, set by authentication. Claims are JSON. */
export interface User {
  readonly id: string
  readonly claims: Readonly<Record<string, unknown>>
}

/** The body of a message: nothing, text, bytes, or a stream that is read once. */
export type Body = null | string | Uint8Array | Readable

/** What a middleware took; there may be several of one name. */
export interface Timing {
  readonly name: string
  readonly durationMs: number
  /** Units of fuel (wasm tier). */
  readonly fuel?: number
}

/** A response on its way out. `body` null means no content; the writer computes framing headers. */
export interface ResponseState {
  /** Final status, 200 to 599 (RFC 9110 §15), or 101 when the request has an `upgrade` that leads somewhere. */
  status: number
  headers: HeaderList
  body: Body
  /** Sent to clients that take them, when there is content to put them behind. */
  trailers?: Trailers | null
  /** Set on an error answer of the server itself. */
  readonly failed?: boolean
}

/** The body of a request. It can be read as a stream once, or buffered first and then read any number of times. */
export interface RequestBody {
  /** False when the message has neither Content-Length (above 0) nor Transfer-Encoding. */
  readonly present: boolean
  /** The whole body once `buffer` has run or `replace` was called, otherwise undefined. Content codings removed. */
  readonly bytes: Uint8Array | undefined
  /** Fields behind the content, screened as the header section was; null: there are none, and none will come. */
  trailers: Trailers | null
  /**
   * Reads the whole body into memory and removes its content coding.
   * @param maxBytes - Largest decoded size.
   * @throws {BextError} `E_BODY_TOO_LARGE`, `E_BODY_ENCODING`, `E_REQUEST_TIMEOUT`, `E_OVERLOADED` (process budget used up).
   */
  buffer(maxBytes: number): Promise<Uint8Array>
  /** Puts other bytes in its place; drops Content-Encoding and computes lengths anew. */
  replace(bytes: Uint8Array): void
  /** The bytes for the app: the buffered ones if there are any, otherwise the live stream. */
  stream(): Readable
}

/** The wish of a client to go on with another protocol on its connection (RFC 9110 §7.8). */
export interface UpgradeRequest {
  readonly protocol: "websocket"
  /**
   * Takes one of the places for open websockets, of which each client has a share. It is given back by itself when the request, or its websocket, is over.
   * @throws {BextError} `E_WEBSOCKET_LIMIT`; `E_OVERLOADED` when the server is about to end.
   */
  reserve(clientAddress: string): void
  /**
   * Says where the connection leads once a response with status 101 is written. Any other response destroys the target.
   */
  connectTo(target: UpgradeTarget): void
}

/** The other end of a websocket, ready for the first frame. */
export interface UpgradeTarget {
  /** Paused. Whoever gets the target owns it. */
  readonly socket: Socket
  /** What came right behind the other end's handshake. */
  readonly head: Uint8Array
  /** Handshake fields for the response with status 101, which nobody on the way sees or changes. */
  readonly headers: readonly (readonly [string, string])[]
}

/**
 * One request on its way through the server, and its response once there is one.
 * Everything here is already normalised and free of client-sent `x-bext-*` and identity headers.
 */
export interface RequestContext {
  /** What the request is treated as. A plugin may have changed it. */
  method: string
  /** What the client sent. Goes by this: what belongs to the client's connection, and what is told of the client. */
  readonly clientMethod: string
  /** Absolute, percent-decoded once, dot segments and `//` removed. Every matcher sees this form. */
  path: string
  /** Raw query without "?", "" when there is none. */
  query: string
  readonly scheme: "http" | "https"
  /** Authority in lower case, with the port if it was sent; after trusted proxies. */
  readonly host: string
  /** `host` without port. */
  readonly hostname: string
  /** The client's address after trusted proxies; IPv4-mapped IPv6 is shown as IPv4. */
  readonly clientAddress: string
  /** Port of the client's end of the connection; 0 when it is not known, as behind a trusted proxy. */
  readonly clientPort: number
  /** "HTTP/1.1" or "HTTP/1.0", as in the request line. */
  readonly protocolVersion: string
  /** 32 lower-case hex digits, or the one a trusted proxy sent. Made when first read. */
  readonly requestId: string
  /** performance.now() at accept. */
  readonly startedAtMs: number
  requestHeaders: HeaderList
  readonly requestBody: RequestBody
  /** Set when the client asks for a websocket; it may be let down. */
  readonly upgrade?: UpgradeRequest | null
  user: User | null
  tenantId: string | null
  siteId: string | null
  /** "plugin.key" → value; null until somebody sets one. */
  extensions: Map<string, string> | null
  /** Plugin → what its tier keeps from on_request to on_response of this request; null until one does. */
  slots?: Map<string, string> | null
  /** Set by an answer or by the handler. */
  response: ResponseState | null
  /** Whether a trusted proxy handed the request on; what it says about it is believed. */
  readonly fromTrustedProxy?: boolean
  /** W3C traceparent of the span that stands for this request, set at accept or else by tracing at 500. */
  traceparent: string | null
  /** Where its spans are recorded; null when it is not traced. */
  trace?: RequestTrace | null
  /** Values of RateLimit-Policy and RateLimit for the response, set by the rate limiter at 200. */
  rateLimit?: { readonly policy: string; readonly state: string } | null
  /** For Server-Timing; null unless this request asked for it and may have it. */
  timings: Timing[] | null
  /** The snapshot (configuration, routes, plugins) that took this request and stays with it to its end. */
  snapshot?: object | null
  /** Aborted when the client goes away before the response was written. Made when first read. */
  readonly signal: AbortSignal
}
