import { isExpired, type KeyValueStore, type Stored } from "./state.ts"

/** Charged for every entry on top of key and value, so that many tiny entries cannot use far more memory than they count. */
export const ENTRY_BYTES = 32
/** How long changes gather before they are written: a key set a thousand times in that time is written once. */
const GATHER_MS = 5
/** Expired keys are removed from the store when this many are known, or when the partition is saved for the last time. */
const EXPIRED_BATCH = 256
const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 30_000

interface Entry extends Stored {
  readonly bytes: number
  /** The store may have this key, so removing it must be written too. */
  stored: boolean
}

/**
 * One partition in memory: reads and writes are local, the store follows. A change made here is seen here at once and
 * wins over what others changed until it is committed; from then on the store decides.
 */
export class ResidentPartition {
  readonly id: string
  /** Set by the pool once nobody may use this object any more. */
  evicted = false
  readonly #state: KeyValueStore
  readonly #nowMs: () => number
  readonly #resized: (bytes: number) => void
  #entries = new Map<string, Entry>()
  #usedBytes = 0
  /** Changes nobody else knows yet; null removes. */
  #pending = new Map<string, Stored | null>()
  /** Changes the store is committing. */
  #inFlight: ReadonlyMap<string, Stored | null> = new Map()
  /** Keys with an atomic operation under way, and how many. */
  readonly #atomic = new Map<string, number>()
  /** Keys somebody else changed while a change of ours was on its way. */
  readonly #contested = new Set<string>()
  #expired = new Set<string>()
  #saving: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #retryMs = 0

  constructor(
    id: string,
    loaded: ReadonlyMap<string, Stored>,
    state: KeyValueStore,
    nowMs: () => number,
    resized: (bytes: number) => void,
  ) {
    this.id = id
    this.#state = state
    this.#nowMs = nowMs
    this.#resized = resized
    this.#fill(loaded)
  }

  /** Keys, values and `ENTRY_BYTES` for each. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** True while something here is not in the store yet. */
  get busy(): boolean {
    return this.#pending.size > 0 || this.#inFlight.size > 0 || this.#atomic.size > 0
  }

  /** @returns what is kept here, not a copy: bytes must not be changed. */
  get(key: string): string | Uint8Array | undefined {
    return this.#live(key)?.value
  }

  /** @returns false, and changes nothing, when the partition would then use more than `quotaBytes`. */
  set(key: string, value: string | Uint8Array, expiresAtMs: number, quotaBytes: number): boolean {
    if (!this.fits(key, value, quotaBytes)) return false
    const expired = this.#expired.delete(key)
    const stored = this.#entries.get(key)?.stored ?? (expired || this.#pending.has(key))
    this.#keep(key, { value, expiresAtMs }, stored)
    this.#change(key, { value, expiresAtMs })
    return true
  }

  delete(key: string): boolean {
    const entry = this.#live(key)
    if (entry === undefined) return false
    this.#drop(key, entry)
    if (entry.stored) this.#change(key, null)
    else this.#pending.delete(key)
    return true
  }

  keys(prefix: string, limit: number): string[] {
    const found: string[] = []
    for (const key of this.#entries.keys()) {
      if (key.startsWith(prefix) && this.#live(key) !== undefined) found.push(key)
    }
    return found.sort().slice(0, limit)
  }

  /** Whether `key` can have `value` within `quotaBytes`; gives back what expired when that is what it takes. */
  fits(key: string, value: string | Uint8Array, quotaBytes: number): boolean {
    const grows = entryBytes(key, value) - (this.#entries.get(key)?.bytes ?? 0)
    // Shrinking is always allowed: the quota may have been lowered below what is used.
    if (grows <= 0 || this.#usedBytes + grows <= quotaBytes) return true
    for (const other of this.#entries.keys()) if (other !== key) this.#live(other)
    return this.#usedBytes + grows <= quotaBytes
  }

  /** `update` of the store, after every earlier change made here; its result is visible here when the promise resolves. */
  async update(key: string, change: (current: Stored | undefined) => Stored | null | undefined): Promise<void> {
    this.#atomic.set(key, (this.#atomic.get(key) ?? 0) + 1)
    try {
      await this.save()
      await this.#state.update(this.id, key, change)
    } finally {
      const left = this.#atomic.get(key)! - 1
      if (left === 0) this.#atomic.delete(key)
      else this.#atomic.set(key, left)
      await this.changedElsewhere(key)
    }
  }

  /** Resolves when every change made before is committed; rejects when this attempt fails (it is repeated later). */
  async save(): Promise<void> {
    if (this.#saving !== null) await this.#saving.catch(() => {})
    if (this.#saving !== null) return this.#saving
    if (this.#pending.size === 0) return
    this.#saving = this.#commit()
    return this.#saving
  }

  /** Resolves when every change made before is on disk. */
  async flush(): Promise<void> {
    await this.save()
    await this.#state.flush()
  }

  /** Called for the last time: stops the timer and removes from the store what expired. */
  async close(): Promise<void> {
    try {
      await this.save()
      if (this.#expired.size > 0) await this.#removeExpired()
    } finally {
      if (this.#timer !== null) clearTimeout(this.#timer)
    }
  }

  /** Somebody else committed a change of `key`. */
  changedElsewhere(key: string): void | Promise<void> {
    if (this.#pending.has(key) || this.#inFlight.has(key) || this.#atomic.has(key)) {
      this.#contested.add(key)
      return
    }
    const current = this.#state.read(this.id, key)
    if (current instanceof Promise) return current.then((entry) => this.#accept(key, entry))
    this.#accept(key, current)
  }

  /** Replaces everything by what the store has now; changes of our own stay on top. */
  reload(loaded: ReadonlyMap<string, Stored>): void {
    this.#entries.clear()
    this.#resize(-this.#usedBytes)
    this.#fill(loaded)
    for (const changes of [this.#inFlight, this.#pending]) {
      for (const [key, entry] of changes) {
        const old = this.#entries.get(key)
        if (entry !== null) this.#keep(key, entry, true)
        else if (old !== undefined) this.#drop(key, old)
      }
    }
  }

  #fill(loaded: ReadonlyMap<string, Stored>): void {
    const nowMs = this.#nowMs()
    for (const [key, entry] of loaded) {
      if (isExpired(entry, nowMs)) this.#expired.add(key)
      else this.#keep(key, entry, true)
    }
  }

  #accept(key: string, entry: Stored | undefined): void {
    // A change of our own that came while the store was read wins until it is committed.
    if (this.#pending.has(key) || this.#inFlight.has(key)) {
      this.#contested.add(key)
      return
    }
    const old = this.#entries.get(key)
    if (entry !== undefined && !isExpired(entry, this.#nowMs())) this.#keep(key, entry, true)
    else if (old !== undefined) this.#drop(key, old)
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.expiresAtMs === 0 || !isExpired(entry, this.#nowMs())) return entry
    this.#drop(key, entry)
    if (!this.#pending.delete(key) || entry.stored) this.#expired.add(key)
    if (this.#expired.size >= EXPIRED_BATCH) this.#removeExpired().catch(() => {})
    return undefined
  }

  #keep(key: string, { value, expiresAtMs }: Stored, stored: boolean): void {
    const bytes = entryBytes(key, value)
    this.#resize(bytes - (this.#entries.get(key)?.bytes ?? 0))
    this.#entries.set(key, { value, expiresAtMs, bytes, stored })
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#resize(-entry.bytes)
  }

  #resize(bytes: number): void {
    this.#usedBytes += bytes
    if (!this.evicted) this.#resized(bytes)
  }

  #change(key: string, entry: Stored | null): void {
    this.#pending.set(key, entry)
    if (this.#saving === null) this.#timer ??= setTimeout(() => this.#saveLater(), GATHER_MS)
  }

  #saveLater(): void {
    this.#timer = null
    // The store has told the operator; what failed is pending again.
    this.save().catch(() => {})
  }

  async #commit(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const changes = this.#pending
    this.#pending = new Map()
    this.#inFlight = changes
    for (const [key, change] of changes) if (change !== null) this.#entries.get(key)!.stored = true
    try {
      await this.#state.write(this.id, changes)
      this.#retryMs = 0
    } catch (error) {
      for (const [key, change] of this.#pending) changes.set(key, change)
      this.#pending = changes
      this.#retryMs = Math.min(Math.max(this.#retryMs * 2, FIRST_RETRY_MS), LONGEST_RETRY_MS)
      throw error
    } finally {
      this.#inFlight = new Map()
      this.#saving = null
      if (this.#pending.size > 0) this.#timer ??= setTimeout(() => this.#saveLater(), this.#retryMs || GATHER_MS)
      const contested = [...this.#contested]
      this.#contested.clear()
      for (const key of contested) await this.changedElsewhere(key)
    }
  }

  async #removeExpired(): Promise<void> {
    const keys = this.#expired
    this.#expired = new Set()
    await this.#state.removeExpired(this.id, keys, this.#nowMs())
  }
}

function entryBytes(key: string, value: string | Uint8Array): number {
  return Buffer.byteLength(key) + (typeof value === "string" ? Buffer.byteLength(value) : value.length) + ENTRY_BYTES
}
