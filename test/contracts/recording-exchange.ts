import { PluginError } from "../../src/errors.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { ExchangeChanges, ExchangeData, Json, PortableExchange, Side } from "../../src/sandbox/sandbox.ts"

/** An exchange that shows what a guest did with it. Setting Host is refused, as one example of a refusal. */
export class RecordingExchange implements PortableExchange {
  readonly scheme = "http"
  readonly host = "example.com:8080"
  readonly clientAddress = "192.0.2.1"
  readonly clientPort = 4711
  readonly protocolVersion = "HTTP/1.1"
  readonly failed = false
  readonly requestId = "0123456789abcdef0123456789abcdef"
  /** A request that asks for a websocket stays GET. */
  readonly upgrade: "websocket" | null
  readonly user: Json = { id: "ada", claims: {} }
  readonly tenantId = "t1"
  readonly siteId = null
  method = "GET"
  path: string
  query = "a=1&b=%20"
  readonly writable: Side
  status = 200
  answer: {
    status: number
    headers: (readonly [string, string])[]
    body: Uint8Array
    trailers: (readonly [string, string])[]
  } | null = null
  readonly lists = { request: HeaderList.from([["x-one", "1"]]), response: HeaderList.empty() }
  readonly trailerLists = { request: HeaderList.empty(), response: HeaderList.empty() }
  readonly extensions = new Map<string, string>()
  slot: string | null = null
  readonly bodies: Record<Side, Uint8Array> = { request: Buffer.from("body"), response: Buffer.alloc(0) }

  constructor(path: string, writable: Side = "request") {
    this.path = path
    this.writable = writable
    this.upgrade = path === "/rewrite" ? null : "websocket"
  }

  /** The answer's body as text; undefined when there was no answer. */
  get text(): string | undefined {
    return this.answer === null ? undefined : Buffer.from(this.answer.body).toString()
  }

  header(side: Side, name: string): string | undefined {
    return this.lists[side].get(name)
  }
  headers(side: Side): [string, string][] {
    return [...this.lists[side]]
  }
  setHeader(side: Side, name: string, value: string): void {
    if (name.toLowerCase() === "host") throw new PluginError("E_HEADER_FORBIDDEN", "guest", "host is not yours")
    this.lists[side].set(name, value)
  }
  appendHeader(side: Side, name: string, value: string): void {
    this.lists[side].append(name, value)
  }
  removeHeader(side: Side, name: string): void {
    this.lists[side].delete(name)
  }
  setPath(path: string): void {
    this.path = path
  }
  setQuery(query: string): void {
    this.query = query
  }
  setMethod(method: string): void {
    this.method = method
  }
  setIdentity(): void {
    throw new PluginError("E_PERMISSION", "guest", "identity was not granted")
  }
  extension(key: string): string | undefined {
    return this.extensions.get(key)
  }
  extensionEntries(): readonly (readonly [string, string])[] {
    return [...this.extensions]
  }
  setExtension(key: string, value: string): void {
    this.extensions.set(`guest.${key}`, value)
  }
  body(side: Side): Uint8Array {
    return this.bodies[side]
  }
  setBody(side: Side, bytes: Uint8Array): void {
    this.bodies[side] = bytes
  }
  trailers(side: Side): [string, string][] {
    return [...this.trailerLists[side]]
  }
  setTrailer(side: Side, name: string, value: string): void {
    this.trailerLists[side].set(name, value)
  }
  appendTrailer(side: Side, name: string, value: string): void {
    this.trailerLists[side].append(name, value)
  }
  removeTrailer(side: Side, name: string): void {
    this.trailerLists[side].delete(name)
  }
  setStatus(status: number): void {
    this.status = status
  }
  respond(
    status: number,
    headers: readonly (readonly [string, string])[],
    body: Uint8Array,
    trailers: readonly (readonly [string, string])[] = [],
  ): void {
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new PluginError("E_STATUS_INVALID", "guest", `${status} is no status`)
    }
    this.answer = { status, headers: [...headers], body, trailers: [...trailers] }
  }
  toData(): ExchangeData {
    const {
      method,
      path,
      query,
      host,
      clientAddress,
      clientPort,
      protocolVersion,
      failed,
      requestId,
      upgrade,
      user,
      tenantId,
      siteId,
      status,
      lists,
      slot,
    } = this
    const body = this.bodies.response
    return {
      side: this.writable,
      method,
      clientMethod: "GET",
      path,
      query,
      scheme: "http",
      host,
      clientAddress,
      clientPort,
      requestId,
      protocolVersion,
      upgrade,
      user,
      tenantId,
      siteId,
      requestHeaders: lists.request.raw,
      requestBody: { present: true, bytes: this.bodies.request },
      requestTrailers: this.trailerLists.request.raw,
      response:
        this.writable === "request"
          ? null
          : { failed, status, headers: lists.response.raw, body, trailers: this.trailerLists.response.raw },
      extensions: [...this.extensions],
      slot,
    }
  }
  adopt(changes: ExchangeChanges): void {
    const { headers, extensions, answer } = changes
    if (headers !== null) this.lists[this.writable] = HeaderList.from(pairs(headers))
    if (changes.trailers !== null) this.trailerLists[this.writable] = HeaderList.from(pairs(changes.trailers))
    if (changes.body !== null) this.bodies[this.writable] = changes.body
    for (const [key, value] of extensions) this.extensions.set(key, value)
    this.method = changes.method ?? this.method
    this.path = changes.path ?? this.path
    this.query = changes.query ?? this.query
    this.status = changes.status ?? this.status
    this.slot = changes.slot ?? this.slot
    if (answer === null) return
    const body = answer.body ?? new Uint8Array(0)
    const trailers = pairs(answer.trailers ?? [])
    this.answer = { status: answer.status, headers: pairs(answer.headers), body, trailers }
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!])
}
