import { createHash } from "node:crypto"
import { BextError, PluginError } from "../errors.ts"
import type { PartitionPool } from "../state/partition-pool.ts"
import type { ResidentPartition } from "../state/resident-partition.ts"
import { isExpired, type Stored } from "../state/state.ts"
import { quote } from "./quote.ts"
import type { GuestStorage } from "./services.ts"

const MAX_KEY_BYTES = 512
const MAX_KEYS = 1000
/** Atomic operations of one partition under way: more would only queue behind the one writer everybody shares. */
const MAX_UPDATES = 1000
/** Bytes of values they may hold together. */
const MAX_UPDATE_BYTES = 8 * 1024 * 1024
/** A century: longer is a mistake, and still exact as a sum of epoch milliseconds. */
const MAX_TTL_MS = 100 * 365 * 86_400_000

/** Whose storage it is. Another plugin under an old name has another owner, and so another partition. */
export interface StorageIdentity {
  readonly plugin: string
  /** Publisher, or the absolute path of the plugin's folder. */
  readonly owner: string
  readonly tenant: string | null
}

export interface StorageOptions {
  readonly pool: PartitionPool
  readonly nowMs: () => number
  readonly quotaBytes: number
}

/** The partition's name in the store: 32 hexadecimal digits. */
export function partitionId({ plugin, owner, tenant }: StorageIdentity): string {
  // JSON keeps the three apart, whatever they contain, and null from "null".
  return createHash("sha256")
    .update(JSON.stringify([plugin, owner, tenant]))
    .digest("hex")
    .slice(0, 32)
}

/** Binds one partition to one plugin: checks what the guest sends and names the plugin in what is refused. */
export class PartitionStorage implements GuestStorage {
  readonly #plugin: string
  readonly #id: string
  readonly #options: StorageOptions
  #updates = 0
  /** Bytes of values that atomic operations under way hold. */
  #updateBytes = 0

  constructor(identity: StorageIdentity, options: StorageOptions) {
    this.#plugin = identity.plugin
    this.#id = partitionId(identity)
    this.#options = options
  }

  /** Must be done before the first use in a call; returns nothing when there is nothing to wait for. */
  prepare(): void | Promise<void> {
    return this.#options.pool.prepare(this.#id)
  }

  /** Sees at once what others committed, instead of a moment later. */
  refresh(): Promise<void> {
    return this.#options.pool.refresh(this.#id)
  }

  get(key: string): string | Uint8Array | undefined {
    this.#checkKey(key)
    return this.#partition().get(key)
  }

  set(key: string, value: string | Uint8Array, ttlMs: number): void {
    this.#checkKey(key)
    const fitted = this.#partition().set(key, own(value), this.#expiry(ttlMs), this.#options.quotaBytes)
    if (!fitted) throw this.#overQuota(key)
  }

  delete(key: string): boolean {
    this.#checkKey(key)
    return this.#partition().delete(key)
  }

  keys(prefix: string, limit: number): string[] {
    const count = Number.isFinite(limit) ? Math.min(Math.max(Math.trunc(limit), 1), MAX_KEYS) : MAX_KEYS
    return this.#partition().keys(prefix, count)
  }

  async incr(key: string, by: number, ttlMs: number): Promise<number> {
    this.#checkKey(key)
    if (!Number.isSafeInteger(by)) throw this.#refuse("E_GUEST_RESULT_INVALID", "incr adds a safe integer")
    const startsToExpire = this.#expiry(ttlMs)
    let sum = 0
    await this.#update(key, (current) => {
      sum = this.#counter(key, current) + by
      if (!Number.isSafeInteger(sum))
        throw this.#refuse("E_GUEST_RESULT_INVALID", `counter ${quote(key)} would overflow`)
      return { value: String(sum), expiresAtMs: current?.expiresAtMs ?? startsToExpire }
    })
    return sum
  }

  async cas(
    key: string,
    expected: string | Uint8Array | undefined,
    value: string | Uint8Array,
    ttlMs: number,
  ): Promise<boolean> {
    this.#checkKey(key)
    const bytes = sizeOf(value) + (expected === undefined ? 0 : sizeOf(expected))
    this.#checkRoom(bytes)
    const wanted = expected === undefined ? undefined : own(expected)
    const next = { value: own(value), expiresAtMs: this.#expiry(ttlMs) }
    let done = false
    this.#updateBytes += bytes
    try {
      await this.#update(key, (current) => {
        done = equalValues(current?.value, wanted)
        return done ? next : undefined
      })
    } finally {
      this.#updateBytes -= bytes
    }
    return done
  }

  async flush(): Promise<void> {
    try {
      await this.#partition().flush()
    } catch (error) {
      throw this.#named(error)
    }
  }

  #partition(): ResidentPartition {
    return this.#options.pool.get(this.#id)
  }

  /** @param change - Gets undefined for an expired value; must not return one that breaks the quota. */
  async #update(key: string, change: (current: Stored | undefined) => Stored | undefined): Promise<void> {
    if (this.#updates === MAX_UPDATES) {
      throw this.#refuse("E_LIMIT_STORAGE", `${MAX_UPDATES} atomic operations are under way; wait for some of them`)
    }
    const partition = this.#partition()
    this.#updates++
    try {
      await partition.update(key, (stored) => {
        const live = stored !== undefined && isExpired(stored, this.#options.nowMs()) ? undefined : stored
        const next = change(live)
        if (next !== undefined && !partition.fits(key, next.value, this.#options.quotaBytes)) throw this.#overQuota(key)
        return next
      })
    } catch (error) {
      throw this.#named(error)
    } finally {
      this.#updates--
    }
  }

  /** One operation may be as large as it likes; those that wait for it only together. */
  #checkRoom(bytes: number): void {
    if (this.#updateBytes === 0 || this.#updateBytes + bytes <= MAX_UPDATE_BYTES) return
    throw this.#refuse("E_LIMIT_STORAGE", "atomic operations with large values are under way; wait for some of them")
  }

  #counter(key: string, current: Stored | undefined): number {
    if (current === undefined) return 0
    const { value } = current
    const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : Number.NaN
    if (Number.isSafeInteger(number)) return number
    throw this.#refuse("E_GUEST_RESULT_INVALID", `${quote(key)} is not a counter`)
  }

  #expiry(ttlMs: number): number {
    if (ttlMs === 0) return 0
    if (typeof ttlMs === "number" && ttlMs > 0 && ttlMs <= MAX_TTL_MS) return this.#options.nowMs() + Math.ceil(ttlMs)
    throw this.#refuse("E_GUEST_RESULT_INVALID", "a time to live is 0 (none) or milliseconds up to a hundred years")
  }

  #checkKey(key: string): void {
    if (isStorageKey(key)) return
    throw this.#refuse("E_STORAGE_KEY", `not a storage key: ${quote(key)}`)
  }

  #overQuota(key: string): PluginError {
    const used = this.#partition().usedBytes
    const quota = this.#options.quotaBytes
    return this.#refuse("E_LIMIT_STORAGE", `no room for ${quote(key)}: ${used} of ${quota} bytes are used`)
  }

  #refuse(code: "E_STORAGE_KEY" | "E_LIMIT_STORAGE" | "E_GUEST_RESULT_INVALID", what: string): PluginError {
    return new PluginError(code, this.#plugin, what)
  }

  #named(error: unknown): unknown {
    if (!(error instanceof BextError) || error instanceof PluginError) return error
    return new PluginError(error.code, this.#plugin, "the host cannot save storage now", { cause: error })
  }
}

/** 1 to 512 bytes of well-formed text without NUL, slash, backslash or two dots in a row. */
export function isStorageKey(key: unknown): key is string {
  if (typeof key !== "string" || key.length === 0 || key.length > MAX_KEY_BYTES) return false
  let ascii = true
  let previous = 0
  for (let at = 0; at < key.length; at++) {
    const unit = key.charCodeAt(at)
    if (unit === 0 || unit === SLASH || unit === BACKSLASH || (unit === DOT && previous === DOT)) return false
    if (unit > 127) ascii = false
    previous = unit
  }
  return ascii || (key.isWellFormed() && Buffer.byteLength(key) <= MAX_KEY_BYTES)
}

const SLASH = 47
const BACKSLASH = 92
const DOT = 46

function sizeOf(value: string | Uint8Array): number {
  return typeof value === "string" ? value.length * 2 : value.length
}

/** A value nobody else can change: bytes may be a view of a guest's memory; half a surrogate pair cannot be stored. */
function own(value: string | Uint8Array): string | Uint8Array {
  return typeof value === "string" ? value.toWellFormed() : Uint8Array.from(value)
}

function equalValues(a: string | Uint8Array | undefined, b: string | Uint8Array | undefined): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  return a === b
}
