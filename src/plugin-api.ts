/**
 * The API of bext plugins written in JavaScript or TypeScript: what a guest of the `quickjs` tier is given and what it
 * may answer. Types only; at run time the host provides all of it and `bext/plugin` holds no code.
 *
 * A plugin is an ES module. Its hooks are named exports, or functions of the default export:
 * ```js
 * export default {
 *   onRequest(ctx) {
 *     if (ctx.path === "/teapot") return { action: "respond", status: 418, body: "short and stout" }
 *   },
 * }
 * // GET /teapot → 418 "short and stout"
 * // GET /else → continue
 * ```
 * In TypeScript, `import type { Plugin } from "bext/plugin"` and end the default export with `satisfies Plugin`. Types are
 * stripped, not compiled: `enum`, `namespace` and parameter properties do not load. For the types of the web globals
 * (see `WebGlobals`) put "webworker" into `compilerOptions.lib`.
 *
 * Every `js` block of this file is a complete plugin that the test suite runs. Below the code, a line such as
 * `// GET /x → 403 "text"` states what a request gets (`continue` = the app answers); see docs/plugin-api.md.
 *
 * Whatever the host refuses is thrown in the guest as an `Error` whose `code` is one of bext's error codes; see `HostError`.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** What hooks may return when they have to wait. Returning the plain value is the fast path. */
export type Awaitable<T> = T | Promise<T>

/** No `return`, or `return` without a value. */
// biome-ignore lint/suspicious/noConfusingVoidType: `void` is what TypeScript infers for a hook without a return
export type Nothing = void

/**
 * An error thrown by the host: a refused permission, a spent budget, invalid data. Left uncaught, it fails the call.
 * ```js
 * export function onRequest(ctx) {
 *   try {
 *     ctx.request.setHeader("content-length", "1")
 *   } catch (error) {
 *     return new Response(error.code)
 *   }
 * }
 * // GET / → 200 "E_HEADER_FORBIDDEN"
 * ```
 */
export interface HostError extends Error {
  /** For instance `E_PERMISSION`, `E_STORAGE_KEY` or `E_FETCH_FAILED`; `bext explain CODE` describes each. */
  readonly code: string
}

/**
 * The hooks of a plugin. Each may also be a named export of the module, and each may be spelled in snake_case as in the
 * configuration (`on_request`); one hook in both spellings, or in both places, is an error at load. A hook needs its
 * capability in the manifest.
 * @typeParam Config - Shape of the plugin's own configuration section.
 */
export interface Plugin<Config = { readonly [key: string]: Json }> {
  /**
   * Capability `middleware`. Runs before the handler, in ascending priority; the first plugin that answers wins.
   * @returns Nothing, or `{ action: "continue" }`, to go on; a `RespondResult` or a `Response` to answer.
   */
  onRequest?(ctx: RequestContext): Awaitable<RequestResult>
  /**
   * Capability `middleware`. Runs on the way out, in descending priority. Changes the response through `ctx.response`;
   * returns nothing (`{ action: "continue" }` is accepted).
   */
  onResponse?(ctx: ResponseContext): Awaitable<Nothing | ContinueResult>

  /**
   * Capability `lifecycle`. Once per process, before the first request. What it leaves in module variables is there for
   * every request; timers and fetches it leaves behind are cancelled.
   * ```js
   * let allowed
   * export function onServerStart(config) {
   *   allowed = new Set(config.allowed)
   * }
   * export function onRequest(ctx) {
   *   if (!allowed.has(ctx.method)) return { action: "respond", status: 405, headers: { allow: [...allowed].join(", ") } }
   * }
   * // config allowed = ["GET", "HEAD"]
   * // GET / → continue
   * // DELETE / → 405 allow: "GET, HEAD"
   * ```
   */
  onServerStart?(config: Config, ctx: EventContext): Awaitable<void>
  /** Capability `lifecycle`. Once per process, when it stops taking requests. */
  onServerStop?(ctx: EventContext): Awaitable<void>
  /**
   * Capability `lifecycle`. After the response went out; never delays it.
   * ```js
   * export function onRequestComplete(event) {
   *   console.log(`${event.method} ${event.path} gave ${event.status}`)
   * }
   * // GET /page → continue
   * // → log info "GET /page gave 200"
   * ```
   */
  onRequestComplete?(event: RequestCompleteEvent, ctx: EventContext): Awaitable<void>
  /** Capability `lifecycle`. After a page was stored. */
  onCacheWrite?(key: string, tags: readonly string[], ctx: EventContext): Awaitable<void>
  /** Capability `lifecycle`. After pages were invalidated; `count` is the number that were stored. */
  onCacheInvalidate?(pattern: string, count: number, ctx: EventContext): Awaitable<void>
  /**
   * Capability `lifecycle`. Handles one message of a queue that `permissions.queues` lists. Returning, or resolving,
   * acknowledges it; throwing, or any spent budget, has it delivered again later, and in the end kept as a dead letter. A
   * message may come more than once: see `QueueMessage.id`. Runs with the storage of the tenant that pushed it.
   * ```js
   * export default {
   *   async onRequest(ctx) {
   *     await bext.queue.push("greetings", { name: ctx.query }, { key: ctx.query })
   *     return new Response("later", { status: 202 })
   *   },
   *   async onQueueMessage(message) {
   *     console.log(`hello ${message.value.name}, attempt ${message.attempt}`)
   *   },
   * }
   * // plugin.toml [permissions] queues = ["greetings"]
   * // GET /?ada → 202 "later"
   * // → log info "hello ada, attempt 1"
   * ```
   */
  onQueueMessage?(message: QueueMessage, ctx: EventContext): Awaitable<void>
  /** Capability `lifecycle`. After a reload: what was read again serves now. Runs in every plugin, changed or not. */
  onReload?(ctx: EventContext): Awaitable<void>
  /**
   * Capability `lifecycle`. Last call: at shutdown, or when a reload replaced or removed the plugin and its requests are over,
   * at the latest after `server.grace`.
   */
  cleanup?(ctx: EventContext): Awaitable<void>

  /**
   * Capability `transform`. Rewrites one source file of the build; files are chosen by `[transform] matches`.
   * @returns The new text, optionally with a source map (JSON text), or nothing to leave it as it is.
   */
  transform?(
    source: string,
    path: string,
    ctx: TransformContext,
  ): Awaitable<Nothing | null | string | { readonly code: string; readonly map?: string }>

  /** Capability `cache_backend`, as the other `cache…` hooks. Null or nothing = miss. */
  cacheGet?(key: string): Awaitable<CacheEntry | null | Nothing>
  /** @param ttlMs - Milliseconds until the entry may be dropped; null = as long as there is room. */
  cacheSet?(key: string, entry: CacheEntry, ttlMs: number | null): Awaitable<void>
  /** @returns Whether it was there. */
  cacheDelete?(key: string): Awaitable<boolean>
  /** @returns How many entries it dropped. */
  cacheInvalidateTag?(tag: string): Awaitable<number>
  /** @param glob - Path with `*` and `**`. @returns How many entries it dropped. */
  cacheInvalidatePath?(glob: string): Awaitable<number>
  cacheIsHealthy?(): Awaitable<boolean>
}

/** What `onRequest` may return. Anything else fails the call with `E_GUEST_RESULT_INVALID`. */
export type RequestResult = Nothing | null | ContinueResult | RespondResult | WebResponse

export interface ContinueResult {
  readonly action: "continue"
}

/**
 * Answers the request in place of the app.
 * ```js
 * export function onRequest(ctx) {
 *   if (!ctx.path.startsWith("/private/")) return
 *   return { action: "respond", status: 401, headers: [["www-authenticate", "Basic"]], body: "Who are you?" }
 * }
 * // GET /private/diary → 401 www-authenticate: Basic content-type: text/plain;charset=UTF-8 "Who are you?"
 * // GET /public → continue
 * ```
 */
export interface RespondResult {
  readonly action: "respond"
  /** 200 to 599; 200 when absent. `E_STATUS_INVALID` otherwise. */
  readonly status?: number
  readonly headers?: HeadersInput
  /**
   * Text (UTF-8) or bytes; absent or null = empty. For JSON return `Response.json(value)`. Text without a content-type is
   * sent as `text/plain;charset=UTF-8`.
   */
  readonly body?: string | Uint8Array | null
}

/** Header fields as pairs (repeats allowed), as an object, or as `Headers`. */
export type HeadersInput =
  | readonly (readonly [string, string])[]
  | { readonly [name: string]: string }
  | Iterable<[string, string]>

/** What every hook with a request sees. Read when asked for, so that unread fields cost nothing. */
export interface ExchangeContext {
  /** As sent, e.g. "GET". */
  readonly method: string
  /** Absolute, percent-decoded once, without dot segments and `//`. */
  readonly path: string
  /** Raw query without "?", "" when there is none. */
  readonly query: string
  /** `query`, parsed when first read. Changing it does not change the request. */
  readonly searchParams: WebSearchParams
  /** Authority in lower case, with the port if the client sent one. */
  readonly host: string
  /** `host` without the port; IPv6 in brackets. */
  readonly hostname: string
  readonly scheme: "http" | "https"
  /** The client's IP address, after trusted proxies. */
  readonly clientAddress: string
  readonly requestId: string
  /**
   * "websocket" when the client asks for one; that header is not among `headers`. Answering or refusing it is as with any
   * request. Whether it is opened shows in `onResponse`: then the status is 101, and neither it nor a body can be set.
   */
  readonly upgrade: "websocket" | null
  /** Fields of the request. Sensitive ones (`cookie`, `authorization`, …) only when the manifest lists them. */
  readonly headers: HeadersView
  /** Body of the request. */
  readonly body: BodyReader
  readonly extensions: Extensions
  /** Who the request speaks for; null for nobody. */
  readonly user: User | null
  readonly tenantId: string | null
  readonly siteId: string | null
  /** True in exactly one process of this server. */
  readonly leader: boolean
  /**
   * Keeps timers and fetches of this call alive until `promise` settles, after the answer was given. It counts against
   * the call's budgets.
   * ```js
   * export function onRequest(ctx) {
   *   ctx.waitUntil(new Promise((done) => setTimeout(done, 5)).then(() => console.log("later")))
   *   return new Response("now")
   * }
   * // GET / → 200 "now"
   * // → log info "later"
   * ```
   */
  waitUntil(promise: Promise<unknown>): void
}

/**
 * The context of `onRequest`.
 * ```js
 * export function onRequest(ctx) {
 *   const name = ctx.searchParams.get("name") ?? "nobody"
 *   return new Response(`${ctx.method} ${ctx.path} by ${name} with ${ctx.headers.get("accept")}`)
 * }
 * // GET /hello?name=Ada%20L accept: text/plain → 200 "GET /hello by Ada L with text/plain"
 * ```
 */
export interface RequestContext extends ExchangeContext {
  readonly request: RequestChanges
  /**
   * Says who the request speaks for. Fields that are not given stay. A user takes at most 64 KiB of JSON, claims at most 100
   * levels.
   * @throws `E_PERMISSION` without `permissions.identity`; `E_GUEST_RESULT_INVALID`, `TypeError`.
   * ```js
   * export default {
   *   onRequest(ctx) {
   *     if (ctx.headers.get("x-key") === "ada's") ctx.setIdentity({ user: { id: "ada", claims: { admin: true } } })
   *   },
   *   onResponse(ctx) {
   *     ctx.response.setHeader("x-user", ctx.user?.id ?? "nobody")
   *   },
   * }
   * // plugin.toml [permissions] identity = true
   * // GET / x-key: ada's → continue x-user: ada
   * // GET / → continue x-user: nobody
   * ```
   */
  setIdentity(identity: {
    readonly user?: User | null
    readonly tenantId?: string | null
    readonly siteId?: string | null
  }): void
}

/** The context of `onResponse`: the request is history, only the response can change. */
export interface ResponseContext extends ExchangeContext {
  readonly response: ResponseChanges
}

/**
 * The context of hooks without a request; always their last argument.
 * ```js
 * export function onServerStart(config, ctx) {
 *   if (ctx.leader) console.log("said by one process only")
 * }
 * // → log info "said by one process only"
 * ```
 */
export interface EventContext {
  /** True in exactly one process of this server. */
  readonly leader: boolean
  /** Keeps timers and fetches of this call alive until `promise` settles. */
  waitUntil(promise: Promise<unknown>): void
}

export interface User {
  readonly id: string
  readonly claims: { readonly [name: string]: Json }
}

/**
 * Header fields, read only. Names in any case.
 * ```js
 * export function onRequest(ctx) {
 *   const names = [...ctx.headers].map(([name]) => name).filter((name) => name.startsWith("x-"))
 *   return new Response(`${names.join(" ")}: ${ctx.headers.get("X-B")}, ${ctx.headers.get("x-c")}`)
 * }
 * // GET / x-a: 1 X-B: 2 → 200 "x-a x-b: 2, null"
 * ```
 */
export interface HeadersView {
  /** The combined value (repeats joined by ", "), null when absent or hidden from this plugin. */
  get(name: string): string | null
  has(name: string): boolean
  /** Visible fields in order, names in lower case. */
  entries(): IterableIterator<[string, string]>
  [Symbol.iterator](): IterableIterator<[string, string]>
}

/**
 * As `HeadersView`, with Set-Cookie, whose values cannot be combined. Setting a cookie needs no view of the others:
 * ```js
 * export function onResponse(ctx) {
 *   ctx.response.appendHeader("set-cookie", "ab_group=b; Path=/")
 * }
 * // plugin.toml [permissions] set_cookies = ["ab_*"]
 * // GET / → continue set-cookie: "ab_group=b; Path=/"
 * ```
 */
export interface ResponseHeadersView extends HeadersView {
  /** Each Set-Cookie value; empty unless `sensitive_headers` lists "set-cookie". */
  getSetCookie(): string[]
}

/**
 * A buffered body. Reads do not wait and may be repeated; `await` does no harm. What was read is still there for the app.
 * Every method throws `E_BODY_NOT_DECLARED` unless the manifest asks for this side (`[sandbox] body = "request"`).
 * ```js
 * export function onRequest(ctx) {
 *   const { amount } = ctx.body.json()
 *   return Response.json({ doubled: amount * 2 })
 * }
 * // plugin.toml [sandbox] body = "request"
 * // POST / "{\"amount\": 21}" → 200 content-type: application/json "{\"doubled\":42}"
 * ```
 */
export interface BodyReader {
  /** Decoded as UTF-8; invalid bytes become U+FFFD. */
  text(): string
  /** @throws SyntaxError when it is not JSON. */
  json(): unknown
  /** A copy. */
  bytes(): Uint8Array
}

/**
 * Changes to the request for the plugins after this one and for the handler. They take effect when the call succeeds.
 * Hop-by-hop fields, Host, Content-Length, Forwarded, X-Forwarded-* and x-bext-* are not a plugin's to set.
 * ```js
 * export function onRequest(ctx) {
 *   ctx.request.setHeader("x-language", ctx.headers.get("accept-language") ?? "en")
 *   if (ctx.path.startsWith("/old/")) ctx.request.setPath(ctx.path.replace("/old/", "/new/"))
 * }
 * // plugin.toml [permissions] rewrite_path = true
 * // GET /old/page → app sees /new/page x-language: en
 * // GET /page accept-language: de → app sees /page x-language: de
 * ```
 */
export interface RequestChanges {
  /** @throws `E_HEADER_FORBIDDEN`, `E_HEADER_INVALID`. */
  setHeader(name: string, value: string): void
  /** @throws as `setHeader`. */
  appendHeader(name: string, value: string): void
  /** @throws as `setHeader`. */
  removeHeader(name: string): void
  /** @throws `E_PERMISSION` without `permissions.rewrite_path`; `E_PATH_REWRITE` unless absolute and normalised. */
  setPath(path: string): void
  /**
   * @param query - As it goes to the app, percent-encoded, without "?"; "" for none.
   * @throws `E_PERMISSION` without `permissions.rewrite_path`; `E_QUERY_REWRITE`.
   * ```js
   * export function onRequest(ctx) {
   *   const query = new URLSearchParams(ctx.query)
   *   query.delete("utm_source")
   *   ctx.request.setQuery(query.toString())
   * }
   * // plugin.toml [permissions] rewrite_path = true
   * // GET /page?utm_source=mail&id=1 → app sees /page?id=1
   * ```
   */
  setQuery(query: string): void
  /**
   * A request that becomes GET or HEAD has no content any more. The client gets the response that fits its own method.
   * @param method - In upper case; not CONNECT or TRACE, and HEAD only where the client sent HEAD.
   * @throws `E_PERMISSION` without `permissions.rewrite_method`; `E_METHOD_REWRITE`.
   * ```js
   * export function onRequest(ctx) {
   *   if (ctx.method === "POST" && ctx.headers.get("x-http-method-override") === "PUT") ctx.request.setMethod("PUT")
   * }
   * // plugin.toml [permissions] rewrite_method = true
   * // POST /page x-http-method-override: PUT → app sees /page
   * ```
   */
  setMethod(method: string): void
  /**
   * @throws `E_BODY_NOT_DECLARED`.
   * ```js
   * export function onRequest(ctx) {
   *   ctx.request.setBody(JSON.stringify({ ...ctx.body.json(), checked: true }))
   * }
   * // plugin.toml [sandbox] body = "request"
   * // POST /form "{\"a\":1}" → app sees "{\"a\":1,\"checked\":true}"
   * ```
   */
  setBody(body: string | Uint8Array): void
}

/**
 * The response on its way out. Changes take effect when the call succeeds.
 * ```js
 * export function onResponse(ctx) {
 *   ctx.response.setHeader("x-frame-options", "DENY")
 *   if (ctx.response.status === 200) ctx.response.removeHeader("server")
 * }
 * // GET / → continue x-frame-options: DENY
 * ```
 * ```js
 * export function onResponse(ctx) {
 *   ctx.response.setBody(ctx.response.body.text().toUpperCase())
 * }
 * // plugin.toml [sandbox] body = "response"
 * // GET / → continue "THE APP'S PAGE"
 * ```
 */
export interface ResponseChanges {
  readonly status: number
  readonly headers: ResponseHeadersView
  /** Body of the response; needs `[sandbox] body = "response"` or "both". */
  readonly body: BodyReader
  /** @throws `E_STATUS_INVALID` unless 200 to 599. */
  setStatus(status: number): void
  /** @throws `E_HEADER_FORBIDDEN`, `E_HEADER_INVALID`. */
  setHeader(name: string, value: string): void
  /** Adds a field and keeps those of the same name. @throws as `setHeader`. */
  appendHeader(name: string, value: string): void
  /** @throws as `setHeader`. */
  removeHeader(name: string): void
  /** Also drops ETag, Digest, Content-Encoding and Accept-Ranges. @throws `E_BODY_NOT_DECLARED`. */
  setBody(body: string | Uint8Array): void
}

/**
 * Short strings that plugins leave on a request for each other. Keys are "plugin.key".
 * ```js
 * export function onRequest(ctx) {
 *   ctx.extensions.set("variant", "b")
 * }
 * export function onResponse(ctx) {
 *   ctx.response.setHeader("x-variant", ctx.extensions.get("example.variant"))
 * }
 * // GET / → continue x-variant: b
 * ```
 */
export interface Extensions {
  /** @param key - "plugin.key", of any plugin. @returns null when nobody set it. */
  get(key: string): string | null
  /** @param key - Without prefix: the host adds the plugin's name. At most 32 keys, 8 KiB each. */
  set(key: string, value: string): void
}

/** One finished request, for logs and statistics. */
export interface RequestCompleteEvent {
  readonly request_id: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly cache_status: "hit" | "stale" | "miss" | null
  /** Microseconds the handler took. */
  readonly render_time_us: number
  /** Milliseconds from accept to the end of the response. */
  readonly duration_ms: number
  readonly tenant_id: string | null
  readonly site_id: string | null
  /** Content coding of the response, null for none. */
  readonly encoding: string | null
  readonly is_bot: boolean
}

/** One delivery of a message. */
export interface QueueMessage {
  /**
   * Unique among all messages; the same for every delivery of this one. Remember it (`bext.storage.cas`) where handling a
   * message twice would do harm.
   */
  readonly id: string
  readonly queue: string
  /** What was pushed. Written by whoever may push to the queue: check it. */
  readonly value: unknown
  readonly key: string | null
  /** Deliveries so far, this one included. */
  readonly attempt: number
  /** Epoch milliseconds. */
  readonly pushedAtMs: number
  readonly tenantId: string | null
}

export interface TransformContext {
  readonly node_env: string
  readonly env_vars: { readonly [name: string]: string }
}

/** A stored page. */
export interface CacheEntry {
  readonly html: string
  readonly headers: readonly (readonly [string, string])[]
  readonly etag: string
  readonly tags: readonly string[]
  /** Epoch milliseconds. */
  readonly created_at_ms: number
}

/** The global `bext`: everything a plugin may ask of the host outside its request. */
export interface Bext {
  /**
   * The plugin's own configuration section, schema defaults applied, deeply frozen.
   * ```js
   * const { message = "closed" } = bext.config
   * export const onRequest = () => new Response(message, { status: 503 })
   * // config message = "back at nine"
   * // GET / → 503 "back at nine"
   * ```
   */
  readonly config: { readonly [key: string]: Json }
  readonly storage: Storage
  readonly crypto: HostCrypto
  readonly queue: Queue
  /**
   * Requests a URL that `permissions.allowed_urls` lists. No ambient headers, no cookies; private addresses are refused.
   * @returns The response with its whole body, whatever its status.
   * @throws (as a rejection) `E_FETCH_FORBIDDEN`, `E_LIMIT_FETCH`, `E_FETCH_FAILED`, `E_LIMIT_MESSAGE`.
   * ```js
   * export async function onRequest(ctx) {
   *   const answer = await bext.fetch(bext.config.service + ctx.path, { headers: { accept: "text/plain" } })
   *   try {
   *     await bext.fetch("https://elsewhere.example/")
   *   } catch (error) {
   *     return new Response(`${answer.status} ${await answer.text()}, then ${error.code}`)
   *   }
   * }
   * // plugin.toml [permissions] allowed_urls = ["$APP/**"]
   * // config service = "$APP"
   * // GET /x → 200 "200 the app's page, then E_FETCH_FORBIDDEN"
   * ```
   */
  fetch(url: string | { readonly href: string }, init?: FetchInit): Promise<WebResponse>
  /**
   * A secret the operator mapped to this name. @throws `E_PERMISSION` when it was not granted.
   * ```js
   * export function onRequest(ctx) {
   *   const key = ctx.headers.get("x-key") ?? ""
   *   if (!bext.crypto.timingSafeEqual(key, bext.secret("API_KEY"))) return new Response("wrong key", { status: 403 })
   * }
   * // plugin.toml [permissions] secrets = ["API_KEY"]
   * // secret API_KEY = "open sesame"
   * // GET / x-key: "open sesame" → continue
   * // GET / → 403 "wrong key"
   * ```
   */
  secret(name: string): string
  /**
   * Records one sample; the host prefixes the plugin's name. Never throws.
   * ```js
   * export function onRequest(ctx) {
   *   bext.metric("seen", 1, { method: ctx.method })
   * }
   * // GET / → continue
   * ```
   */
  metric(name: string, value: number, tags?: { readonly [name: string]: string }): void
}

/**
 * Keys and values of this plugin (and of the request's tenant, if it has one). Strings come back as strings, bytes as bytes.
 * `get`, `set`, `delete` and `keys` are local and do not wait; `set` is durable after `await flush()`.
 * Keys are 1 to 512 bytes without NUL, slash, backslash and "..": `E_STORAGE_KEY`.
 * ```js
 * export async function onRequest(ctx) {
 *   const views = await bext.storage.incr("views")
 *   bext.storage.set("last", ctx.path, { ttlMs: 60_000 })
 *   return new Response(`${views} ${bext.storage.get("last")}`)
 * }
 * // GET /a → 200 "1 /a"
 * // GET /b → 200 "2 /b"
 * ```
 */
export interface Storage {
  /** @typeParam T - What was stored under this key; not checked. @returns null when absent or expired. */
  get<T extends string | Uint8Array = string>(key: string): T | null
  /** @throws `E_STORAGE_KEY`, `E_LIMIT_STORAGE`. */
  set(key: string, value: string | Uint8Array, options?: StorageOptions): void
  /** @returns Whether it was there. */
  delete(key: string): boolean
  /** Keys that start with `prefix` (default ""), sorted; at most `limit` (1 to 1000, default 1000). */
  keys(prefix?: string, limit?: number): string[]
  /** Adds `by` (default 1) to a counter, atomically across processes; an absent key counts as 0. @returns The new value. */
  incr(key: string, by?: number, options?: StorageOptions): Promise<number>
  /** Compare and set, atomically across processes; `expected` null = absent. @returns Whether it was set. */
  cas(
    key: string,
    expected: string | Uint8Array | null,
    value: string | Uint8Array,
    options?: StorageOptions,
  ): Promise<boolean>
  /** Resolves when everything written so far is on disk. */
  flush(): Promise<void>
}

export interface StorageOptions {
  /** Milliseconds until the key disappears; absent or 0 = never. */
  readonly ttlMs?: number
}

/**
 * Durable messages for later, to queues that `permissions.queues` lists. The plugin that has `onQueueMessage` and the same
 * queue receives them, in any process of the server.
 * ```js
 * export async function onRequest(ctx) {
 *   try {
 *     await bext.queue.push("mail", { to: "ada@example.com" }, { delayMs: 60_000 })
 *     await bext.queue.push("billing", {})
 *   } catch (error) {
 *     return new Response(error.code)
 *   }
 * }
 * // plugin.toml [permissions] queues = ["mail"]
 * // GET / → 200 "E_PERMISSION"
 * ```
 */
export interface Queue {
  /**
   * @param value - Anything JSON can say, at most 256 KiB and 100 levels.
   * @returns The message's id, once it is on disk.
   * @throws (as a rejection) `E_PERMISSION`, `E_QUEUE_MESSAGE`, `E_LIMIT_QUEUE` (the queue is full, or 1000 pushes of this
   *   plugin are under way), `E_STATE_UNAVAILABLE`.
   */
  push(queue: string, value: unknown, options?: PushOptions): Promise<string>
}

export interface PushOptions {
  /**
   * Messages of one queue with the same key are handled one at a time, in the order of their pushes: one that is delayed
   * or failing holds back those behind it. 1 to 512 bytes. Without a key no order is kept.
   */
  readonly key?: string | null
  /** Milliseconds until it is due; default 0, at most 30 days. */
  readonly delayMs?: number
}

export interface FetchInit {
  /** Default "GET". */
  readonly method?: string
  readonly headers?: HeadersInput
  readonly body?: string | Uint8Array | null
  /** Default "follow"; each hop is checked against `allowed_urls` again. */
  readonly redirect?: "follow" | "manual" | "error"
  readonly signal?: { readonly aborted: boolean } | null
}

export type DigestEncoding = "hex" | "base64" | "base64url"

/**
 * Hashes computed by the host, synchronously. Text is taken as UTF-8.
 * ```js
 * export function onRequest(ctx) {
 *   const mac = bext.crypto.hmac("sha256", "key", ctx.query, "hex")
 *   const good = bext.crypto.timingSafeEqual(mac, ctx.headers.get("x-signature") ?? "")
 *   return new Response(good ? "good" : "bad", { status: good ? 200 : 403 })
 * }
 * // GET /?a=1 x-signature: b17f9ae9ca05727a9af1d682e302eb7729bf55bf4bef5ba64cebbe8646401b99 → 200 "good"
 * // GET /?a=2 x-signature: b17f9ae9ca05727a9af1d682e302eb7729bf55bf4bef5ba64cebbe8646401b99 → 403 "bad"
 * ```
 */
export interface HostCrypto {
  sha256(data: string | Uint8Array): Uint8Array
  sha256(data: string | Uint8Array, encoding: DigestEncoding): string
  hmac(
    algorithm: "sha1" | "sha256" | "sha384" | "sha512",
    key: string | Uint8Array,
    data: string | Uint8Array,
  ): Uint8Array
  hmac(
    algorithm: "sha1" | "sha256" | "sha384" | "sha512",
    key: string | Uint8Array,
    data: string | Uint8Array,
    encoding: DigestEncoding,
  ): string
  /** Compares without telling where they differ. False when the lengths differ. */
  timingSafeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean
}

/** What `new URLSearchParams` makes. Source: WHATWG URL §6.2. */
export interface WebSearchParams extends Iterable<[string, string]> {
  readonly size: number
  get(name: string): string | null
  getAll(name: string): string[]
  has(name: string, value?: string): boolean
  toString(): string
}

/** What `new Headers` makes. Source: WHATWG Fetch §5.1. */
export interface WebHeaders extends Iterable<[string, string]> {
  get(name: string): string | null
  has(name: string): boolean
  set(name: string, value: string): void
  append(name: string, value: string): void
  delete(name: string): void
  getSetCookie(): string[]
}

/**
 * What `new Response` makes and `bext.fetch` gives. Bodies are whole, there are no streams. Source: WHATWG Fetch §5.5.
 * ```js
 * export function onRequest(ctx) {
 *   return Response.json({ path: ctx.path }, { status: 404, headers: { "cache-control": "no-store" } })
 * }
 * // GET /x → 404 content-type: application/json cache-control: no-store "{\"path\":\"/x\"}"
 * ```
 */
export interface WebResponse {
  readonly status: number
  readonly statusText: string
  readonly ok: boolean
  readonly redirected: boolean
  readonly url: string
  readonly headers: WebHeaders
  readonly bodyUsed: boolean
  text(): Promise<string>
  json(): Promise<unknown>
  bytes(): Promise<Uint8Array>
  arrayBuffer(): Promise<ArrayBuffer>
}

/**
 * Web globals a guest has beside ECMAScript. Anything else (fetch, process, require, WebAssembly, Intl, …) is absent;
 * there is no way to a file, a socket or the process.
 *
 * - `URL`, `URLSearchParams` (WHATWG URL; hosts with non-ASCII letters throw a TypeError: write them in punycode)
 * - `TextEncoder`, `TextDecoder` (UTF-8 only)
 * - `Headers`, `Response` (whole bodies, no streams)
 * - `atob`, `btoa`, `structuredClone`, `queueMicrotask`
 * - `AbortController`, `AbortSignal` (`addEventListener("abort", …)`, `onabort`; no other events), `DOMException`
 * - `setTimeout`, `clearTimeout`, `setInterval`, `clearInterval`: cancelled when the call settles, see `waitUntil`
 * - `crypto.getRandomValues`, `crypto.randomUUID`; `performance.now()` (1 ms steps)
 * - `console.debug/log/info/warn/error`: one log line each, prefixed with the plugin's name
 *
 * ```js
 * export function onRequest(ctx) {
 *   const url = new URL("../b?q=1#frag", "http://example.com/x/a")
 *   const text = new TextDecoder().decode(new TextEncoder().encode("é"))
 *   return new Response([url.href, text, btoa("hi"), structuredClone(new Map([[1, 2]])).get(1)].join(" "))
 * }
 * // GET / → 200 "http://example.com/b?q=1#frag é aGk= 2"
 * ```
 */
export type WebGlobals =
  | "URL"
  | "URLSearchParams"
  | "TextEncoder"
  | "TextDecoder"
  | "Headers"
  | "Response"
  | "atob"
  | "btoa"
  | "structuredClone"
  | "queueMicrotask"
  | "AbortController"
  | "AbortSignal"
  | "DOMException"
  | "setTimeout"
  | "clearTimeout"
  | "setInterval"
  | "clearInterval"
  | "crypto"
  | "performance"
  | "console"

declare global {
  /** What a plugin may ask of the host. Exists inside guests only. */
  const bext: Bext
}
