import { randomBytes } from "node:crypto"
import { Readable } from "node:stream"
import { type Dispatcher, Pool } from "undici"
import { BextError } from "../errors.ts"
import { encodePath } from "../http/encode-path.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import type { RequestTrace, UpstreamCall } from "../message/request-trace.ts"
import { nominatedBy, type Trailers, toAnnounced, toTrailerFields } from "../message/trailers.ts"
import type { Handler } from "./handler.ts"
import { removeHopByHop, toUpstreamHeaders, type UpstreamIdentity } from "./upstream-headers.ts"
import { sendWithTrailers } from "./upstream-trailers.ts"
import { MAX_HEADER_BYTES, UpstreamWebsockets } from "./upstream-websockets.ts"

export interface UpstreamOptions {
  /** Milliseconds to connect, to the first byte of the response, and between two chunks of it. */
  readonly timeoutMs: number
  /** Extension keys ("plugin.key") sent as x-bext-ext-KEY. */
  readonly forwardExtensions: readonly string[]
  /** Whether the upstream is told who the user is, in x-bext-user. */
  readonly forwardUser?: boolean
  /** Whether websockets are passed on; otherwise the wish for one is ignored. */
  readonly websockets?: boolean
}

/** Methods that may be sent again when nothing came back. Source: RFC 9110 §9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

/**
 * A reverse proxy to one server, with a pool of kept-alive connections and bodies streamed both ways.
 *
 * Host: an http upstream sees the Host the client asked for, as behind nginx with `proxy_set_header Host $host` or Caddy;
 * an https upstream sees its own, because its certificate and its virtual hosts go by it.
 * @param url - Scheme and authority; a path is put before every request's path.
 * @throws {BextError} `E_CONFIG_INVALID`.
 */
export function createUpstreamHandler(url: string, options: UpstreamOptions): Handler {
  return new UpstreamHandler(parseUpstream(url), options)
}

class UpstreamHandler implements Handler {
  readonly #url: URL
  readonly #timeoutMs: number
  readonly #origin: string
  readonly #identity: UpstreamIdentity
  readonly #basePath: string
  readonly #pool: Pool
  readonly #websockets: UpstreamWebsockets | undefined

  constructor(url: URL, { timeoutMs, forwardExtensions, forwardUser = false, websockets = false }: UpstreamOptions) {
    forwardExtensions.forEach(checkExtensionKey)
    this.#url = url
    this.#timeoutMs = timeoutMs
    this.#origin = url.origin
    this.#identity = {
      host: url.protocol === "https:" ? url.host : undefined,
      pseudonym: `bext-${randomBytes(4).toString("hex")}`,
      forwardExtensions,
      forwardUser,
    }
    this.#basePath = url.pathname.replace(/\/$/, "")
    this.#pool = new Pool(url.origin, {
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      connect: { timeout: timeoutMs },
      maxHeaderSize: MAX_HEADER_BYTES,
      pipelining: 1,
      allowH2: false,
    })
    this.#websockets = websockets ? new UpstreamWebsockets(url, { identity: this.#identity, timeoutMs }) : undefined
  }

  handle(context: RequestContext): Promise<ResponseState> {
    return context.trace ? this.#traced(context, context.trace) : this.#open(context, null)
  }

  async #traced(context: RequestContext, trace: RequestTrace): Promise<ResponseState> {
    const call = trace.callUpstream(context.method, this.#origin + this.#basePath + encodePath(context.path))
    try {
      const response = await this.#open(context, call)
      call.answered(response.status)
      if (response.body instanceof Readable) response.body.once("close", () => call.end())
      else call.end()
      return response
    } catch (error) {
      if (context.signal.aborted) call.end()
      else call.failed(error instanceof BextError ? error.code : "E_INTERNAL")
      throw error
    }
  }

  #open(context: RequestContext, call: UpstreamCall | null): Promise<ResponseState> {
    const { upgrade } = context
    if (!upgrade || !this.#websockets) return this.#send(context, call)
    return this.#websockets.open(context, upgrade, this.#pathFor(context), call)
  }

  async #send(context: RequestContext, call: UpstreamCall | null): Promise<ResponseState> {
    const { trailers } = context.requestBody
    if (trailers !== null && (trailers.announced !== "" || trailers.fields.size > 0)) {
      return this.#sendWithTrailers(context, trailers, call)
    }
    const request = this.#toRequest(context, call)
    let response: Dispatcher.ResponseData
    try {
      response = await this.#pool.request(request)
    } catch (error) {
      if (!mayRetry(error, context)) throw this.#toError(error)
      call?.resent()
      response = await this.#pool.request(request).catch((again) => {
        throw this.#toError(again)
      })
    }
    const { statusCode, headers, body, trailers: received } = response
    // By the option "raw", of which its type does not tell.
    const raw = headers as unknown as string[]
    return this.#toResponse(context, statusCode, raw, body, () => toRaw(received))
  }

  async close(): Promise<void> {
    await this.#pool.close()
  }

  async #sendWithTrailers(
    context: RequestContext,
    trailers: Trailers,
    call: UpstreamCall | null,
  ): Promise<ResponseState> {
    const { requestBody } = context
    const request = {
      method: context.method,
      path: this.#pathFor(context),
      headers: toUpstreamHeaders(context, this.#identity, call),
      body: requestBody.bytes ?? requestBody.stream(),
      trailers,
      signal: context.signal,
      timeoutMs: this.#timeoutMs,
    }
    const message = await sendWithTrailers(this.#url, request).catch((error) => {
      throw this.#toError(error)
    })
    return this.#toResponse(context, message.statusCode!, message.rawHeaders, message, () => message.rawTrailers)
  }

  #toRequest(context: RequestContext, call: UpstreamCall | null): Dispatcher.RequestOptions {
    const { requestBody } = context
    const empty = requestBody.bytes === undefined ? !requestBody.present : requestBody.bytes.length === 0
    return {
      method: context.method,
      path: this.#pathFor(context),
      headers: toUpstreamHeaders(context, this.#identity, call),
      body: empty ? null : (requestBody.bytes ?? requestBody.stream()),
      signal: context.signal,
      responseHeaders: "raw",
    }
  }

  #pathFor({ path, query }: RequestContext): string {
    const target = this.#basePath + encodePath(path)
    return query === "" ? target : `${target}?${query}`
  }

  /** @param rawTrailers - Called when the body has ended. */
  #toResponse(
    context: RequestContext,
    statusCode: number,
    raw: string[],
    body: Readable,
    rawTrailers: () => readonly string[],
  ): ResponseState {
    // The writer destroys bodies it does not send; undici reports that as an error of the body.
    body.on("error", () => {})
    if (statusCode < 200 || statusCode > 599) {
      body.destroy()
      throw new BextError("E_UPSTREAM_INVALID", `${this.#origin} answered with status ${statusCode}`)
    }
    const headers = HeaderList.borrow(raw)
    const bodiless = context.method === "HEAD" || statusCode === 204 || statusCode === 304
    // Only chunked content has a trailer section (RFC 9112 §7.1.2).
    const trailers = bodiless || !headers.has("transfer-encoding") ? null : receiveTrailers(headers, body, rawTrailers)
    removeHopByHop(headers)
    if (bodiless) body.resume()
    return { status: statusCode, headers, body: bodiless ? null : body, trailers }
  }

  #toError(error: unknown): unknown {
    if (error instanceof BextError) return error
    const { code = "", message, name } = error as NodeJS.ErrnoException
    if (/^UND_ERR_(HEADERS|CONNECT|BODY)_TIMEOUT$/.test(code)) {
      return new BextError("E_UPSTREAM_TIMEOUT", `${this.#origin} did not answer in time`, { cause: error })
    }
    if (name === "HTTPParserError" || code.startsWith("HPE_") || /^UND_ERR_(HEADERS_OVERFLOW|RES_)/.test(code)) {
      return new BextError("E_UPSTREAM_INVALID", `${this.#origin} sent invalid HTTP: ${message}`, { cause: error })
    }
    if (code === "UND_ERR_INVALID_ARG") return error
    return new BextError("E_UPSTREAM_UNREACHABLE", `${this.#origin}: ${message}`, { cause: error })
  }
}

function receiveTrailers(headers: HeaderList, body: Readable, rawTrailers: () => readonly string[]): Trailers {
  const isDropped = nominatedBy(headers.get("connection"))
  const fields = HeaderList.empty()
  body.once("end", () => {
    for (const [name, value] of toTrailerFields(rawTrailers(), isDropped)) fields.append(name, value)
  })
  return { announced: toAnnounced(headers.get("trailer"), isDropped), fields }
}

function toRaw(fields: Readonly<Record<string, string | readonly string[]>>): string[] {
  return Object.entries(fields).flatMap(([name, values]) => [values].flat().flatMap((value) => [name, value]))
}

/**
 * A kept-alive connection may be closed by the upstream at the moment it is used again. Only then, only without a body
 * and only for methods that may be repeated, the request is sent once more.
 */
function mayRetry(error: unknown, context: RequestContext): boolean {
  const { code = "" } = error as NodeJS.ErrnoException
  if (!/^(UND_ERR_SOCKET|ECONNRESET|EPIPE)$/.test(code) || context.signal.aborted) return false
  return IDEMPOTENT.has(context.method) && !context.requestBody.present
}

/** The key becomes part of a header name. */
function checkExtensionKey(key: string): void {
  if (/^[A-Za-z0-9._-]+$/.test(key)) return
  throw new BextError("E_CONFIG_INVALID", `app.forward_extensions has ${JSON.stringify(key)}; expected "plugin.key"`)
}

function parseUpstream(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url !== undefined && url.search === "" && url.hash === "" && url.username === "" && url.password === ""
  if (!plain || !/^https?:$/.test(url.protocol)) {
    throw new BextError("E_CONFIG_INVALID", `the upstream ${JSON.stringify(text)} is not a plain http or https URL`)
  }
  return url
}
