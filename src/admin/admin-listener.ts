import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import type { AddressInfo } from "node:net"
import { parseListenAddress } from "../config/listen-address.ts"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { AdminAccess, addressOf } from "./admin-access.ts"
import { type AdminAnswer, type AdminRoutes, createAdminRoutes } from "./admin-routes.ts"
import { checkAdminTokens } from "./check-admin-tokens.ts"
import type { Control } from "./control.ts"
import { followLog } from "./follow-log.ts"
import { listenOnSocket } from "./listen-on-socket.ts"
import { readJson } from "./read-json.ts"

export interface AdminListenerOptions {
  readonly control: Control
  readonly config: Config
  readonly log: AdminLog
}

/** The part of a pino logger that the listener uses. */
export interface AdminLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Where the admin listener is. Guests' fetches must never reach a `tcp` one: see `ServerProcess.addOwnListener`. */
export type AdminAddress =
  | { readonly kind: "off" }
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "tcp"; readonly url: string; readonly address: string; readonly port: number }

export interface AdminListener extends AsyncDisposable {
  /**
   * Opens what `admin.listen` says. A default socket that cannot be made is a warning, and the listener is off.
   * @throws {BextError} `E_ADMIN_IN_USE`, `E_ADMIN_SOCKET`, `E_CONFIG_INVALID`.
   */
  listen(): Promise<AdminAddress>
  /** Ends followers, gives calls under way a moment, and removes the socket. */
  close(): Promise<void>
}

const LIMITS = {
  connections: 64,
  followers: 16,
  headerBytes: 16 * 1024,
  headerMs: 5_000,
  requestMs: 5_000,
  idleMs: 5_000,
  /** A reader that takes nothing of an answer for so long is cut off. */
  stuckMs: 30_000,
  /** For calls under way when the listener closes. */
  graceMs: 2_000,
} as const

/** The listener for operators: a JSON API and metrics, on a socket or an address of its own. docs/operations.md describes it. */
export function createAdminListener(options: AdminListenerOptions): AdminListener {
  return new HttpAdminListener(options)
}

class HttpAdminListener implements AdminListener {
  readonly #options: AdminListenerOptions
  readonly #server: Server
  readonly #routes: AdminRoutes
  readonly #access: AdminAccess
  readonly #followers = new Set<ServerResponse>()
  /** Undefined: a socket, or not open yet. */
  #port: number | undefined

  constructor(options: AdminListenerOptions) {
    const { control, config, log } = options
    checkAdminTokens(config)
    this.#options = options
    this.#routes = createAdminRoutes(control, config.state.dir)
    this.#access = new AdminAccess({
      token: config.admin.token?.reveal(),
      metricsToken: config.admin.metrics_token?.reveal(),
      allowedHosts: config.admin.allowed_hosts,
      port: () => this.#port,
      log,
    })
    this.#server = createServer({
      insecureHTTPParser: false,
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.headerMs,
      requestTimeout: LIMITS.requestMs,
      keepAliveTimeout: LIMITS.idleMs,
      connectionsCheckingInterval: 1_000,
    })
    this.#server.maxConnections = LIMITS.connections
    this.#server.on("request", (incoming, outgoing) => void this.#handle(incoming, outgoing))
    // Answered like any other request: the body is asked for only once the request is let in.
    this.#server.on("checkContinue", (incoming, outgoing) => void this.#handle(incoming, outgoing))
  }

  async listen(): Promise<AdminAddress> {
    const where = await this.#open()
    this.#server.on("error", (error) => this.#options.log.error({ err: error }, "the admin listener cannot accept"))
    return where
  }

  async #open(): Promise<AdminAddress> {
    const { listen } = this.#options.config.admin
    if (listen === "off") return { kind: "off" }
    if (!listen.startsWith(UNIX)) return this.#listenOnAddress(listen)
    const path = listen.slice(UNIX.length)
    try {
      await listenOnSocket(this.#server, path)
      return { kind: "socket", path }
    } catch (error) {
      if (!isDefault(path) || !(error instanceof BextError) || error.code !== "E_ADMIN_SOCKET") throw error
      this.#options.log.warn({ code: error.code }, `the admin listener is off: ${error.message}`)
      return { kind: "off" }
    }
  }

  async #listenOnAddress(listen: string): Promise<AdminAddress> {
    const { host, port } = parseListenAddress(listen)!
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: Error) => reject(toListenError(listen, cause))
      this.#server.once("error", fail)
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.off("error", fail)
        resolve()
      })
    })
    const bound = this.#server.address() as AddressInfo
    this.#port = bound.port
    const name = bound.family === "IPv6" ? `[${bound.address}]` : bound.address
    if (!/^(127\.|\[::1\])/.test(name)) {
      const message =
        "the admin listener is plain HTTP and can be reached from other machines: whoever can read the network reads its token"
      this.#options.log.warn({ address: bound.address, port: bound.port }, message)
    }
    return { kind: "tcp", url: `http://${name}:${bound.port}`, address: bound.address, port: bound.port }
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const follower of this.#followers) follower.end()
    this.#server.closeIdleConnections()
    const force = setTimeout(() => this.#server.closeAllConnections(), LIMITS.graceMs)
    await closed
    clearTimeout(force)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Never rejects. */
  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    outgoing.on("error", () => incoming.destroy())
    for (const [name, value] of FIXED_HEADERS) outgoing.setHeader(name, value)
    try {
      this.#access.check(incoming)
      await this.#answer(incoming, outgoing)
    } catch (error) {
      this.#fail(incoming, outgoing, error)
    }
  }

  async #answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const method = incoming.method!
    const [path, query] = splitTarget(incoming.url!)
    const { route, plugin } = this.#routes.find(method, path)
    const isWrite = method !== "GET" && method !== "HEAD"
    if (isWrite) checkQueryIsEmpty(query)
    const body = isWrite ? await readJson(incoming, outgoing) : undefined
    const { accept } = incoming.headers
    const answer = await route({ query: new URLSearchParams(query), accept, body, plugin })
    if (isWrite) this.#options.log.info({ client: addressOf(incoming), method, path }, "admin")
    if ("follow" in answer && method === "GET") await this.#follow(outgoing, answer.follow)
    else send(outgoing, answer)
  }

  async #follow(outgoing: ServerResponse, count: number): Promise<void> {
    if (outgoing.destroyed) return
    if (this.#followers.size >= LIMITS.followers) throw new BextError("E_OVERLOADED", "too many readers of the log")
    this.#followers.add(outgoing)
    outgoing.once("close", () => this.#followers.delete(outgoing))
    outgoing.setHeader("Content-Type", NDJSON)
    await followLog(this.#options.control, outgoing, count)
  }

  #fail(incoming: IncomingMessage, outgoing: ServerResponse, error: unknown): void {
    if (outgoing.destroyed) return
    if (!(error instanceof BextError)) this.#options.log.error({ err: error }, "an admin request failed")
    if (outgoing.headersSent) {
      outgoing.destroy()
      return
    }
    const known = error instanceof BextError ? error : new BextError("E_INTERNAL", "the request failed; see the log")
    for (const [name, value] of known.headers) outgoing.setHeader(name, value)
    // What is left of a body is not read.
    if (!incoming.complete) outgoing.setHeader("Connection", "close")
    const { status, code } = known
    const problem = { type: "about:blank", title: STATUS_CODES[status], status, code, detail: detailOf(known) }
    write(outgoing, status, "application/problem+json", JSON.stringify(problem))
  }
}

const UNIX = "unix:"
const NDJSON = "application/x-ndjson"

const FIXED_HEADERS = [
  ["Cache-Control", "no-store"],
  ["X-Content-Type-Options", "nosniff"],
  ["Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"],
  ["Cross-Origin-Resource-Policy", "same-origin"],
] as const

/** Where nothing was asked for, a folder that cannot hold a socket must not keep the server from starting. */
function isDefault(path: string): boolean {
  return path.endsWith("/.bext/admin.sock")
}

function toListenError(listen: string, cause: Error & { code?: string }): BextError {
  if (cause.code === "EADDRINUSE") {
    return new BextError("E_ADMIN_IN_USE", `another program listens on ${listen} (admin.listen)`, { cause })
  }
  return new BextError("E_CONFIG_INVALID", `cannot listen on ${listen} (admin.listen): ${cause.message}`, { cause })
}

function splitTarget(target: string): [path: string, query: string] {
  const mark = target.indexOf("?")
  return mark === -1 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)]
}

function checkQueryIsEmpty(query: string): void {
  if (query !== "") throw new BextError("E_ADMIN_REQUEST", "this path takes no query")
}

/** Without the code, which has a field of its own. */
function detailOf({ message, code }: BextError): string {
  const suffix = ` [${code}]`
  return message.endsWith(suffix) ? message.slice(0, -suffix.length) : message
}

function send(outgoing: ServerResponse, answer: AdminAnswer): void {
  if ("text" in answer) write(outgoing, 200, answer.type, answer.text)
  else if ("json" in answer) write(outgoing, answer.status ?? 200, "application/json", JSON.stringify(answer.json))
  else write(outgoing, 200, NDJSON, "lines" in answer ? answer.lines.map((line) => `${line}\n`).join("") : "")
}

function write(outgoing: ServerResponse, status: number, type: string, text: string): void {
  outgoing.setTimeout(LIMITS.stuckMs, () => outgoing.destroy())
  outgoing.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(text) })
  outgoing.end(text)
}
