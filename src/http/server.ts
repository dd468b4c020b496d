import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { Server as NetServer, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState, UpgradeTarget } from "../message/request-context.ts"
import { BodyBudget } from "./body-budget.ts"
import { Connection, toRawResponse } from "./connection.ts"
import type { ConnectionSource } from "./connection-source.ts"
import type { ErrorPages } from "./error-pages.ts"
import { toErrorResponse } from "./error-response.ts"
import { type AcceptSettings, HttpRequestContext, hasBody } from "./http-request-context.ts"
import { IncomingRequest } from "./incoming-request.ts"
import { type Bound, listenOn, toBound } from "./listen-on.ts"
import { newRequestId } from "./request-id.ts"
import { TrustedProxies } from "./trusted-proxy.ts"
import { asksForWebsocket } from "./websocket-handshake.ts"
import { WebsocketRequest } from "./websocket-request.ts"
import { type WebsocketNumbers, Websockets } from "./websockets.ts"
import { type Exchange, type WriteResult, writeResponse, writeSwitchingProtocols } from "./write-response.ts"

/** Pipelined requests of one connection that may be in flight together; one more ends the connection. */
const MAX_PIPELINED = 64

/** Characters of a refused request's target that go into the log. */
const MAX_LOGGED_TARGET = 512

/** A server at its limit says so at most this often. */
const DROP_WARNING_MS = 10_000

/** How long a draining server goes on answering requests that were on their way; at most a tenth of the grace period. */
const MAX_LAME_DUCK_MS = 1_000

export interface RequestResult extends WriteResult {
  /** From accept to the last byte handed to the kernel. */
  readonly durationMs: number
}

export interface HttpServerOptions {
  readonly config: Config["server"]
  /** Sets `context.response`. Never throws; returns nothing when it did not wait. */
  readonly respond: (context: RequestContext) => void | Promise<void>
  /** Called once for every request that was accepted, when its response is written or lost. */
  readonly complete: (context: RequestContext, result: RequestResult) => void
  /**
   * A request became a websocket: no part of the server that answered it is needed any more. `complete` follows when the
   * websocket is over.
   */
  readonly upgraded?: (context: RequestContext) => void
  readonly logger: HttpLogger
  readonly errorPages: ErrorPages
  /** Shared with whoever else buffers bodies; left out, the server has one of its own. */
  readonly bodyBudget?: BodyBudget
  /** Left out, the server listens itself. */
  readonly connections?: ConnectionSource | undefined
}

/** The part of a pino logger that the server uses. */
export interface HttpLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface HttpServer {
  /** @throws {BextError} `E_PORT_IN_USE`, `E_CONFIG_INVALID`. */
  listen(): Promise<Bound>
  /**
   * Drains: takes no new connection and answers with `Connection: close` what is in flight or still arrives. Idle
   * connections are closed a second later, because a request may be on its way on them; what is left after `config.grace` is
   * destroyed. Websockets go on until then; they are told to close (code 1001) and destroyed a second later. Resolves when no connection is open and every request is complete.
   */
  close(): Promise<void>
  readonly state: "starting" | "serving" | "draining"
  /** Open ones, websockets included. */
  readonly connections: number
  readonly server: Server
  readonly websockets: WebsocketNumbers
}

/** The public HTTP/1.1 listener: accepts, normalises, hands each request to `respond` and writes what it answered. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  return new HttpListener(options)
}

class HttpListener implements HttpServer {
  readonly server: Server
  readonly #options: HttpServerOptions
  readonly #settings: AcceptSettings
  readonly #connections = new Set<Connection>()
  readonly #websockets: Websockets
  readonly #closed = Promise.withResolvers<void>()
  /** Between `listen` and `close`. */
  #open = false
  #draining = false
  /** Draining, and idle connections are kept for what may be on its way. */
  #lameDuck = false
  #warnedOfDropMs = Number.NEGATIVE_INFINITY

  constructor(options: HttpServerOptions) {
    const { limits, trusted_proxies, identity_headers } = options.config
    this.#options = options
    this.#websockets = new Websockets(limits, (message) => options.logger.warn({}, message))
    this.#settings = {
      identityHeaders: new Set(identity_headers.map((name) => name.toLowerCase().replaceAll("_", "-"))),
      trustedProxies: new TrustedProxies(trusted_proxies),
      maxHeaderCount: limits.header_count,
      maxBodyBytes: limits.body,
      bodyBudget: options.bodyBudget ?? new BodyBudget(limits.buffered_bodies),
    }
    const shortest = Math.min(limits.header_timeout, limits.request_timeout)
    this.server = createServer({
      IncomingMessage: IncomingRequest,
      insecureHTTPParser: false,
      // Checked at accept, with a proper answer.
      requireHostHeader: false,
      maxHeaderSize: limits.header_bytes,
      headersTimeout: limits.header_timeout,
      requestTimeout: Math.max(limits.request_timeout, limits.header_timeout),
      keepAliveTimeout: limits.idle_timeout,
      connectionsCheckingInterval: Math.min(5_000, Math.max(50, Math.ceil(shortest / 4))),
      optimizeEmptyRequests: true,
      noDelay: true,
      shouldUpgradeCallback: (incoming) => this.#maySwitch(incoming),
    })
    // The parser would drop further headers silently; accept counts them and refuses instead.
    this.server.maxHeadersCount = 0
    this.server.maxConnections = limits.connections
    // A client may close its sending side right after the request; see Connection.
    ;(this.server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true
    this.#attach()
  }

  get state() {
    if (this.#draining) return "draining"
    return this.#open ? "serving" : "starting"
  }

  get connections(): number {
    return this.#connections.size
  }

  async listen() {
    const bound = await this.#bind()
    this.#open = true
    return bound
  }

  #bind(): Bound | Promise<Bound> {
    const { config, connections } = this.#options
    if (connections === undefined) return listenOn(this.server, config.listen)
    // Starts the watch over slow clients, which Node ties to listening.
    this.server.emit("listening")
    connections.start((socket) => this.#adopt(socket))
    return toBound(connections.address, connections.port)
  }

  #adopt(socket: Socket): boolean {
    if (this.#connections.size >= this.#options.config.limits.connections) {
      this.#warnOfDrop()
      return false
    }
    // As for connections the server accepts itself; see Connection.
    socket.allowHalfOpen = true
    this.server.emit("connection", socket)
    return true
  }

  async close(): Promise<void> {
    if (this.#draining) return this.#closed.promise
    if (!this.#open) return
    this.#draining = true
    const { grace } = this.#options.config
    this.#lameDuck = true
    const lameDuck = setTimeout(() => this.#closeIdle(), Math.min(MAX_LAME_DUCK_MS, grace / 10))
    const force = setTimeout(() => this.#force(), grace)
    this.#options.connections?.stop()
    // Not the method of the HTTP server, which closes idle connections at once.
    NetServer.prototype.close.call(this.server)
    this.#settleClosed()
    await this.#closed.promise
    clearTimeout(lameDuck)
    clearTimeout(force)
    this.server.close()
  }

  #closeIdle(): void {
    this.#lameDuck = false
    this.server.closeIdleConnections()
    // Node takes a connection that has not said anything yet for a busy one.
    for (const { socket } of this.#connections) if (socket.bytesRead === 0) socket.destroy()
  }

  get websockets(): WebsocketNumbers {
    return this.#websockets.numbers
  }

  /** Not Node's closeAllConnections: it knows nothing of connections that asked for a websocket. */
  #force(): void {
    for (const { socket, switched } of this.#connections) if (!switched) socket.destroy()
    this.#websockets.goAway()
  }

  #settleClosed(): void {
    if (this.#draining && this.#connections.size === 0 && this.#websockets.size === 0) this.#closed.resolve()
  }

  #attach(): void {
    const { server } = this
    server.on("connection", (socket) => this.#connect(socket))
    server.on("request", (incoming, outgoing) => this.#accept(incoming, outgoing))
    server.on("checkContinue", (incoming, outgoing) => this.#accept(incoming, outgoing))
    server.on("checkExpectation", (incoming, outgoing) => {
      this.#refuse(incoming, outgoing, new BextError("E_EXPECTATION_FAILED", "an expectation is not supported"))
    })
    // Node before 24.9 cannot decide for each request: there, no request asks for a websocket.
    if ("shouldUpgradeCallback" in server) {
      server.on("upgrade", (incoming, socket, head) => this.#acceptWebsocket(incoming, socket as Socket, head))
    }
    server.on("connect", (_incoming, socket) => refuseConnect(socket))
    server.on("clientError", (error, socket) => this.#refuseConnection(error, socket as Socket))
    server.on("drop", () => this.#warnOfDrop())
  }

  #connect(socket: Socket): void {
    const { trustedProxies } = this.#settings
    const idleMs = this.#options.config.limits.idle_timeout
    const connection = new Connection(socket, (address) => trustedProxies.has(address), idleMs)
    this.#connections.add(connection)
    socket.once("close", () => {
      this.#connections.delete(connection)
      this.#settleClosed()
    })
  }

  #warnOfDrop(): void {
    const nowMs = performance.now()
    if (nowMs - this.#warnedOfDropMs < DROP_WARNING_MS) return
    this.#warnedOfDropMs = nowMs
    this.#options.logger.warn({}, "connections are refused: server.limits.connections is reached")
  }

  /** Behind other requests of its connection, whose answers are still due, the wish for a websocket is ignored. */
  #maySwitch(incoming: IncomingMessage): boolean {
    return Connection.of(incoming.socket)!.idle && asksForWebsocket(incoming)
  }

  #acceptWebsocket(incoming: IncomingMessage, socket: Socket, head: Uint8Array): void {
    const upgrade: WebsocketRequest = new WebsocketRequest(incoming, socket, head, (address) => {
      if (this.#draining) throw new BextError("E_OVERLOADED", "the server is about to end")
      return this.#websockets.reserve(address)
    })
    this.#accept(incoming, upgrade.outgoing, upgrade)
  }

  #accept(incoming: IncomingMessage, outgoing: ServerResponse, upgrade: WebsocketRequest | null = null): void {
    const connection = Connection.of(incoming.socket)!
    // Told to end: whatever else was pipelined will not be answered, so it must not be done either (RFC 9112 §9.6).
    if (connection.closing) return
    let context: HttpRequestContext
    try {
      if (connection.inFlight >= MAX_PIPELINED) throw new BextError("E_OVERLOADED", "too many pipelined requests")
      context = new HttpRequestContext(incoming, outgoing, connection, this.#settings, upgrade)
    } catch (error) {
      this.#refuse(incoming, outgoing, error)
      return
    }
    connection.accepted(context)
    if (context.path.startsWith("/__bext")) {
      if (context.path === "/__bext/health") {
        context.response = this.#health(context.method)
      } else if (context.path === "/__bext" || context.path.startsWith("/__bext/")) {
        context.response = this.#toError(new BextError("E_NOT_FOUND", "nothing is served here"), context)
      }
      if (context.response !== null) {
        this.#write(context, context.response, context.path !== "/__bext/health")
        return
      }
    }
    this.#dispatch(context)
  }

  #dispatch(context: HttpRequestContext): void {
    let waiting: void | Promise<void>
    try {
      waiting = this.#options.respond(context)
    } catch (error) {
      this.#fail(context, error)
      return
    }
    if (waiting === undefined) this.#finish(context)
    else
      waiting.then(
        () => this.#finish(context),
        (error) => this.#fail(context, error),
      )
  }

  #finish(context: HttpRequestContext): void {
    const { response, upgrade } = context
    if (response === null) this.#fail(context, new Error("nobody answered the request"))
    else if (response.status === 101 && upgrade !== null) this.#switch(context, response, upgrade)
    else this.#write(context, response, true)
  }

  #switch(context: HttpRequestContext, response: ResponseState, upgrade: WebsocketRequest): void {
    const { socket } = context.connection
    if (socket.destroyed) {
      this.#done(context, { status: 101, bytes: 0, aborted: true }, true)
      return
    }
    let target: UpgradeTarget
    try {
      target = upgrade.target
      writeSwitchingProtocols(context.outgoing, response.headers, target.headers)
    } catch (error) {
      this.#logRefusal(error, { request_id: context.requestId })
      context.response = this.#toError(error, context)
      this.#write(context, context.response, true)
      return
    }
    upgrade.release()
    this.#openWebsocket(context, target)
  }

  #openWebsocket(context: HttpRequestContext, target: UpgradeTarget): void {
    const { connection } = context
    connection.switched = true
    this.#websockets.open(connection.socket, target, ({ bytesToClient, closedCleanly }) => {
      context.upgrade?.settle()
      this.#settleClosed()
      const durationMs = performance.now() - context.startedAtMs
      this.#options.complete(context, { status: 101, bytes: bytesToClient, aborted: !closedCleanly, durationMs })
    })
    context.settle()
    connection.answered(context)
    this.#options.upgraded?.(context)
  }

  /** The host itself failed: whatever was meant to be sent is replaced. */
  #fail(context: HttpRequestContext, error: unknown): void {
    this.#options.logger.error({ err: error, request_id: context.requestId }, "request failed")
    context.response = this.#toError(new BextError("E_INTERNAL", "the request failed", { cause: error }), context)
    this.#write(context, context.response, true)
  }

  #write(context: HttpRequestContext, response: ResponseState, report: boolean): void {
    const options = { close: this.#draining, idleMs: this.#options.config.limits.idle_timeout }
    const done = (result: WriteResult) => this.#done(context, result, report)
    try {
      writeResponse(context, response, options, done)
    } catch (error) {
      if (response.body !== null && typeof response.body === "object" && "destroy" in response.body) {
        response.body.destroy()
      }
      this.#options.logger.error({ err: error, request_id: context.requestId }, "response could not be sent")
      context.response = this.#toError(
        new BextError("E_INTERNAL", "the response is invalid", { cause: error }),
        context,
      )
      writeResponse(context, context.response, options, done)
    }
  }

  #done(context: HttpRequestContext, result: WriteResult, report: boolean): void {
    context.settle()
    context.upgrade?.settle()
    context.connection.answered(context)
    // The connection may have promised to stay open before draining began.
    if (this.#draining && !this.#lameDuck) setImmediate(() => this.server.closeIdleConnections())
    if (!report) return
    const { status, bytes, aborted } = result
    this.#options.complete(context, { status, bytes, aborted, durationMs: performance.now() - context.startedAtMs })
  }

  #health(method: string): ResponseState {
    if (method !== "GET" && method !== "HEAD") {
      const headers = HeaderList.from([["Allow", "GET, HEAD"]])
      return { status: 405, headers, body: null }
    }
    const headers = HeaderList.from([
      ["Content-Type", "application/json"],
      ["Cache-Control", "no-store"],
    ])
    if (this.#draining) return { status: 503, headers, body: '{"status":"draining"}' }
    return { status: 200, headers, body: '{"status":"ok"}' }
  }

  /** Answers a request that is not let in. What follows on the connection is not read: it may not be what it seems. */
  #refuse(incoming: IncomingMessage, outgoing: ServerResponse, error: unknown): void {
    const connection = Connection.of(incoming.socket)!
    const exchange = new RefusedExchange(incoming, outgoing, connection)
    const requestId = newRequestId()
    const response = this.#toError(error, { requestId, requestHeaders: HeaderList.borrow(incoming.rawHeaders) })
    const { method, url = "" } = incoming
    const path = url.slice(0, MAX_LOGGED_TARGET).split("?", 1)[0]
    this.#logRefusal(error, { client: connection.address, request_id: requestId, method, path })
    connection.accepted(exchange)
    writeResponse(exchange, response, { close: true, idleMs: this.#options.config.limits.idle_timeout }, () => {
      connection.answered(exchange)
    })
  }

  /** What arrived on a connection is not HTTP, or did not arrive in time. */
  #refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
    const connection = Connection.of(socket)
    if (connection === undefined || error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy()
      return
    }
    if (connection.refused) return
    const refusal = toRefusal(error)
    const requestId = newRequestId()
    if (socket.bytesRead > 0) this.#logRefusal(refusal, { client: connection.address, request_id: requestId })
    connection.refuse(refusal, requestId)
  }

  #logRefusal(error: unknown, fields: object): void {
    if (error instanceof BextError) {
      this.#options.logger.info({ code: error.code, reason: error.message, ...fields }, "request refused")
    } else {
      this.#options.logger.error({ err: error, ...fields }, "request refused")
    }
  }

  #toError(error: unknown, context: Pick<RequestContext, "requestId" | "requestHeaders">): ResponseState {
    return toErrorResponse(error, context, this.#options.errorPages)
  }
}

/** A request that never became a context. */
class RefusedExchange implements Exchange {
  readonly takesTrailers = false
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly connection: Connection

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, connection: Connection) {
    this.incoming = incoming
    this.outgoing = outgoing
    this.connection = connection
  }

  get clientMethod(): string {
    return this.incoming.method!
  }

  get received(): boolean {
    return this.incoming.complete || !hasBody(this.incoming)
  }

  /** Nothing more can be read: no need to wait for the rest of the body. */
  failBody(): void {
    this.outgoing.end()
  }
}

function refuseConnect(socket: Duplex): void {
  const error = new BextError("E_METHOD_NOT_ALLOWED", "CONNECT is for proxies")
  socket.on("error", () => socket.destroy())
  socket.end(toRawResponse(error, newRequestId(), "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), () =>
    socket.destroy(),
  )
}

function toRefusal(error: NodeJS.ErrnoException): BextError {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return new BextError("E_HEADERS_TOO_LARGE", "the header section is too large", { cause: error })
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new BextError("E_REQUEST_TIMEOUT", "the request did not arrive in time", { cause: error })
    case "HPE_INVALID_EOF_STATE":
      return new BextError("E_CLIENT_LEFT", "the client went away in the middle of a request", { cause: error })
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new BextError("E_BODY_TOO_LARGE", "the chunk extensions are too large", { cause: error })
    default:
      return new BextError("E_REQUEST_INVALID", `not HTTP/1.1: ${error.code ?? error.message}`, { cause: error })
  }
}
