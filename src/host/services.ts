/**
 * What a guest may ask of the host outside its request: one interface, bound by each tier to its guests.
 * A `GuestServices` belongs to one plugin and already holds that plugin's effective permissions. Every argument is guest
 * data and is checked here; a refusal is a PluginError, which the tier hands to the guest as an error with `code`.
 */
import type { Json } from "../sandbox/sandbox.ts"

export type LogLevel = "debug" | "info" | "warn" | "error"

/** Without it, every such request is refused at once. */
export type GrantedService = "fetch" | "queue" | "request_body" | "response_body"

export interface GuestServices {
  /** The plugin's own configuration section, schema defaults applied, deeply frozen. */
  readonly config: Json
  /** Whether the plugin was granted any URL, any queue; whether its manifest says that it reads this body. */
  granted(service: GrantedService): boolean
  /** Storage partition of this plugin for one tenant (null: none). The same object for the same tenant. */
  storage(tenant: string | null): GuestStorage
  /**
   * @throws {PluginError} (as a rejection) `E_FETCH_FORBIDDEN`, `E_LIMIT_FETCH`, `E_FETCH_FAILED`, `E_LIMIT_MESSAGE`.
   */
  fetch(request: GuestFetchRequest, signal: AbortSignal): Promise<GuestFetchResponse>
  /**
   * Adds a message to a queue; its delivery has the storage of `tenant`.
   * @returns its id, once it is on disk.
   * @throws {PluginError} (as a rejection) `E_PERMISSION`, `E_QUEUE_MESSAGE`, `E_LIMIT_QUEUE`, `E_STATE_UNAVAILABLE`.
   */
  push(queue: string, message: GuestMessage, tenant: string | null): Promise<string>
  /** The secret the operator mapped to `name`. @throws {PluginError} `E_PERMISSION` when it was not granted. */
  secret(name: string): string
  /** Records one sample. Invalid names and too many series are dropped, counted and warned about once; never throws. */
  metric(name: string, value: number, tags: Readonly<Record<string, string>>): void
  /** Writes one log line. Rate limited, escaped, cut at 8 KiB; never throws. */
  log(level: LogLevel, message: string): void
}

/** Keys and values of one plugin for one tenant. Reads and writes are local and synchronous; see `flush`. */
export interface GuestStorage {
  /** @throws {PluginError} `E_STORAGE_KEY`. */
  get(key: string): string | Uint8Array | undefined
  /**
   * Visible in this process at once, durable after `flush`.
   * @param ttlMs - Milliseconds until the key disappears; 0 = never.
   * @throws {PluginError} `E_STORAGE_KEY`, `E_LIMIT_STORAGE`.
   */
  set(key: string, value: string | Uint8Array, ttlMs: number): void
  /** @returns whether the key was there. @throws {PluginError} `E_STORAGE_KEY`. */
  delete(key: string): boolean
  /** Keys that start with `prefix`, sorted, at most `limit` (1 to 1000). */
  keys(prefix: string, limit: number): string[]
  /**
   * Adds `by` (a safe integer) to a counter, atomically across processes; an absent key counts as 0.
   * @returns the new value. Rejects with `E_STORAGE_KEY`, `E_LIMIT_STORAGE`, `E_GUEST_RESULT_INVALID` (not a counter).
   */
  incr(key: string, by: number, ttlMs: number): Promise<number>
  /** Compare and set, atomically across processes; `expected` undefined = absent. @returns whether it was set. */
  cas(
    key: string,
    expected: string | Uint8Array | undefined,
    value: string | Uint8Array,
    ttlMs: number,
  ): Promise<boolean>
  /** Resolves when every earlier `set`, `delete`, `incr` and `cas` of this partition is on disk. */
  flush(): Promise<void>
}

export interface GuestMessage {
  /** JSON text, at most 256 KiB and 100 levels. */
  readonly value: string
  /** Messages of the same key are delivered one at a time, in order; 1 to 512 bytes. Null: no order. */
  readonly key: string | null
  /** 0 to 30 days. */
  readonly delayMs: number
}

export interface GuestFetchRequest {
  readonly url: string
  readonly method: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | null
  readonly redirect: "follow" | "manual" | "error"
}

export interface GuestFetchResponse {
  readonly url: string
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
}
