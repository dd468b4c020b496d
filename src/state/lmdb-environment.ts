import { existsSync, mkdirSync, statfsSync } from "node:fs"
import { dirname, join } from "node:path"
import { ABORT, type Database, open, type RootDatabase } from "lmdb"
import { BextError } from "../errors.ts"
import { checkDataFile } from "./check-data-file.ts"
import type { StateLog } from "./state.ts"

/** How often a process looks for what others committed: well under the 50 ms promised, so that a late timer still fits. */
const POLL_MS = 20
/**
 * LMDB counts a commit before it lets anybody read it; in between is a sync. So who saw a new count looks on for so long, and
 * once more whenever as much time is over, for a disk that takes longer.
 */
const LOOK_ON_MS = 1_000
/** Bytes. A failed write on a disk with less than this is most likely a full disk. */
const LOW_SPACE = 16 * 1024 * 1024

const ENVIRONMENT = {
  maxDbs: 32,
  /** One for each thread that reads: serving processes, their lanes, commands. */
  maxReaders: 1024,
  noSubdir: false,
  /** `batch` and `transaction` resolve when committed, `flushed` when on disk. */
  separateFlushed: true,
  /**
   * A commit is on disk when it is visible. Overlapping, the driver's default, marks commits as synced after it has given
   * the lock away: what other processes committed meanwhile can be lost then, without anybody having crashed.
   */
  overlappingSync: false,
  /** Batches are ours; the library's implicit ones reject a promise nobody can handle, which would end the process. */
  eventTurnBatching: false,
} as const

const BINARY = { encoding: "binary", keyEncoding: "binary" } as const

/**
 * Opens the one LMDB environment of this process, in `dir`/state. Writes go to disk in LMDB's own writer thread; readers
 * never wait for writers.
 * @throws {BextError} `E_STATE_UNAVAILABLE`: the folder cannot be made, read or written.
 */
export function openLmdbEnvironment(options: { readonly dir: string; readonly log: StateLog }): LmdbEnvironment {
  const path = join(options.dir, "state")
  try {
    makeFolder(path)
    checkDataFile(join(path, "data.mdb"))
    return new LmdbEnvironment(open<Buffer, Buffer>({ path, ...ENVIRONMENT, ...BINARY }), path, options.log)
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

/** What the parts of the state share: databases, commits, news of other processes' commits, the end. */
export class LmdbEnvironment implements AsyncDisposable {
  readonly log: StateLog
  readonly #path: string
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #listeners = new Set<() => void>()
  readonly #drains: (() => Promise<void>)[] = []
  #poll: NodeJS.Timeout | null = null
  #seenTransaction = Number.NaN
  #countedAtMs = 0
  #lookedAtMs = 0
  #failing = false
  #unreadable = false
  #closed = false

  constructor(root: RootDatabase<Buffer, Buffer>, path: string, log: StateLog) {
    this.#root = root
    this.#path = path
    this.log = log
  }

  database(name: string): Database<Buffer, Buffer> {
    return this.#root.openDB<Buffer, Buffer>({ name, ...BINARY })
  }

  /** @throws {BextError} `E_STATE_UNAVAILABLE` once the environment is closing. */
  assertOpen(): void {
    if (this.#closed) throw unavailable(this.#path, "the state is closed")
  }

  /** LMDB reads from a snapshot; this takes the newest one. @throws as `assertOpen`. */
  refresh(): void {
    this.assertOpen()
    this.#root.resetReadTxn()
  }

  /** Commits all that `queue` queues, or nothing of it. */
  batch(queue: () => void): Promise<void> {
    return this.#settle(this.#root.batch(queue))
  }

  /** Runs `action` under the write lock; what it throws is passed on as it is. */
  async transact(action: () => void): Promise<void> {
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

  /** As `transact`, but when `action` throws nothing of what it did is left. */
  async atomically(action: () => void): Promise<void> {
    let thrown: { readonly error: unknown } | undefined
    const transaction = this.#root.childTransaction(() => {
      try {
        action()
        return undefined
      } catch (error) {
        thrown = { error }
        return ABORT
      }
    })
    await this.#settle(transaction)
    if (thrown !== undefined) throw thrown.error
  }

  /** Resolves when everything committed so far is on disk. */
  flush(): Promise<void> {
    return this.#settle(this.#root.flushed)
  }

  /** Frees the read locks of processes that were killed: they would keep old pages alive. */
  forgetDeadReaders(): void {
    this.#root.readerCheck()
  }

  /** Calls `listener` after commits of any process, within 50 ms, and sometimes for none. @returns a function that ends it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#poll ??= setInterval(() => this.#look(), POLL_MS).unref()
    return () => this.#listeners.delete(listener)
  }

  /** Runs `drain`, which never rejects, before the environment closes; nothing new begins then. */
  beforeClose(drain: () => Promise<void>): void {
    this.#drains.push(drain)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#poll !== null) clearInterval(this.#poll)
    await Promise.all(this.#drains.map((drain) => drain()))
    await this.#root.close()
  }

  /** Turns a driver's failure into ours, and tells the operator once for every run of failures. */
  async #settle(work: PromiseLike<unknown>): Promise<void> {
    try {
      await work
      this.#failing = false
    } catch (error) {
      const failure = unavailable(this.#path, "cannot write the state", await reasonOf(error), spaceLeft(this.#path))
      if (!this.#failing) this.log.error({ err: failure, code: failure.code }, failure.message)
      this.#failing = true
      throw failure
    }
  }

  #look(): void {
    const transaction = this.#lastTransaction()
    const nowMs = performance.now()
    if (transaction !== this.#seenTransaction) this.#countedAtMs = nowMs
    else if (nowMs - this.#countedAtMs > LOOK_ON_MS && nowMs - this.#lookedAtMs < LOOK_ON_MS) return
    this.#seenTransaction = transaction
    this.#lookedAtMs = nowMs
    try {
      this.refresh()
      for (const listener of this.#listeners) listener()
      this.#unreadable = false
    } catch (error) {
      // Nobody waits for this: thrown on, it would end the process. The next look sees what this one missed.
      this.#seenTransaction = Number.NaN
      const failure = unavailable(this.#path, "cannot read what others committed", error)
      if (!this.#unreadable) this.log.error({ err: failure, code: failure.code }, failure.message)
      this.#unreadable = true
    }
  }

  /** Number of the last commit by any process: costs a third of looking into the change log, fifty times a second. */
  #lastTransaction(): number {
    const stats: { lastTxnId?: unknown } = this.#root.getStats()
    // Not a number, not equal to itself: without it the listeners look every time.
    return typeof stats.lastTxnId === "number" ? stats.lastTxnId : Number.NaN
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

/** LMDB calls it an input/output error when a disk takes only a part of a write, so the operator is told how full it is. */
function spaceLeft(path: string): string {
  try {
    const { bavail, bsize } = statfsSync(path)
    const bytes = bavail * bsize
    return bytes < LOW_SPACE ? `; ${Math.floor(bytes / 1024)} KiB are left on that disk` : ""
  } catch {
    return ""
  }
}

function unavailable(path: string, what: string, cause?: unknown, more = ""): BextError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ""
  return new BextError("E_STATE_UNAVAILABLE", `${what} in ${path}${reason}${more}`, { cause })
}
