import type { Dispatcher } from "undici"
import { BextError, type ErrorCode, PluginError } from "../errors.ts"
import { ByteCollector } from "../message/byte-collector.ts"
import { DecodeFailure, decodeContent } from "../message/decode-content.ts"
import { checkRequestHeaders } from "./fetch-headers.ts"
import { quote } from "./quote.ts"
import type { GuestFetchRequest, GuestFetchResponse } from "./services.ts"
import { TokenBucket } from "./token-bucket.ts"
import { matchesUrl, parseUrlPattern, type UrlPattern } from "./url-pattern.ts"

export interface GuardedFetchOptions {
  readonly plugin: string
  /** Effective patterns; none = no fetch at all. */
  readonly allowedUrls: readonly string[]
  readonly maxPerMinute: number
  /** Largest request body, and largest response body before and after its content coding is removed. */
  readonly maxBytes: number
  /** From `createFetchTransport`: it checks and pins addresses. */
  readonly transport: Dispatcher
  /** The whole fetch, redirects and body included. Default 10 s. */
  readonly timeoutMs?: number
}

export type GuardedFetch = (request: GuestFetchRequest, signal: AbortSignal) => Promise<GuestFetchResponse>

const MAX_REDIRECTS = 5
const MAX_URL_LENGTH = 8192
const MAX_IN_FLIGHT = 32
const DEFAULT_TIMEOUT_MS = 10_000
const METHOD = /^[A-Z]{1,20}$/
/** Fetch §2.2.1 forbids these; CONNECT would open a tunnel. */
const FORBIDDEN_METHODS = new Set(["CONNECT", "TRACE", "TRACK"])
const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** One request of a chain of redirects. */
interface Hop {
  readonly url: URL
  readonly method: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | null
}

/**
 * Fetches for one guest: only URLs its patterns allow, hop by hop, only through a transport that checks addresses, at
 * most `maxPerMinute` requests (every hop counts), and nothing the guest did not send but Host, Connection and
 * Accept-Encoding. Source of redirect rules and forbidden headers: WHATWG Fetch.
 * @throws {PluginError} `E_PLUGIN_MANIFEST_INVALID` for a bad pattern.
 */
export function createGuardedFetch(options: GuardedFetchOptions): GuardedFetch {
  const fetcher = new GuardedFetcher(options)
  return (request, signal) => fetcher.fetch(request, signal)
}

class GuardedFetcher {
  readonly #options: GuardedFetchOptions
  readonly #patterns: readonly UrlPattern[]
  readonly #bucket: TokenBucket
  #inFlight = 0

  constructor(options: GuardedFetchOptions) {
    this.#options = options
    this.#patterns = options.allowedUrls.map((text) => this.#parse(text))
    this.#bucket = new TokenBucket(options.maxPerMinute, performance.now())
  }

  async fetch(request: GuestFetchRequest, signal: AbortSignal): Promise<GuestFetchResponse> {
    const first = this.#check(request)
    if (this.#inFlight >= MAX_IN_FLIGHT) throw this.#error("E_LIMIT_FETCH", `${MAX_IN_FLIGHT} fetches are under way`)
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(), this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    this.#inFlight++
    try {
      return await this.#follow(first, request.redirect, AbortSignal.any([signal, timeout.signal]))
    } catch (error) {
      throw this.#named(error, timeout.signal, signal)
    } finally {
      clearTimeout(timer)
      this.#inFlight--
    }
  }

  #parse(text: string): UrlPattern {
    try {
      return parseUrlPattern(text)
    } catch (error) {
      throw this.#error("E_PLUGIN_MANIFEST_INVALID", `permissions.allowed_urls: ${(error as Error).message}`)
    }
  }

  #check({ url, method, headers, body }: GuestFetchRequest): Hop {
    const name = method.toUpperCase()
    if (!METHOD.test(name) || FORBIDDEN_METHODS.has(name)) {
      throw this.#error("E_FETCH_FORBIDDEN", `method ${quote(method, 40)} is not one for fetch`)
    }
    if (body !== null && (name === "GET" || name === "HEAD")) {
      throw this.#error("E_FETCH_FORBIDDEN", `a ${name} request has no body`)
    }
    if (body !== null && body.length > this.#options.maxBytes) {
      throw this.#error("E_LIMIT_MESSAGE", `the request body has ${body.length} bytes, over ${this.#options.maxBytes}`)
    }
    const own = checkRequestHeaders(this.#options.plugin, headers)
    // A copy: sending takes a while, and the bytes may be a view of the guest's memory.
    return { url: this.#allow(url), method: name, headers: own, body: body === null ? null : Uint8Array.from(body) }
  }

  /** @param base - The URL that redirects; absent for the first one. */
  #allow(text: string, base?: URL): URL {
    const shown = quote(text, 200)
    const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text, base)
    if (url === null) throw this.#error("E_FETCH_FORBIDDEN", `${shown} is not a URL`)
    if (url.username !== "" || url.password !== "") {
      throw this.#error("E_FETCH_FORBIDDEN", "a URL with credentials; send an Authorization header instead")
    }
    url.hash = ""
    if (this.#patterns.some((pattern) => matchesUrl(pattern, url))) return url
    const where = base === undefined ? shown : `the redirect from ${base.origin} to ${url.origin}${url.pathname}`
    const allowed = this.#patterns.map((pattern) => pattern.text).join(", ") || "none"
    throw this.#error("E_FETCH_FORBIDDEN", `${where} matches no allowed URL (${allowed})`)
  }

  async #follow(first: Hop, mode: GuestFetchRequest["redirect"], signal: AbortSignal): Promise<GuestFetchResponse> {
    let hop = first
    for (let redirects = 0; ; redirects++) {
      if (!this.#bucket.take(performance.now())) {
        throw this.#error("E_LIMIT_FETCH", `more than ${this.#options.maxPerMinute} requests a minute`)
      }
      const response = await this.#send(hop, signal)
      const location = response.headers.location
      const follows = REDIRECTS.has(response.statusCode) && typeof location === "string" && mode !== "manual"
      if (!follows) return this.#receive(hop, response, signal)
      // Not read, so not reusable: closing is cheaper than downloading what nobody wants.
      response.body.on("error", () => {}).destroy()
      if (mode === "error") throw this.#error("E_FETCH_FAILED", `${hop.url.origin} answered with a redirect`)
      if (redirects === MAX_REDIRECTS) throw this.#error("E_FETCH_FAILED", `more than ${MAX_REDIRECTS} redirects`)
      hop = redirected(hop, response.statusCode, this.#allow(location, hop.url))
    }
  }

  #send({ url, method, headers, body }: Hop, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const response = this.#options.transport.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: method as Dispatcher.HttpMethod,
      headers: [...headers.flat(), "accept-encoding", "gzip, deflate, br"],
      body,
      signal,
    })
    return orAborted(response, signal)
  }

  async #receive(hop: Hop, response: Dispatcher.ResponseData, signal: AbortSignal): Promise<GuestFetchResponse> {
    const raw = await this.#read(hop.method, response)
    const headers = toPairs(response.headers)
    const codings = response.headers["content-encoding"]
    const url = hop.url.href
    if (codings === undefined || raw.length === 0) return { url, status: response.statusCode, headers, body: raw }
    const body = await decodeContent(raw, String(codings), this.#options.maxBytes)
    if (body instanceof DecodeFailure) throw toDecodeError(body, this.#options.maxBytes)
    signal.throwIfAborted()
    // They described the bytes on the wire; a guest that passes them on would mislabel what it has.
    const kept = headers.filter(([name]) => name !== "content-encoding" && name !== "content-length")
    return { url, status: response.statusCode, headers: kept, body }
  }

  async #read(method: string, { body, headers }: Dispatcher.ResponseData): Promise<Uint8Array> {
    const { maxBytes } = this.#options
    const tooLarge = () => this.#error("E_LIMIT_MESSAGE", `the response body has more than ${maxBytes} bytes`)
    if (method !== "HEAD" && Number(headers["content-length"]) > maxBytes) {
      body.on("error", () => {}).destroy()
      throw tooLarge()
    }
    const received = new ByteCollector()
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    // Events, not iteration: what waits to be read would wait in as many pieces as it came in.
    body.on("data", (chunk: Uint8Array) => {
      if (received.length + chunk.length > maxBytes) body.destroy(tooLarge())
      else received.append(chunk)
    })
    body.once("end", () => resolve(received.toBuffer()))
    body.on("error", reject)
    body.once("close", () => reject(new Error("the response ended early")))
    return promise
  }

  /** What the guest is told. The original is the cause, for the log. */
  #named(error: unknown, timeout: AbortSignal, signal: AbortSignal): PluginError {
    if (error instanceof PluginError) return error
    if (error instanceof BextError) return this.#error(error.code, error.message.replace(/ \[\w+\]$/, ""), error.cause)
    if (signal.aborted) return this.#error("E_FETCH_FAILED", "the fetch was cancelled", error)
    if (timeout.aborted) return this.#error("E_FETCH_FAILED", "the fetch took too long", error)
    const code = error instanceof Error && "code" in error ? `: ${String(error.code)}` : ""
    return this.#error("E_FETCH_FAILED", `the fetch failed${code}`, error)
  }

  #error(code: ErrorCode, what: string, cause?: unknown): PluginError {
    return new PluginError(code, this.#options.plugin, what, cause === undefined ? {} : { cause })
  }
}

/** The transport looks at a signal only once it is connected; a guest must not wait for a name server until then. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const abort = () => reject(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort))
  return promise
}

/** The next request of a chain. Source: Fetch §4.4 "HTTP-redirect fetch", steps 12 to 14. */
function redirected(hop: Hop, status: number, url: URL): Hop {
  const becomesGet =
    status === 303 ? hop.method !== "GET" && hop.method !== "HEAD" : status < 303 && hop.method === "POST"
  const sameOrigin = url.origin === hop.url.origin
  const headers = hop.headers.filter(
    ([name]) => !(becomesGet && CONTENT_HEADERS.has(name)) && (sameOrigin || !CREDENTIALS.has(name)),
  )
  return becomesGet ? { url, method: "GET", headers, body: null } : { url, method: hop.method, headers, body: hop.body }
}

const CONTENT_HEADERS = new Set(["content-encoding", "content-language", "content-location", "content-type"])
const CREDENTIALS = new Set(["authorization", "cookie", "proxy-authorization"])

function toPairs(headers: Dispatcher.ResponseData["headers"]): [string, string][] {
  return Object.entries(headers).flatMap(([name, value]): [string, string][] => {
    if (value === undefined) return []
    return Array.isArray(value) ? value.map((item): [string, string] => [name, item]) : [[name, value]]
  })
}

function toDecodeError({ reason, coding, cause }: DecodeFailure, maxBytes: number): BextError {
  const name = quote(coding, 40)
  switch (reason) {
    case "too-large":
      return new BextError("E_LIMIT_MESSAGE", `the response body expands to more than ${maxBytes} bytes`, { cause })
    case "broken":
      return new BextError("E_FETCH_FAILED", `the response body is not valid ${name}`, { cause })
    case "unknown":
      return new BextError("E_FETCH_FAILED", `the response has the content coding ${name}`)
    case "too-many":
      return new BextError("E_FETCH_FAILED", "the response has too many content codings")
  }
}
