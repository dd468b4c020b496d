import { existsSync, mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { type Database, open, type RootDatabase } from "lmdb"
import { BextError } from "../errors.ts"
import { type ChangedKey, ChangeLog } from "./change-log.ts"
import { checkDataFile } from "./check-data-file.ts"
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

/** How often a process looks for what others committed: well under the 50 ms promised, so that a late timer still fits. */
const POLL_MS = 20
const PARTITION_BYTES = 16

/**
 * Opens the state shared by all processes of one machine, in `dir`/state. Writes go to disk in LMDB's own writer thread;
 * readers never wait for writers.
 * @throws {BextError} `E_STATE_UNAVAILABLE`: the folder cannot be made, read or written.
 */
export function openLmdbStore(options: { readonly dir: string; readonly log: StateLog }): KeyValueStore {
  const path = join(options.dir, "state")
  try {
    makeFolder(path)
    checkDataFile(join(path, "data.mdb"))
    return new LmdbStore(open<Buffer, Buffer>({ path, ...ENVIRONMENT, ...BINARY }), path, options.log)
  } catch (error) {
    throw unavailable(path, "cannot open the state", error)
  }
}

/**
 * 0700: values may be personal data or tokens. Level by level: Node's `recursive` never returns where a file system
 * refuses a folder with ENOENT although its parent is there, as /proc does.
 */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  if (!existsSync(dirname(path))) makeFolder(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Another process was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
}

const ENVIRONMENT = {
  maxDbs: 8,
  noSubdir: false,
  /** `write` resolves when committed, `flush` when on disk. */
  separateFlushed: true,
  /** Batches are ours; the library's implicit ones reject a promise nobody can handle, which would end the process. */
  eventTurnBatching: false,
} as const

const BINARY = { encoding: "binary", keyEncoding: "binary" } as const

/** One `write` that is not committed yet. */
interface Waiting {
  readonly partition: string
  readonly changes: Changes
  readonly done: PromiseWithResolvers<void>
}

class LmdbStore implements KeyValueStore {
  readonly waits = false
  readonly #path: string
  readonly #log: StateLog
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #entries: Database<Buffer, Buffer>
  readonly #changeLog: ChangeLog
  readonly #listeners = new Set<ChangeListener>()
  #waiting: Waiting[] = []
  /** The commit under way, which never rejects. */
  #committing: Promise<void> | null = null
  #poll: NodeJS.Timeout | null = null
  #seenTransaction = Number.NaN
  #failing = false
  #tidied = false
  #closed = false

  constructor(root: RootDatabase<Buffer, Buffer>, path: string, log: StateLog) {
    this.#path = path
    this.#log = log
    this.#root = root
    this.#entries = root.openDB<Buffer, Buffer>({ name: "entries", ...BINARY })
    this.#changeLog = new ChangeLog(
      root.openDB<Buffer, Buffer>({ name: "streams", ...BINARY }),
      root.openDB<Buffer, Buffer>({ name: "batches", ...BINARY }),
    )
  }

  load(partition: string): Map<string, Stored> {
    this.#refresh()
    const entries = new Map<string, Stored>()
    const start = Buffer.from(partition, "hex")
    for (const { key, value } of this.#entries.getRange({ start, end: after(start) })) {
      const entry = decodeRecord(value)
      if (entry !== undefined) entries.set(key.toString("utf8", PARTITION_BYTES), entry)
    }
    return entries
  }

  read(partition: string, key: string): Stored | undefined {
    this.#refresh()
    const value = this.#entries.get(entryKey(partition, key))
    return value === undefined ? undefined : decodeRecord(value)
  }

  write(partition: string, changes: Changes): Promise<void> {
    if (this.#closed) return Promise.reject(unavailable(this.#path, "the state is closed"))
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
    while (this.#committing !== null) await this.#committing
    await this.#settle(this.#root.flushed)
  }

  watch(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    this.#poll ??= setInterval(() => this.#tellChanges(), POLL_MS).unref()
    return () => this.#listeners.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#poll !== null) clearInterval(this.#poll)
    while (this.#committing !== null) await this.#committing
    await this.#root.close()
  }

  /** Commits what waits, and what arrives meanwhile, one batch after the other. */
  async #commitWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Everything written in the same turn belongs to the same batch.
      await new Promise(setImmediate)
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#settle(this.#root.batch(() => this.#queue(batch)))
        for (const { done } of batch) done.resolve()
      } catch (error) {
        for (const { done } of batch) done.reject(error)
      }
    }
    this.#committing = null
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

  /** Clears up after processes that were killed: their streams, and read locks that would keep old pages alive. */
  #tidy(): void {
    this.#tidied = true
    this.#root.readerCheck()
    this.#changeLog.removeQuiet()
  }

  /** Runs `action` under the write lock, after every earlier write. An error of its own is passed on as it is. */
  async #transact(action: () => void): Promise<void> {
    while (this.#committing !== null) await this.#committing
    if (this.#closed) throw unavailable(this.#path, "the state is closed")
    let thrown: { readonly error: unknown } | undefined
    const transaction = this.#root.transaction(() => {
      try {
        action()
      } catch (error) {
        thrown = { error }
      }
    })
    await this.#settle(transaction)
    if (thrown !== undefined) throw thrown.error
  }

  #put(id: Buffer, entry: Stored | null): void {
    queueWrite(this.#entries, id, entry === null ? null : encodeRecord(entry))
  }

  /** Turns a driver's failure into ours, and tells the operator once for every run of failures. */
  async #settle(work: PromiseLike<unknown>): Promise<void> {
    try {
      await work
      this.#failing = false
    } catch (error) {
      const failure = unavailable(this.#path, "cannot write the state", await reasonOf(error))
      if (!this.#failing) this.#log.error({ err: failure, code: failure.code }, failure.message)
      this.#failing = true
      throw failure
    }
  }

  #tellChanges(): void {
    const transaction = this.#lastTransaction()
    if (transaction === this.#seenTransaction) return
    this.#seenTransaction = transaction
    this.#refresh()
    const changed = this.#changeLog.poll()
    for (const listener of this.#listeners) {
      if (changed === null) listener.reset()
      else for (const { partition, key } of changed) listener.changed(partition, key)
    }
  }

  /** Number of the last commit by any process: costs a third of looking into the change log, fifty times a second. */
  #lastTransaction(): number {
    const stats: { lastTxnId?: unknown } = this.#root.getStats()
    // Not a number, not equal to itself: without it the change log is looked at every time.
    return typeof stats.lastTxnId === "number" ? stats.lastTxnId : Number.NaN
  }

  /** LMDB reads from a snapshot; this takes the newest one. */
  #refresh(): void {
    if (this.#closed) throw unavailable(this.#path, "the state is closed")
    this.#root.resetReadTxn()
  }
}

/** A failed commit carries the reason as a promise, rejected a moment later; left alone it would end the process. */
async function reasonOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && "commitError" in error && error.commitError instanceof Promise)) return error
  let reason: unknown = error
  error.commitError.catch((cause: unknown) => {
    reason = cause
  })
  await new Promise(setImmediate)
  return reason
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

function unavailable(path: string, what: string, cause?: unknown): BextError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ""
  return new BextError("E_STATE_UNAVAILABLE", `${what} in ${path}${reason}`, { cause })
}
