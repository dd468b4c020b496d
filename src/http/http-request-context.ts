import type { IncomingMessage, ServerResponse } from "node:http"
import { BextError } from "../errors.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState, Timing, User } from "../message/request-context.ts"
import type { RequestTrace } from "../message/request-trace.ts"
import type { BodyBudget } from "./body-budget.ts"
import type { Connection } from "./connection.ts"
import { normaliseTarget } from "./normalise-path.ts"
import { hostnameOf, parseAuthority } from "./parse-authority.ts"
import { HttpRequestBody } from "./request-body.ts"
import { isRequestId, newRequestId } from "./request-id.ts"
import { RequestTrailers, takesTrailers } from "./request-trailers.ts"
import { type ScreenedHeaders, screenHeaders } from "./screen-headers.ts"
import { resolveOrigin, type TrustedProxies } from "./trusted-proxy.ts"
import type { WebsocketRequest } from "./websocket-request.ts"
import type { Exchange } from "./write-response.ts"

/** What accepting a request depends on; the same for all requests of a server. */
export interface AcceptSettings {
  readonly identityHeaders: ReadonlySet<string>
  readonly trustedProxies: TrustedProxies
  readonly maxHeaderCount: number
  readonly maxBodyBytes: number
  readonly bodyBudget: BodyBudget
}

/** One HTTP/1.1 request. What not every request needs is made when it is first read. */
export class HttpRequestContext implements RequestContext, Exchange {
  method: string
  readonly clientMethod: string
  path: string
  query: string
  readonly scheme: "http" | "https"
  readonly host: string
  readonly clientAddress: string
  readonly clientPort: number
  readonly startedAtMs: number = performance.now()
  requestHeaders: HeaderList
  user: User | null = null
  tenantId: string | null = null
  siteId: string | null = null
  extensions: Map<string, string> | null = null
  slots: Map<string, string> | null = null
  response: ResponseState | null = null
  traceparent: string | null = null
  trace: RequestTrace | null = null
  timings: Timing[] | null = null
  snapshot: object | null = null
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly connection: Connection
  readonly upgrade: WebsocketRequest | null
  readonly takesTrailers: boolean
  readonly #settings: AcceptSettings
  readonly #hasBody: boolean
  readonly #trailers: RequestTrailers | null
  #requestId: string | undefined
  #body: HttpRequestBody | undefined
  #controller: AbortController | undefined

  /** @throws {BextError} when the request is not one the server takes; nothing has been answered then. */
  constructor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    connection: Connection,
    settings: AcceptSettings,
    upgrade: WebsocketRequest | null,
  ) {
    const raw = incoming.rawHeaders
    if (raw.length > settings.maxHeaderCount * 2) {
      throw new BextError("E_HEADERS_TOO_LARGE", `more than ${settings.maxHeaderCount} headers`)
    }
    this.incoming = incoming
    this.outgoing = outgoing
    this.connection = connection
    this.upgrade = upgrade
    this.#settings = settings
    this.method = incoming.method!
    this.clientMethod = this.method
    const target = normaliseTarget(this.method, incoming.url!)
    this.path = target.path
    this.query = target.query
    const screened = screenHeaders(raw, settings.identityHeaders)
    checkFraming(incoming, screened)
    if (screened.host === undefined) throw new BextError("E_REQUEST_INVALID", "the Host header is missing")
    const sentHost = connection.authorityOf(screened.host)
    const host = target.authority === undefined ? sentHost : parseAuthority(target.authority)
    this.requestHeaders = HeaderList.borrow(raw)
    if (connection.trusted) {
      const origin = resolveOrigin(screened, connection.address, settings.trustedProxies)
      this.clientAddress = origin.clientAddress
      this.clientPort = 0
      this.scheme = origin.scheme ?? "http"
      this.host = origin.host ?? host
      if (screened.requestId !== undefined && isRequestId(screened.requestId)) this.#requestId = screened.requestId
    } else {
      this.clientAddress = connection.address
      this.clientPort = connection.port
      this.scheme = "http"
      this.host = host
    }
    // Guests and apps that read Host see the authority that counts.
    if (this.host !== screened.host) this.requestHeaders.set("host", this.host)
    this.takesTrailers = takesTrailers(incoming, screened)
    this.#trailers =
      screened.transferEncoding === undefined ? null : new RequestTrailers(incoming, screened, settings.identityHeaders)
    this.#hasBody = hasBody(incoming)
    const declared = incoming.headers["content-length"]
    if (declared !== undefined && Number(declared) > settings.maxBodyBytes) {
      throw new BextError("E_BODY_TOO_LARGE", `the body is declared larger than ${settings.maxBodyBytes} bytes`)
    }
  }

  get fromTrustedProxy(): boolean {
    return this.connection.trusted
  }

  get protocolVersion(): string {
    return `HTTP/${this.incoming.httpVersion}`
  }

  get hostname(): string {
    return hostnameOf(this.host)
  }

  get requestId(): string {
    this.#requestId ??= newRequestId()
    return this.#requestId
  }

  get requestBody(): HttpRequestBody {
    this.#body ??= new HttpRequestBody(this.incoming, this.#hasBody, {
      maxBytes: this.#settings.maxBodyBytes,
      budget: this.#settings.bodyBudget,
      trailers: this.#trailers,
      headers: () => this.requestHeaders,
      onFirstRead: () => this.#allowBody(),
    })
    return this.#body
  }

  get signal(): AbortSignal {
    this.#controller ??= this.connection.newAbortController()
    return this.#controller.signal
  }

  /** Whether the whole request, body included, has arrived. */
  get received(): boolean {
    return !this.#hasBody || this.incoming.complete
  }

  failBody(error: BextError): void {
    this.requestBody.fail(error)
  }

  /** The response is written, or never will be: a guest's leftover work may hold on to this, so no body stays. */
  settle(): void {
    if (this.response !== null) this.response.body = null
    if (this.#controller !== undefined) this.connection.forget(this.#controller)
    this.#body?.release()
  }

  /** Source: RFC 9110 §10.1.1. */
  #allowBody(): void {
    const waits = this.incoming.httpVersionMinor === 1 && this.incoming.headers.expect !== undefined
    if (waits && !this.outgoing.headersSent && !this.incoming.complete) this.outgoing.writeContinue()
  }
}

/** Whether a request announces content. Source: RFC 9112 §6.3. */
export function hasBody(incoming: IncomingMessage): boolean {
  const declared = incoming.headers["content-length"]
  return incoming.headers["transfer-encoding"] !== undefined || (declared !== undefined && Number(declared) > 0)
}

/** What the parser lets through although the next server might frame it differently. Source: RFC 9112 §6.1. */
function checkFraming(incoming: IncomingMessage, screened: ScreenedHeaders): void {
  if (incoming.httpVersionMajor !== 1) throw new BextError("E_REQUEST_INVALID", "the version is not HTTP/1.0 or 1.1")
  if (screened.transferEncoding === undefined) return
  if (screened.transferEncoding.toLowerCase() !== "chunked" || incoming.httpVersionMinor !== 1) {
    throw new BextError("E_REQUEST_INVALID", "the transfer coding is not supported")
  }
}
