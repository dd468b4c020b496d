import type { Database } from "lmdb"
import { type ChangedKey, ChangeLog } from "./change-log.ts"
import { type LmdbEnvironment, openLmdbEnvironment } from "./lmdb-environment.ts"
import { queueWrite } from "./queue-write.ts"
import { decodeRecord, encodeRecord } from "./record.ts"
import {
  type ChangeListener,
  type Changes,
  isExpired,
  type KeyValueStore,
  type StateLog,
  type Stored,
} from "./state.ts"

const PARTITION_BYTES = 16

/**
 * Opens the key-value part alone of the state shared by all processes of one machine, in `dir`/state.
 * @throws {BextError} `E_STATE_UNAVAILABLE`: the folder cannot be made, read or written.
 */
export function openLmdbStore(options: { readonly dir: string; readonly log: StateLog }): KeyValueStore {
  return new LmdbStore(openLmdbEnvironment(options))
}

/** One `write` that is not committed yet. */
interface Waiting {
  readonly partition: string
  readonly changes: Changes
  readonly done: PromiseWithResolvers<void>
}

/** Keys and values in an LMDB environment; disposing closes the environment. */
export class LmdbStore implements KeyValueStore {
  readonly waits = false
  readonly #environment: LmdbEnvironment
  readonly #entries: Database<Buffer, Buffer>
  readonly #changeLog: ChangeLog
  readonly #listeners = new Set<ChangeListener>()
  #waiting: Waiting[] = []
  /** The commit under way, which never rejects. */
  #committing: Promise<void> | null = null
  #watching = false
  #tidied = false

  constructor(environment: LmdbEnvironment) {
    this.#environment = environment
    this.#entries = environment.database("entries")
    this.#changeLog = new ChangeLog(environment.database("streams"), environment.database("batches"))
    environment.beforeClose(() => this.#settled())
  }

  load(partition: string): Map<string, Stored> {
    this.#environment.refresh()
    const entries = new Map<string, Stored>()
    const start = Buffer.from(partition, "hex")
    for (const { key, value } of this.#entries.getRange({ start, end: after(start) })) {
      const entry = decodeRecord(value)
      if (entry !== undefined) entries.set(key.toString("utf8", PARTITION_BYTES), entry)
    }
    return entries
  }

  read(partition: string, key: string): Stored | undefined {
    this.#environment.refresh()
    const value = this.#entries.get(entryKey(partition, key))
    return value === undefined ? undefined : decodeRecord(value)
  }

  async write(partition: string, changes: Changes): Promise<void> {
    this.#environment.assertOpen()
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ partition, changes, done })
    this.#committing ??= this.#commitWaiting()
    return done.promise
  }

  async update(
    partition: string,
    key: string,
    change: (current: Stored | undefined) => Stored | null | undefined,
  ): Promise<void> {
    await this.#transact(() => {
      const id = entryKey(partition, key)
      const value = this.#entries.get(id)
      const next = change(value === undefined ? undefined : decodeRecord(value))
      if (next === undefined) return
      this.#put(id, next)
      this.#changeLog.append([{ partition, key }])
    })
  }

  async removeExpired(partition: string, keys: Iterable<string>, nowMs: number): Promise<void> {
    // Not in the change log: every process sees for itself that a key expired.
    await this.#transact(() => {
      for (const key of keys) {
        const id = entryKey(partition, key)
        const value = this.#entries.get(id)
        const entry = value === undefined ? undefined : decodeRecord(value)
        if (entry !== undefined && isExpired(entry, nowMs)) this.#put(id, null)
      }
    })
  }

  async flush(): Promise<void> {
    await this.#settled()
    await this.#environment.flush()
  }

  watch(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    if (!this.#watching) this.#environment.onCommit(() => this.#tellChanges())
    this.#watching = true
    return () => this.#listeners.delete(listener)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#environment[Symbol.asyncDispose]()
  }

  /** Commits what waits, and what arrives meanwhile, one batch after the other. */
  async #commitWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Everything written in the same turn belongs to the same batch.
      await new Promise(setImmediate)
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#environment.batch(() => this.#queue(batch))
        for (const { done } of batch) done.resolve()
      } catch (error) {
        for (const { done } of batch) done.reject(error)
      }
    }
    this.#committing = null
  }

  async #settled(): Promise<void> {
    while (this.#committing !== null) await this.#committing
  }

  #queue(batch: readonly Waiting[]): void {
    if (!this.#tidied) this.#tidy()
    const changed: ChangedKey[] = []
    for (const { partition, changes } of batch) {
      for (const [key, entry] of changes) {
        this.#put(entryKey(partition, key), entry)
        changed.push({ partition, key })
      }
    }
    this.#changeLog.append(changed)
  }

  /** Clears up after processes that were killed: their streams, and their read locks. */
  #tidy(): void {
    this.#tidied = true
    this.#environment.forgetDeadReaders()
    this.#changeLog.removeQuiet()
  }

  /** Runs `action` under the write lock, after every earlier write. */
  async #transact(action: () => void): Promise<void> {
    await this.#settled()
    this.#environment.assertOpen()
    await this.#environment.transact(action)
  }

  #put(id: Buffer, entry: Stored | null): void {
    queueWrite(this.#entries, id, entry === null ? null : encodeRecord(entry))
  }

  #tellChanges(): void {
    const changed = this.#changeLog.poll()
    for (const listener of this.#listeners) {
      if (changed === null) listener.reset()
      else for (const { partition, key } of changed) listener.changed(partition, key)
    }
  }
}

function entryKey(partition: string, key: string): Buffer {
  const id = Buffer.allocUnsafe(PARTITION_BYTES + Buffer.byteLength(key))
  id.write(partition, 0, "hex")
  id.write(key, PARTITION_BYTES, "utf8")
  return id
}

/** The smallest key that starts with none of `prefix`: `prefix` plus one. */
function after(prefix: Buffer): Buffer {
  const next = Buffer.from(prefix)
  for (let at = next.length - 1; at >= 0; at--) {
    next[at] = (next[at]! + 1) & 255
    if (next[at] !== 0) break
  }
  return next
}
