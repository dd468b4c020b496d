import { Readable } from "node:stream"
import { type ErrorCode, PluginError } from "../errors.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestBody, RequestContext, ResponseState, UpgradeRequest, User } from "../message/request-context.ts"
import type { Trailers } from "../message/trailers.ts"
import type { ExchangeChanges, ExchangeData, Json, PortableExchange, Side } from "../sandbox/sandbox.ts"
import { findMethodFault } from "./check-method.ts"
import { findPathFault } from "./check-path.ts"
import { findQueryFault } from "./check-query.ts"
import type { GuestAccess } from "./guest-access.ts"
import { toTenant, toUser } from "./guest-identity.ts"
import { rememberTarget } from "./target-history.ts"

/** Fields one header section may have once a guest added to it. */
const MAX_FIELDS = 256
/** Header bytes one call may write. */
const MAX_HEADER_BYTES = 32 * 1024
const MAX_EXTENSION_KEYS = 32
const MAX_EXTENSION_BYTES = 8192

/** Own names only, short, and valid as the end of a field name (`[app] forward_extensions`). */
const EXTENSION_KEY = /^[A-Za-z0-9_.-]{1,64}$/
/** Describe the bytes of a body; wrong for any other bytes. Source: RFC 9110 §8, RFC 9530. */
const BODY_FIELDS = [
  "accept-ranges",
  "content-digest",
  "content-encoding",
  "content-length",
  "content-md5",
  "digest",
  "etag",
  "repr-digest",
]
const EMPTY = new Uint8Array(0)

/** The part of a request that a guest has to do with. */
export type ExchangeContext = Pick<
  RequestContext,
  | "method"
  | "clientMethod"
  | "path"
  | "query"
  | "scheme"
  | "host"
  | "clientAddress"
  | "clientPort"
  | "protocolVersion"
  | "requestId"
  | "requestHeaders"
  | "user"
  | "tenantId"
  | "siteId"
  | "extensions"
  | "response"
> & {
  readonly requestBody: Pick<RequestBody, "present" | "bytes" | "trailers" | "replace">
  readonly upgrade?: Pick<UpgradeRequest, "protocol"> | null
  slots?: Map<string, string> | null
}

/**
 * What one call of `on_request` or `on_response` sees and changes of a request. Changes are kept aside until `commit`, so
 * a call that fails leaves no trace. Every argument is guest data.
 */
export class GuestExchange implements PortableExchange {
  readonly #access: GuestAccess
  readonly #context: ExchangeContext
  readonly #writable: Side
  /** The response body without its content coding, where it had one. */
  #decoded: Uint8Array | null
  #staged: Staged | null = null
  #closed = false

  constructor(access: GuestAccess, context: ExchangeContext, writable: Side, decoded: Uint8Array | null) {
    this.#access = access
    this.#context = context
    this.#writable = writable
    this.#decoded = decoded
  }

  get method(): string {
    return this.#staged?.method ?? this.#context.method
  }

  get path(): string {
    return this.#staged?.path ?? this.#context.path
  }

  get query(): string {
    return this.#staged?.query ?? this.#context.query
  }

  get scheme(): string {
    return this.#context.scheme
  }

  get host(): string {
    return this.#context.host
  }

  get clientAddress(): string {
    return this.#context.clientAddress
  }

  get clientPort(): number {
    return this.#context.clientPort
  }

  get requestId(): string {
    return this.#context.requestId
  }

  get protocolVersion(): string {
    return this.#context.protocolVersion
  }

  get upgrade(): "websocket" | null {
    return this.#context.upgrade?.protocol ?? null
  }

  get user(): Json {
    const staged = this.#staged?.user
    const user = staged === undefined ? this.#context.user : staged
    // Claims come out of a JSON web token or out of a guest: JSON in both cases.
    return user as unknown as Json
  }

  get tenantId(): string | null {
    const staged = this.#staged?.tenantId
    return staged === undefined ? this.#context.tenantId : staged
  }

  get siteId(): string | null {
    const staged = this.#staged?.siteId
    return staged === undefined ? this.#context.siteId : staged
  }

  header(side: Side, name: string): string | undefined {
    if (this.#access.headers.refusesRead(name)) return undefined
    return this.#headers(side)?.get(name)
  }

  headers(side: Side): readonly (readonly [string, string])[] {
    const visible: [string, string][] = []
    for (const [name, value] of this.#headers(side) ?? []) {
      if (!this.#access.headers.isHidden(name)) visible.push([name.toLowerCase(), value])
    }
    return visible
  }

  setHeader(side: Side, name: string, value: string): void {
    const staged = this.#stage(side)
    this.#access.headers.checkName(side, name)
    const checked = this.#account(staged, name, value)
    const list = this.#ownHeaders(staged)
    if (list.size >= MAX_FIELDS && !list.has(name)) this.#checkRoom(list)
    list.set(name, checked)
  }

  appendHeader(side: Side, name: string, value: string): void {
    const staged = this.#stage(side)
    this.#access.headers.checkAppend(side, name, value)
    const checked = this.#account(staged, name, value)
    const list = this.#ownHeaders(staged)
    this.#checkRoom(list)
    list.append(name, checked)
  }

  removeHeader(side: Side, name: string): void {
    const staged = this.#stage(side)
    this.#access.headers.checkName(side, name)
    this.#ownHeaders(staged).delete(name)
  }

  setPath(path: string): void {
    const staged = this.#stage("request")
    if (!this.#access.permissions.rewrite_path) {
      throw this.#error("E_PERMISSION", "setting the path needs rewrite_path = true in [permissions]")
    }
    const fault = findPathFault(path)
    if (fault !== undefined) throw this.#error("E_PATH_REWRITE", `path ${show(path)} ${fault}`)
    staged.path = path
  }

  setQuery(query: string): void {
    const staged = this.#stage("request")
    if (!this.#access.permissions.rewrite_path) {
      throw this.#error("E_PERMISSION", "setting the query needs rewrite_path = true in [permissions]")
    }
    const fault = findQueryFault(query)
    if (fault !== undefined) throw this.#error("E_QUERY_REWRITE", `query ${show(query)} ${fault}`)
    staged.query = query
  }

  setMethod(method: string): void {
    const staged = this.#stage("request")
    if (!this.#access.permissions.rewrite_method) {
      throw this.#error("E_PERMISSION", "setting the method needs rewrite_method = true in [permissions]")
    }
    const fault = findMethodFault(method, this.#context.clientMethod, this.upgrade)
    if (fault !== undefined) throw this.#error("E_METHOD_REWRITE", `method ${show(method)} ${fault}`)
    staged.method = method
  }

  setIdentity(field: "user" | "tenantId" | "siteId", value: Json): void {
    const staged = this.#stage("request")
    if (!this.#access.permissions.identity) {
      throw this.#error("E_PERMISSION", `setting ${field} needs identity = true in [permissions]`)
    }
    if (field === "user") staged.user = toUser(this.#access.plugin, value)
    else staged[field] = toTenant(this.#access.plugin, field, value)
  }

  extension(key: string): string | undefined {
    return this.#staged?.extensions?.get(key) ?? this.#context.extensions?.get(key)
  }

  extensionEntries(): readonly (readonly [string, string])[] {
    return [...new Map([...(this.#context.extensions ?? []), ...(this.#staged?.extensions ?? [])])]
  }

  setExtension(key: string, value: string): void {
    const staged = this.#stage(this.#writable)
    if (!EXTENSION_KEY.test(key)) {
      throw this.#error("E_GUEST_RESULT_INVALID", `extension key ${show(key)} is not 1 to 64 of A-Z a-z 0-9 _ . -`)
    }
    if (value.length > MAX_EXTENSION_BYTES || Buffer.byteLength(value) > MAX_EXTENSION_BYTES) {
      throw this.#error("E_LIMIT_MESSAGE", `extension ${key} is over ${MAX_EXTENSION_BYTES} bytes`)
    }
    const full = `${this.#access.plugin}.${key}`
    staged.extensions ??= new Map()
    if (this.extension(full) === undefined && this.#countExtensions(staged.extensions) >= MAX_EXTENSION_KEYS) {
      throw this.#error("E_LIMIT_MESSAGE", `more than ${MAX_EXTENSION_KEYS} extension keys on one request`)
    }
    staged.extensions.set(full, value.toWellFormed())
  }

  get slot(): string | null {
    return this.#staged?.slot ?? this.#context.slots?.get(this.#access.plugin) ?? null
  }

  set slot(value: string | null) {
    this.#stage(this.#writable).slot = value
  }

  body(side: Side): Uint8Array {
    this.#checkDeclared(side)
    if (this.#staged !== null && this.#staged.body !== null && side === this.#writable) return this.#staged.body
    return side === "request" ? this.#requestBody() : this.#responseBody()
  }

  setBody(side: Side, bytes: Uint8Array): void {
    const staged = this.#stage(side)
    this.#checkDeclared(side)
    this.#checkAnswer(bytes)
    if (side === "response") this.#checkNotSwitching()
    // A body that was not buffered is still on its way; it must not be replaced unseen.
    this.body(side)
    staged.body = bytes
    const list = this.#ownHeaders(staged)
    for (const name of BODY_FIELDS) list.delete(name)
    if (this.#trailers(side) === undefined) return
    const trailers = this.#ownTrailers(staged)
    for (const name of BODY_FIELDS) trailers.delete(name)
  }

  trailers(side: Side): readonly (readonly [string, string])[] {
    this.#checkDeclared(side)
    return Array.from(this.#trailers(side) ?? [], ([name, value]) => [name.toLowerCase(), value])
  }

  setTrailer(side: Side, name: string, value: string): void {
    const list = this.#stageTrailers(side, name)
    const checked = this.#account(this.#stage(side), name, value)
    if (list.size >= MAX_FIELDS && !list.has(name)) this.#checkRoom(list)
    list.set(name, checked)
  }

  appendTrailer(side: Side, name: string, value: string): void {
    const list = this.#stageTrailers(side, name)
    const checked = this.#account(this.#stage(side), name, value)
    this.#checkRoom(list)
    list.append(name, checked)
  }

  removeTrailer(side: Side, name: string): void {
    this.#stageTrailers(side, name).delete(name)
  }

  get failed(): boolean {
    return this.#writable === "response" && this.#response().failed === true
  }

  get status(): number {
    return this.#writable === "request" ? 0 : (this.#staged?.status ?? this.#response().status)
  }

  setStatus(status: number): void {
    const staged = this.#stage("response")
    this.#checkNotSwitching()
    staged.status = this.#checkStatus(status)
  }

  respond(
    status: number,
    headers: readonly (readonly [string, string])[],
    body: Uint8Array,
    trailers: readonly (readonly [string, string])[] = [],
  ): void {
    const staged = this.#stage("request")
    const checked = this.#checkStatus(status)
    this.#checkAnswer(body)
    const list = HeaderList.empty()
    for (const [name, value] of headers) {
      this.#access.headers.checkAppend("response", name, value)
      this.#checkRoom(list)
      list.append(name, this.#account(staged, name, value))
    }
    const fields = HeaderList.empty()
    for (const [name, value] of trailers) {
      this.#access.headers.checkTrailer("response", name)
      this.#checkRoom(fields)
      fields.append(name, this.#account(staged, name, value))
    }
    const content = allowsBody(checked) && body.length > 0 ? body : null
    staged.answer = { status: checked, headers: list, body: content, trailers: toTrailers(fields) }
  }

  toData(): ExchangeData {
    const context = this.#context
    const { method, clientMethod, path, query, scheme, host, clientAddress, clientPort, requestId, protocolVersion } =
      context
    const { tenantId, siteId, response } = context
    return {
      side: this.#writable,
      method,
      clientMethod,
      path,
      query,
      scheme,
      host,
      clientAddress,
      clientPort,
      requestId,
      protocolVersion,
      upgrade: this.upgrade,
      user: context.user as unknown as Json,
      tenantId,
      siteId,
      requestHeaders: context.requestHeaders.raw,
      requestBody: {
        present: context.requestBody.present,
        bytes: this.#reads("request") ? context.requestBody.bytes : undefined,
      },
      requestTrailers: this.#reads("request") ? (context.requestBody.trailers?.fields.raw ?? null) : null,
      response: response === null || this.#writable === "request" ? null : this.#responseData(response),
      extensions: context.extensions === null ? [] : [...context.extensions],
      slot: this.slot,
    }
  }

  adopt(changes: ExchangeChanges): void {
    if (this.#closed) return
    const staged = new Staged()
    const { headers, extensions, answer } = changes
    staged.headers = headers === null ? null : HeaderList.borrow([...headers])
    staged.trailers = changes.trailers === null ? null : HeaderList.borrow([...changes.trailers])
    staged.body = changes.body
    staged.extensions = extensions.length === 0 ? null : new Map(extensions)
    staged.method = changes.method
    staged.path = changes.path
    staged.query = changes.query
    // It was checked where it was staged; a copy is not frozen.
    staged.user = changes.user === undefined ? undefined : toUser(this.#access.plugin, changes.user)
    staged.tenantId = changes.tenantId
    staged.siteId = changes.siteId
    staged.answer = answer === null ? null : toAnswer(answer)
    staged.status = changes.status
    staged.slot = changes.slot
    this.#staged = staged
  }

  /** Ends the call of a copy. @returns what it changed, for `adopt`; null: nothing. */
  takeChanges(): ExchangeChanges | null {
    const staged = this.#staged
    this.close()
    if (staged === null) return null
    const { headers, trailers, body, extensions, method, path, query, user, tenantId, siteId, answer, status, slot } =
      staged
    return {
      headers: headers?.raw ?? null,
      trailers: trailers?.raw ?? null,
      body,
      extensions: extensions === null ? [] : [...extensions],
      method,
      path,
      query,
      user: user as unknown as Json | undefined,
      tenantId,
      siteId,
      answer:
        answer === null
          ? null
          : {
              status: answer.status,
              headers: answer.headers.raw,
              body: answer.body as Uint8Array | null,
              trailers: answer.trailers?.fields.raw ?? null,
            },
      status,
      slot,
    }
  }

  /** Puts the changes into effect. */
  commit(): void {
    const staged = this.#staged
    this.close()
    if (staged === null) return
    if (staged.extensions !== null) this.#commitExtensions(staged.extensions)
    if (staged.slot !== null) this.#commitSlot(staged.slot)
    if (this.#writable === "request") this.#commitRequest(staged)
    else this.#commitResponse(staged)
  }

  /**
   * Ends the call: from here on the guest can look, but not change. Without `commit` its changes are gone. Nothing large
   * is kept for a guest that goes on behind the answer.
   */
  close(): void {
    this.#closed = true
    this.#staged = null
    this.#decoded = null
  }

  #commitRequest(staged: Staged): void {
    const context = this.#context
    if (staged.headers !== null) context.requestHeaders = staged.headers
    this.#commitTarget(staged)
    if (staged.user !== undefined) context.user = staged.user
    if (staged.tenantId !== undefined) context.tenantId = staged.tenantId
    if (staged.siteId !== undefined) context.siteId = staged.siteId
    if (staged.body !== null) context.requestBody.replace(staged.body)
    if (staged.trailers !== null) this.#commitRequestTrailers(staged.trailers)
    if (staged.answer !== null) context.response = staged.answer
    if (staged.method !== null) this.#commitMethod(staged.method)
  }

  /** Without content there is nothing to put them behind. */
  #commitRequestTrailers(fields: HeaderList): void {
    const { requestBody } = this.#context
    const empty = !requestBody.present && requestBody.bytes?.length === 0
    requestBody.trailers = empty ? null : toTrailers(fields)
  }

  #commitTarget({ path, query }: Staged): void {
    const context = this.#context
    if (path !== null && path !== context.path) {
      rememberTarget(context)
      context.path = path
    }
    if (query !== null) context.query = query
  }

  /** After everything else: content that the same call has set goes as well. */
  #commitMethod(method: string): void {
    const context = this.#context
    if (method === context.method) return
    rememberTarget(context)
    context.method = method
    if (method !== "GET" && method !== "HEAD") return
    context.requestBody.trailers = null
    // It would have no meaning, and an app that leaves it unread could take it for a request (RFC 9110 §9.3.1).
    if (context.requestBody.bytes?.length !== 0) context.requestBody.replace(EMPTY)
    for (const [name] of context.requestHeaders.clone()) {
      if (name.toLowerCase().startsWith("content-")) context.requestHeaders.delete(name)
    }
  }

  #commitResponse(staged: Staged): void {
    const response = this.#response()
    if (staged.headers !== null) response.headers = staged.headers
    // What a plugin makes of the absent content of HEAD is not what GET would give (RFC 9110 §9.3.2).
    if (staged.body !== null) response.body = this.#context.method === "HEAD" ? null : staged.body
    if (staged.trailers !== null) response.trailers = toTrailers(staged.trailers)
    if (staged.status !== null) response.status = staged.status
    if (allowsBody(response.status)) return
    if (response.body instanceof Readable) response.body.destroy()
    response.body = null
  }

  #commitExtensions(changes: Map<string, string>): void {
    this.#context.extensions ??= new Map()
    for (const [key, value] of changes) this.#context.extensions.set(key, value)
  }

  #commitSlot(value: string): void {
    this.#context.slots ??= new Map()
    this.#context.slots.set(this.#access.plugin, value)
  }

  #headers(side: Side): HeaderList | undefined {
    if (side === this.#writable && this.#staged !== null && this.#staged.headers !== null) return this.#staged.headers
    return side === "request" ? this.#context.requestHeaders : this.#context.response?.headers
  }

  /** @throws {PluginError} `E_PERMISSION` when this call may not change that side, or is over. */
  #stage(side: Side): Staged {
    if (this.#closed) throw this.#error("E_PERMISSION", "the call is over, its request can no longer be changed")
    if (side !== this.#writable) {
      const where = side === "request" ? "on_request" : "on_response"
      throw this.#error("E_PERMISSION", `the ${side} can be changed in ${where} only`)
    }
    this.#staged ??= new Staged()
    return this.#staged
  }

  #ownHeaders(staged: Staged): HeaderList {
    staged.headers ??= (this.#writable === "request" ? this.#context.requestHeaders : this.#response().headers).clone()
    return staged.headers
  }

  #trailers(side: Side): HeaderList | undefined {
    if (side === this.#writable && this.#staged !== null && this.#staged.trailers !== null) return this.#staged.trailers
    if (side === "request") return this.#context.requestBody.trailers?.fields
    const { response } = this.#context
    return response?.body instanceof Readable ? undefined : response?.trailers?.fields
  }

  #stageTrailers(side: Side, name: string): HeaderList {
    const staged = this.#stage(side)
    this.#access.headers.checkTrailer(side, name)
    // Behind a body that is still on its way, more may come.
    this.body(side)
    if (side === "response") this.#checkNotSwitching()
    return this.#ownTrailers(staged)
  }

  #ownTrailers(staged: Staged): HeaderList {
    staged.trailers ??= this.#trailers(this.#writable)?.clone() ?? HeaderList.empty()
    return staged.trailers
  }

  /** Checks a value and what the call has written so far; a guest may set the same field over and over. */
  #account(staged: Staged, name: string, value: string): string {
    const checked = this.#access.headers.checkValue(name, value)
    staged.headerBytes += name.length + checked.length + 4
    if (staged.headerBytes > MAX_HEADER_BYTES) {
      throw this.#error("E_LIMIT_MESSAGE", `one call wrote more than ${MAX_HEADER_BYTES} bytes of headers`)
    }
    return checked
  }

  /** Before a field is added: a guest may catch the refusal and go on. */
  #checkRoom(list: HeaderList): void {
    if (list.size >= MAX_FIELDS) throw this.#error("E_LIMIT_MESSAGE", `more than ${MAX_FIELDS} header fields`)
  }

  #checkStatus(status: number): number {
    if (Number.isInteger(status) && status >= 200 && status <= 599) return status
    throw this.#error("E_STATUS_INVALID", `status ${show(String(status))} is not an integer from 200 to 599`)
  }

  /** To keep a client out by its status is for on_request: here the app has agreed. Never passed over in silence. */
  #checkNotSwitching(): void {
    if (this.#response().status !== 101) return
    throw this.#error("E_PERMISSION", "a websocket is about to be opened: it has no body and no other status")
  }

  #checkAnswer(bytes: Uint8Array): void {
    if (bytes.length <= this.#access.maxAnswerBytes) return
    throw this.#error("E_LIMIT_MESSAGE", `a body of ${bytes.length} bytes, at most ${this.#access.maxAnswerBytes}`)
  }

  #checkDeclared(side: Side): void {
    if (!this.#reads(side)) {
      throw this.#error("E_BODY_NOT_DECLARED", `reading the ${side} body needs body = "${side}" in [sandbox]`)
    }
    if (side === "response" && this.#writable === "request") {
      throw this.#error("E_BODY_NOT_DECLARED", "there is no response yet in on_request")
    }
  }

  #reads(side: Side): boolean {
    return this.#access.body === "both" || this.#access.body === side
  }

  #responseData({ status, headers, body, trailers }: ResponseState): ExchangeData["response"] {
    const reads = this.#reads("response")
    const known = this.#decoded !== null || !(body instanceof Readable)
    return {
      failed: this.failed,
      status,
      headers: headers.raw,
      body: !reads || body === null ? null : known ? this.#responseBody() : "stream",
      trailers: reads && known ? (trailers?.fields.raw ?? null) : null,
    }
  }

  #requestBody(): Uint8Array {
    const { requestBody } = this.#context
    if (requestBody.bytes !== undefined) return requestBody.bytes
    if (!requestBody.present) return EMPTY
    throw this.#error("E_BODY_NOT_DECLARED", "the request body is gone; read it in on_request")
  }

  #responseBody(): Uint8Array {
    if (this.#closed)
      throw this.#error("E_BODY_NOT_DECLARED", "the response body is on its way; read it before answering")
    if (this.#decoded !== null) return this.#decoded
    const { body } = this.#response()
    if (body === null) return EMPTY
    if (typeof body === "string") return Buffer.from(body)
    if (body instanceof Uint8Array) return body
    throw this.#error("E_BODY_NOT_DECLARED", "a text/event-stream is never buffered")
  }

  #response(): ResponseState {
    const { response } = this.#context
    if (response === null) throw new TypeError("on_response without a response")
    return response
  }

  #countExtensions(staged: Map<string, string>): number {
    const prefix = `${this.#access.plugin}.`
    const keys = new Set(staged.keys())
    for (const key of this.#context.extensions?.keys() ?? []) if (key.startsWith(prefix)) keys.add(key)
    return keys.size
  }

  #error(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, this.#access.plugin, what)
  }
}

/** Changes of one call; made by the first of them. */
class Staged {
  headers: HeaderList | null = null
  trailers: HeaderList | null = null
  headerBytes = 0
  body: Uint8Array | null = null
  extensions: Map<string, string> | null = null
  /** on_request: undefined = unchanged. */
  method: string | null = null
  path: string | null = null
  query: string | null = null
  user: User | null | undefined = undefined
  tenantId: string | null | undefined = undefined
  siteId: string | null | undefined = undefined
  answer: ResponseState | null = null
  slot: string | null = null
  /** on_response. */
  status: number | null = null
}

function toTrailers(fields: HeaderList): Trailers | null {
  return fields.size === 0 ? null : { announced: "", fields }
}

function toAnswer({ status, headers, body, trailers }: NonNullable<ExchangeChanges["answer"]>): ResponseState {
  const behind = trailers === null ? null : toTrailers(HeaderList.borrow([...trailers]))
  return { status, headers: HeaderList.borrow([...headers]), body, trailers: behind }
}

/** Source: RFC 9110 §15.3.5, §15.3.6, §15.4.5. */
function allowsBody(status: number): boolean {
  return status !== 204 && status !== 205 && status !== 304
}

/** Guest text for a message: short and on one line. */
function show(text: string): string {
  return JSON.stringify(text.slice(0, 64))
}
