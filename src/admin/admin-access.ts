import { createHash, timingSafeEqual } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { BextError } from "../errors.ts"
import { createClientPrefix } from "../message/client-prefix.ts"
import { FailedAttempts } from "./failed-attempts.ts"

export interface AdminAccessOptions {
  /** Undefined: whoever can connect may do everything. */
  readonly token: string | undefined
  /** May GET /metrics and nothing else. */
  readonly metricsToken: string | undefined
  /** Host names accepted with any port. */
  readonly allowedHosts: readonly string[]
  /** Undefined for a socket. */
  readonly port: () => number | undefined
  readonly log: { warn(fields: object, message: string): void }
}

/**
 * Decides who may ask, before anything of the request is looked at further. Throws what the caller is answered.
 *
 * A browser may be made to send requests here by any page it shows. It cannot leave out `Origin` or `Sec-Fetch-Site`,
 * and a page that has its own name lead to this address (DNS rebinding) cannot hide that name in `Host`.
 * Source: Fetch §3.1, Fetch Metadata Request Headers §2.4, RFC 6750 §2.1.
 */
export class AdminAccess {
  readonly #options: AdminAccessOptions
  readonly #token: Buffer | undefined
  readonly #metricsToken: Buffer | undefined
  readonly #attempts = new FailedAttempts()
  readonly #prefix = createClientPrefix(64)

  constructor(options: AdminAccessOptions) {
    this.#options = options
    this.#token = options.token === undefined ? undefined : digest(options.token)
    this.#metricsToken = options.metricsToken === undefined ? undefined : digest(options.metricsToken)
  }

  /** @throws {BextError} `E_ADMIN_REQUEST`, `E_ADMIN_FORBIDDEN`, `E_ADMIN_TOKEN`, `E_RATE_LIMITED`. */
  check(request: IncomingMessage): void {
    for (const name of ["host", "authorization", "content-type", "content-length"]) {
      if ((request.headersDistinct[name]?.length ?? 0) > 1) {
        throw new BextError("E_ADMIN_REQUEST", `the header ${name} is there twice`)
      }
    }
    this.#checkBrowser(request)
    this.#checkHost(request)
    this.#checkToken(request)
  }

  #checkBrowser({ headers }: IncomingMessage): void {
    const site = headers["sec-fetch-site"]
    if (headers.origin === undefined && (site === undefined || site === "none")) return
    throw new BextError("E_ADMIN_FORBIDDEN", "requests from browser pages are refused")
  }

  #checkHost(request: IncomingMessage): void {
    const host = (request.headers.host ?? "").toLowerCase()
    const [, name = "", port] = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/.exec(host) ?? []
    const ownPort = this.#options.port()
    if (ownPort === undefined) {
      if (name === "bext" || name === "localhost") return
    } else {
      if (this.#options.allowedHosts.includes(name)) return
      if ((name === "localhost" || isOwnAddress(name, request)) && Number(port ?? 80) === ownPort) return
    }
    throw new BextError("E_ADMIN_FORBIDDEN", "the Host header names another server")
  }

  #checkToken(request: IncomingMessage): void {
    if (this.#token === undefined) return
    const given = /^bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? "")?.[1]
    if (given === undefined) throw unauthorised("a bearer token is needed")
    const address = this.#prefix(addressOf(request))
    const nowMs = performance.now()
    const seconds = this.#attempts.waitSeconds(address, nowMs)
    if (seconds > 0) {
      const headers = [["Retry-After", String(seconds)]] as const
      throw new BextError("E_RATE_LIMITED", "too many wrong tokens from this address", { headers })
    }
    const hash = digest(given)
    const isToken = timingSafeEqual(hash, this.#token)
    const isMetricsToken = this.#metricsToken !== undefined && timingSafeEqual(hash, this.#metricsToken)
    if (isToken) return
    if (isMetricsToken) {
      if (isScrape(request)) return
      throw new BextError("E_ADMIN_FORBIDDEN", "this token may only GET /metrics")
    }
    this.#attempts.add(address, nowMs)
    this.#options.log.warn({ client: address }, "admin: a wrong token")
    throw unauthorised("the token is wrong")
  }
}

/** Both sides hashed: texts of any length become comparable in a time that tells nothing. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest()
}

function unauthorised(what: string): BextError {
  return new BextError("E_ADMIN_TOKEN", what, { headers: [["WWW-Authenticate", 'Bearer realm="bext"']] })
}

function isScrape({ method, url = "" }: IncomingMessage): boolean {
  return (method === "GET" || method === "HEAD") && url.split("?", 1)[0] === "/metrics"
}

/** Whether the name is the address the connection came in on: addresses cannot be made to lead elsewhere. */
function isOwnAddress(name: string, { socket }: IncomingMessage): boolean {
  const local = withoutMapping(socket.localAddress ?? "")
  return name === local || name === `[${local}]`
}

/** For the log and for counting; all users of a socket are one. */
export function addressOf({ socket }: IncomingMessage): string {
  return withoutMapping(socket.remoteAddress ?? "socket")
}

/** An IPv4 client of an IPv6 listener. */
function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice("::ffff:".length) : address
}
