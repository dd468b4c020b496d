/**
 * The boundary between bext and a guest. A tier (quickjs, wasm, nsjail) is an implementation of this file, and
 * `sandboxContract` in test/contracts is what it must pass. There is no code here.
 */
import type { ErrorCode } from "../errors.ts"
import type { Capability, HookName } from "../hooks.ts"
import type { GuestServices } from "../host/services.ts"

export type Tier = "quickjs" | "wasm" | "nsjail"

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Where a guest's code is. Nothing outside `folder` is ever read for it. */
export interface GuestSource {
  /** The plugin's name: starts with a letter; lower case, digits and hyphens. */
  readonly name: string
  /** Absolute path of the plugin's root. */
  readonly folder: string
  /** Absolute path of the entry, inside `folder`. */
  readonly entry: string
  /** Told each path that decides what the guest is made of, whether there is a file or not, just before it is looked at. */
  readonly noteFile?: (path: string) => void
  /** How a guest that is a program is run; the nsjail tier needs it, others ignore it. */
  readonly program?: ProgramSource
}

/**
 * What stands between a program and the machine.
 * - `full`: namespaces, a system-call filter, and cgroups that bound memory, processes and CPU.
 * - `namespaces`: the same without cgroups; limits are those of each process.
 * - `process`: a child process with resource limits and nothing else. It can read what its user can.
 */
export type IsolationLevel = "full" | "namespaces" | "process"

/** What this machine was found to offer, by doing it. */
export interface Isolation {
  readonly level: IsolationLevel
  /** Why it is not a better one, for people: "bubblewrap is not installed (package bubblewrap)". Empty at `full`. */
  readonly missing: readonly string[]
  readonly cgroups: "v1" | "v2" | "none"
  /** Whether bext runs as root; jailed programs never do. */
  readonly root: boolean
  /** Whether levels below `namespaces` are refused here: Linux, root, and no bubblewrap. The reason, for a load error. */
  readonly refused: string | null
}

/** How a program is run. */
export interface ProgramSource {
  /** What runs the entry, such as "python3"; found inside the jail. Null: the entry is executable. */
  readonly interpreter: string | null
  /** Of the manifest; what a program that speaks version 0 is called for. */
  readonly capabilities: readonly Capability[]
  /** Processes that serve at the same time when the instance is shared; those that are kept ready when it is fresh. */
  readonly jails: number
  /** Less is a load error. */
  readonly minIsolation: IsolationLevel
  /** Absolute host path of what it sees as /data, and the bytes it may hold. */
  readonly data: { readonly folder: string; readonly quotaBytes: number } | null
  /** Absolute host paths, seen at the same place. */
  readonly readOnlyPaths: readonly string[]
  /** Processors it may use, 1 = all of one. */
  readonly cpus: number
  /** Processes and threads. */
  readonly pids: number
  readonly openFiles: number
  /** Largest file it may write, bytes. */
  readonly fileBytes: number
  /** Size of /tmp, bytes. */
  readonly tmpBytes: number
}

/** What a guest may consume. Every field is required; no value means "unlimited". */
export interface Limits {
  /** Guest heap, bytes; whole 64 KiB pages in the wasm tier. Source: WebAssembly Core 2.0 §4.2.8. */
  readonly memoryBytes: number
  /** Encoded size of one value that crosses the boundary in either direction, bytes of UTF-8. */
  readonly messageBytes: number
  /** Instances of this guest that may exist at once (`fresh` needs one for each request in flight). */
  readonly maxInstances: number
}

/** What one call may consume. */
export interface CallLimits {
  /** Milliseconds on the guest's stack, summed over the whole call, waits excluded. */
  readonly cpuMs: number
  /** Milliseconds from entry to answer, waits included; host's monotonic clock. */
  readonly wallMs: number
  /** Metered instructions per call (wasm tier). */
  readonly fuel: number
}

/**
 * - `shared`: one instance, module state persists, async calls interleave in it.
 * - `fresh`: every call of a request sees the image as it was when the guest became ready.
 */
export type InstanceMode = "shared" | "fresh"

export interface SandboxTier {
  readonly tier: Tier
  /** What keeps its guests apart from this machine, where that is up to the machine. */
  readonly isolation?: Isolation
  /**
   * Evaluates the guest's top level in its first instance.
   * @throws {PluginError} `E_PLUGIN_LOAD_FAILED` with file:line:column, `E_LIMIT_…` when the top level runs too long or big.
   */
  load(source: GuestSource, services: GuestServices, limits: Limits, instance: InstanceMode): Promise<Sandbox>
  /** Absent when guests of this tier cannot change threads. */
  readonly moving?: {
    /** What one other thread needs to make this tier, for `postMessage`. Opaque. */
    openThread(): unknown
    /** A guest that was copied in another thread; ready for calls. */
    revive(copy: GuestCopy, services: GuestServices): MovableSandbox
    /** That thread has ended: what its guests had counts no more. */
    closeThread(): void
  }
}

/** One loaded guest. */
export interface Sandbox extends AsyncDisposable {
  /** The hooks the guest exports. */
  readonly hooks: ReadonlySet<HookName>
  /** Counts resets of the shared instance; 0 until the first. */
  readonly generation: number
  /** Bytes of host memory this guest holds now: instances and image. */
  readonly memoryBytes: number
  /** Instances that exist now, at rest or at work. */
  readonly instances: number
  /** How often an instance at rest was given up to make room for others. A shared one loses its module state then. */
  readonly evictions: number
  /** Milliseconds the guest was on the stack of its thread since it was loaded, by the monotonic clock; waits excluded. */
  readonly busyMs: number
  /** How often it came onto the stack: once for a call, and once for everything a call waited for. */
  readonly entries: number
  /** Whether nothing of any call is left: nobody waits, and nothing works on behind an answer. */
  readonly idle: boolean
  /** Why the guest cannot change threads, for messages, when that is up to the guest. */
  readonly staysBecause?: string | undefined
  /** Of a guest that is a program. */
  readonly jails?: JailStatus | undefined

  /**
   * Runs `on_server_start` (when exported and `start` is given) until it settled, cancels the timers and fetches it left
   * behind with a warning that names them, and takes the image. Called once, before any `call`.
   * @throws {PluginError} as `call`.
   */
  ready(start: HookCall | null): Promise<void>

  /**
   * Runs one exported hook to completion.
   * @returns At once when the guest waited for nothing, otherwise a promise. `undefined` for hooks with an exchange (the
   *   answer is then in the exchange) and for hooks whose answer is ignored. Untrusted: the caller checks its shape.
   * @throws {PluginError} `E_GUEST_THREW`, `E_GUEST_RESULT_INVALID` (guest still usable), `E_LIMIT_CPU`, `E_LIMIT_TIME`,
   *   `E_LIMIT_MEMORY`, `E_LIMIT_STACK`, `E_LIMIT_FUEL`, `E_LIMIT_MESSAGE`, `E_INSTANCE_RESET` (another call broke the shared
   *   instance meanwhile; image restored, generation + 1), `E_GUEST_EXITED` (only disposal is allowed afterwards). A
   *   PluginError thrown by the exchange or a service reaches the guest as a JavaScript Error with `code`.
   */
  call(call: HookCall): Json | undefined | Promise<Json | undefined>
}

/** The processes of a guest that is a program. */
export interface JailStatus {
  readonly level: IsolationLevel
  /** Processes that are ready for calls. */
  readonly ready: number
  /** CPU time of all there were, milliseconds. */
  readonly cpuMs: number
  /** How often one ended that should have gone on: code of the reason → count. */
  readonly restarts: ReadonlyMap<ErrorCode, number>
}

/**
 * A sandbox whose guest can go on in another thread: there, `revive` of the same tier makes a sandbox from its copy, which
 * then has the state that was taken out here. All that passes is plain data that `postMessage` copies.
 */
export interface MovableSandbox extends Sandbox {
  /** The guest as it was when it became ready. It must be. */
  copy(): GuestCopy
  /**
   * Takes out what the shared instance remembers, which then is nowhere here: the next call would begin with the image.
   * Of a shared guest only while `idle`. Generation + 1, unless there is no instance.
   */
  takeState(): GuestState
  /** Goes on from what was taken out elsewhere. When, as for `takeState`; what an instance here remembers is dropped. */
  putState(state: GuestState): void
}

/** Opaque. */
export interface GuestCopy {
  readonly tier: Tier
}

/** Opaque. */
export interface GuestState {
  readonly tier: Tier
}

/** One call of one hook. */
export interface HookCall {
  readonly hook: HookName
  /** What this call may see and change; null for hooks without a request. */
  readonly exchange: Exchange | null
  /** Positional arguments of hooks without a request, e.g. `[config]` for on_server_start, `[event]` for on_request_complete. */
  readonly params: readonly Json[]
  /** Storage partition; null when the call belongs to no tenant. */
  readonly tenant: string | null
  readonly limits: CallLimits
  /** True in exactly one process. */
  readonly leader: boolean
  /** Aborting stops the guest; it is never left running behind a rejected promise. Null: nobody will. */
  readonly signal: AbortSignal | null
  /** Milliseconds of `limits.wallMs` that were over before the tier got the call. Default 0. */
  readonly waitedMs?: number
  /** performance.now(), when the caller has just read it. */
  readonly nowMs?: number
  /** Set by the tier when the guest leaves the stack for good: performance.now() then. */
  leftMs?: number | undefined
  /** Set by the wasm tier when the call is over, failed or not: units of fuel it used. */
  fuelUsed?: number
}

export type Side = "request" | "response"

/**
 * What one call of `on_request` or `on_response` may see and change, already narrowed to the plugin's permissions. The
 * guest pulls fields through host calls; nothing is encoded ahead. Changes are staged and take effect when the call
 * succeeds, so a failed call leaves no trace. Every argument is guest data and is checked here.
 */
export interface Exchange {
  /** As the client sent it, or as a plugin before this one, or this call, has changed it. */
  readonly method: string
  readonly path: string
  /** Raw query without "?". */
  readonly query: string
  readonly scheme: string
  readonly host: string
  readonly clientAddress: string
  /** Port of the client's end of the connection; 0 when it is not known, as behind a trusted proxy. */
  readonly clientPort: number
  readonly requestId: string
  /** "HTTP/1.1" or "HTTP/1.0", as in the request line. */
  readonly protocolVersion: string
  /** The protocol that the client asks to go on with. */
  readonly upgrade: "websocket" | null
  readonly user: Json
  readonly tenantId: string | null
  readonly siteId: string | null

  /** @returns The combined value; undefined when absent or hidden (`sensitive_headers`; warns once per plugin). */
  header(side: Side, name: string): string | undefined
  /** Visible fields in order; names in lower case. */
  headers(side: Side): readonly (readonly [string, string])[]
  /** @throws {PluginError} `E_HEADER_FORBIDDEN`, `E_HEADER_INVALID`, `E_PERMISSION` (request side in on_response). */
  setHeader(side: Side, name: string, value: string): void
  /** @throws as `setHeader`. */
  appendHeader(side: Side, name: string, value: string): void
  /** @throws as `setHeader`. */
  removeHeader(side: Side, name: string): void
  /** @throws {PluginError} `E_PERMISSION` without `rewrite_path`, `E_PATH_REWRITE` when it is not a normalised path. */
  setPath(path: string): void
  /**
   * @param query - As it goes to the app, without "?", percent-encoded: visible ASCII without "#", at most 8192 characters.
   * @throws {PluginError} `E_PERMISSION` without `rewrite_path`, `E_QUERY_REWRITE`.
   */
  setQuery(query: string): void
  /**
   * The client gets the response that belongs to its own method: none has content when it asked for HEAD. A request that is
   * made GET or HEAD has no content any more.
   * @param method - One that clients of this server can send, in upper case; never CONNECT or TRACE, and HEAD only to a
   *   client that sent it.
   * @throws {PluginError} `E_PERMISSION` without `rewrite_method`; `E_METHOD_REWRITE`, also when the request asks for a websocket.
   */
  setMethod(method: string): void
  /** @throws {PluginError} `E_PERMISSION` without `permissions.identity`. */
  setIdentity(field: "user" | "tenantId" | "siteId", value: Json): void

  /** Reads "plugin.key" of any plugin. */
  extension(key: string): string | undefined
  /** All of them. */
  extensionEntries(): readonly (readonly [string, string])[]
  /** Sets "<this plugin>.key". Value at most 8 KiB, 32 keys a plugin. */
  setExtension(key: string, value: string): void

  /**
   * What the tier set in this plugin's on_request of this request and reads in its on_response; null: nothing, or the call
   * failed. Nobody else sees it, and it is no guest's to set.
   */
  slot: string | null

  /**
   * The buffered body. Request side: as the client sent it, content coding removed. Response side: in on_response only.
   * @throws {PluginError} `E_BODY_NOT_DECLARED`.
   */
  body(side: Side): Uint8Array
  /** Replaces the body and drops ETag, Digest, Content-Encoding and Accept-Ranges. @throws as `body`. */
  setBody(side: Side, bytes: Uint8Array): void

  /**
   * Fields behind the buffered body (RFC 9110 §6.5), in order; names in lower case. None behind a body that is never
   * buffered, as events are.
   * @throws {PluginError} `E_BODY_NOT_DECLARED`: they come with the body.
   */
  trailers(side: Side): readonly (readonly [string, string])[]
  /**
   * The rules of `setHeader` hold, and no field that has to be known before the content may stand behind it. A message
   * without content has no trailers.
   * @throws as `setHeader` and `body`.
   */
  setTrailer(side: Side, name: string, value: string): void
  /** @throws as `setTrailer`. */
  appendTrailer(side: Side, name: string, value: string): void
  /** @throws as `setTrailer`. */
  removeTrailer(side: Side, name: string): void

  /** Whether the response is an error answer of bext itself, as nobody else has answered; false in on_request. */
  readonly failed: boolean
  /** Status of the response; 0 in on_request. */
  readonly status: number
  /** @throws {PluginError} `E_STATUS_INVALID`; `E_PERMISSION` in on_request, and when a websocket is about to be opened. */
  setStatus(status: number): void

  /**
   * Answers in place of the app (on_request only).
   * @param trailers - Default: none.
   * @throws {PluginError} `E_STATUS_INVALID`, `E_HEADER_FORBIDDEN`, `E_HEADER_INVALID`, `E_LIMIT_MESSAGE`.
   */
  respond(
    status: number,
    headers: readonly (readonly [string, string])[],
    body: Uint8Array,
    trailers?: readonly (readonly [string, string])[],
  ): void
}

/** An exchange of which another thread can have a copy to work on. */
export interface PortableExchange extends Exchange {
  /** What this call may see, as plain data. */
  toData(): ExchangeData
  /** Stages what a guest changed on the copy. Nothing happens once the call is over. */
  adopt(changes: ExchangeChanges): void
}

/** Fields as flat lists: name, value, name, value, … Bodies and trailers only where the plugin declared that it reads them. */
export interface ExchangeData {
  /** The side it may change. */
  readonly side: Side
  readonly method: string
  readonly clientMethod: string
  readonly path: string
  readonly query: string
  readonly scheme: "http" | "https"
  readonly host: string
  readonly clientAddress: string
  readonly clientPort: number
  readonly requestId: string
  readonly protocolVersion: string
  readonly upgrade: "websocket" | null
  readonly user: Json
  readonly tenantId: string | null
  readonly siteId: string | null
  readonly requestHeaders: readonly string[]
  /** `bytes` undefined: it was not buffered. */
  readonly requestBody: { readonly present: boolean; readonly bytes: Uint8Array | undefined }
  readonly requestTrailers: readonly string[] | null
  /** Null in on_request. `stream`: the body is one that nobody buffers. */
  readonly response: {
    readonly failed: boolean
    readonly status: number
    readonly headers: readonly string[]
    readonly body: Uint8Array | "stream" | null
    readonly trailers: readonly string[] | null
  } | null
  readonly extensions: readonly (readonly [string, string])[]
  readonly slot: string | null
}

/** What a call changed; null or undefined: nothing. */
export interface ExchangeChanges {
  readonly headers: readonly string[] | null
  readonly trailers: readonly string[] | null
  readonly body: Uint8Array | null
  readonly extensions: readonly (readonly [string, string])[]
  readonly method: string | null
  readonly path: string | null
  readonly query: string | null
  readonly user: Json | undefined
  readonly tenantId: string | null | undefined
  readonly siteId: string | null | undefined
  readonly answer: {
    readonly status: number
    readonly headers: readonly string[]
    readonly body: Uint8Array | null
    readonly trailers: readonly string[] | null
  } | null
  readonly status: number | null
  readonly slot: string | null
}
