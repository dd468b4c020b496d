import type { ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { BextError } from "../errors.ts"
import { titleOf, toProblem } from "./error-response.ts"
import { parseAuthority } from "./parse-authority.ts"
import { toAddress } from "./trusted-proxy.ts"
import type { Exchange } from "./write-response.ts"

/** How long a connection that was told to go may take to read its last answer. */
const LINGER_MS = 1_000

const CONNECTION = Symbol("connection")
type TrackedSocket = Socket & { [CONNECTION]?: Connection }

/** What is known of one client connection beyond its socket. */
export class Connection {
  readonly socket: Socket
  /** The peer's address, IPv4-mapped IPv6 as IPv4. */
  readonly address: string
  /** The peer's port. */
  readonly port: number
  /** Whether the peer is in `server.trusted_proxies`. */
  readonly trusted: boolean
  /** Requests accepted and not yet answered; more than one when the client pipelines. */
  inFlight = 0
  /** Set once a response says so: nothing that arrives after that request is looked at. */
  closing = false
  /** Set once it is a websocket and no longer HTTP. */
  switched = false
  /** The request that came last: the one whose body may still be arriving. */
  #latest: Exchange | null = null
  #latestResponse: ServerResponse | null = null
  readonly #idleMs: number
  #refusal: { error: BextError; requestId: string } | null = null
  #gone = false
  /** What Host said last, and what that is as an authority. */
  #host: string | null = null
  #authority = ""
  #controllers: Set<AbortController> | null = null

  constructor(socket: Socket, isTrusted: (address: string) => boolean, idleMs: number) {
    this.socket = socket
    this.address = toAddress(socket.remoteAddress ?? "")
    this.port = socket.remotePort ?? 0
    this.trusted = isTrusted(this.address)
    this.#idleMs = idleMs
    ;(socket as TrackedSocket)[CONNECTION] = this
    // Half-closed clients still get their answers, but long work for them is not worth starting: most of them are gone.
    socket.once("end", () => this.#leave())
    socket.once("close", () => this.#leave())
  }

  static of(socket: Socket): Connection | undefined {
    return (socket as TrackedSocket)[CONNECTION]
  }

  /** Whether nothing may be read from this connection any more. */
  get refused(): boolean {
    return this.#refusal !== null
  }

  accepted(exchange: Exchange): void {
    this.inFlight++
    this.#latest = exchange
    this.#latestResponse = exchange.outgoing
  }

  /**
   * Whether no response is on its way, so that the socket may be taken from the parser. An answered request is not enough:
   * Node lets go of a socket a little later than the last byte, and a pipelined request may come in between.
   */
  get idle(): boolean {
    return this.inFlight === 0 && !this.closing && !this.refused && !this.#latestResponse?.socket
  }

  /** As `parseAuthority`, for Host: clients say the same in every request. @throws as `parseAuthority`. */
  authorityOf(host: string): string {
    if (host !== this.#host) {
      this.#authority = parseAuthority(host)
      this.#host = host
    }
    return this.#authority
  }

  /** Whether `exchange` is the last one, so that the connection may end with its response. */
  isLatest(exchange: Exchange): boolean {
    return this.#latest === exchange
  }

  /** A controller that is aborted when the client goes away, until `forget`. */
  newAbortController(): AbortController {
    const controller = new AbortController()
    if (this.#gone) controller.abort(clientGone())
    this.#controllers ??= new Set()
    this.#controllers.add(controller)
    return controller
  }

  forget(controller: AbortController): void {
    this.#controllers?.delete(controller)
  }

  /**
   * What arrives cannot be read as HTTP, or arrives too slowly. If it is the body of a request in flight, that request
   * fails; otherwise the answers still due are sent, then the error, and the connection ends.
   */
  refuse(error: BextError, requestId: string): void {
    if (this.#refusal !== null) return
    this.#refusal = { error, requestId }
    if (this.#latest?.received === false) this.#latest.failBody(error)
    if (this.inFlight === 0) this.#end()
    else setTimeout(() => this.socket.destroy(), this.#idleMs).unref()
  }

  /** One request was answered. */
  answered(exchange: Exchange): void {
    this.inFlight--
    if (this.#refusal !== null && this.inFlight === 0) this.#end()
    else if (this.#latest === exchange && exchange.received) this.#latest = null
  }

  #end(): void {
    const socket = this.socket
    const answerDue = !this.closing && this.#latest?.received !== false
    // A connection that never said anything gets no answer: it would be taken for the answer to its first request.
    if (!answerDue || !socket.writable || socket.bytesRead === 0) {
      socket.destroySoon()
    } else {
      const { error, requestId } = this.#refusal!
      socket.end(toRawResponse(error, requestId))
    }
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }

  #leave(): void {
    this.#gone = true
    if (this.#controllers === null) return
    for (const controller of this.#controllers) controller.abort(clientGone())
    this.#controllers.clear()
  }
}

function clientGone(): BextError {
  return new BextError("E_CLIENT_LEFT", "the client went away")
}

/** A whole error response for a connection that has no request to answer. */
export function toRawResponse(error: BextError, requestId: string, ...headerLines: string[]): string {
  const title = titleOf(error.status)
  const body = toProblem(error.status, title, error.code, requestId)
  return [
    `HTTP/1.1 ${error.status} ${title}`,
    "Content-Type: application/problem+json",
    "Cache-Control: no-store",
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Date: ${new Date().toUTCString()}`,
    "Connection: close",
    ...headerLines,
    "",
    body,
  ].join("\r\n")
}
