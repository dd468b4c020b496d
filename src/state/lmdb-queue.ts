import { randomBytes } from "node:crypto"
import { BextError } from "../errors.ts"
import type { LmdbEnvironment } from "./lmdb-environment.ts"
import { CLOCK_SLACK_MS, type HeldLease, QueueBook, type QueueTables } from "./queue-book.ts"
import { MARK_BYTES } from "./queue-keys.ts"
import type {
  Lease,
  Leased,
  NewMessage,
  Outcome,
  QueueSettings,
  QueueStore,
  QueueSummary,
  ShownMessage,
} from "./state.ts"

/** Tests own the clocks. */
export interface QueueClock {
  /** Epoch milliseconds; may be set. */
  nowMs(): number
  /** Milliseconds that are never set. */
  monotonicMs(): number
}

/** Messages in one transaction: it holds the lock of all processes, and the thread, for a few milliseconds. */
const WEIGHT_AT_ONCE = 1024
/** Of a value that weighs as much as another message. */
const CHARACTERS_OF_WEIGHT = 2048
const RETENTION_CHECK_MS = 60_000

/** One operation that waits for its transaction. */
interface Operation {
  readonly queue: string
  /** How many messages it is about. */
  readonly weight: number
  readonly durable: boolean
  /** @throws {BextError} its own failure, before it has written anything. */
  run(book: QueueBook): void
  /** Takes back what `run` did to objects: the transaction failed. */
  undo?(): void
  resolve(): void
  reject(error: unknown): void
}

/**
 * Queues in an LMDB environment. Everything that is asked for while a transaction is under way shares the next one:
 * pushes, leases and acknowledgements of all queues together.
 */
export class LmdbQueueStore implements QueueStore {
  readonly #environment: LmdbEnvironment
  readonly #tables: QueueTables
  readonly #clock: QueueClock
  /** Tells this store's leases from all others. */
  readonly #owner = randomBytes(MARK_BYTES)
  readonly #listeners = new Set<() => void>()
  #operations: Operation[] = []
  #committing: Promise<void> | null = null
  /** Flushes under way, which never reject. */
  readonly #flushes = new Set<Promise<void>>()
  #watching = false
  #seenNowMs: number
  #seenMonotonicMs: number
  /** How often the clock was set, as far as was noticed. */
  #steps = 0
  #steppedAtMs = Number.NEGATIVE_INFINITY
  /** Queue → `#steps` when delays were last compared with the clock. */
  readonly #compared = new Map<string, number>()
  /** Queue → monotonic time of the next look at old dead letters. */
  readonly #retentionAtMs = new Map<string, number>()

  constructor(environment: LmdbEnvironment, clock: QueueClock = SYSTEM_CLOCK) {
    this.#environment = environment
    this.#clock = clock
    this.#tables = {
      counters: environment.database("queues"),
      messages: environment.database("queue-messages"),
      places: environment.database("queue-places"),
      keyed: environment.database("queue-keyed"),
      dead: environment.database("queue-dead"),
    }
    this.#seenNowMs = clock.nowMs()
    this.#seenMonotonicMs = clock.monotonicMs()
    environment.beforeClose(() => this.#settled())
  }

  async push(settings: QueueSettings, message: NewMessage): Promise<string> {
    const weight = 1 + message.value.length / CHARACTERS_OF_WEIGHT
    return this.#transact(settings.queue, weight, true, (book) => book.push(settings, message, this.#clock.nowMs()))
  }

  async lease(settings: QueueSettings, max: number): Promise<Leased> {
    const reclaim = this.#lookAtClock(settings)
    if (this.#compared.get(settings.queue) !== this.#steps) await this.#compareDelays(settings.queue)
    await this.#removeOldDead(settings)
    // Without the lock first: looking at an empty queue costs next to nothing.
    const nextMs = this.#read(settings.queue, (book) => book.nextMs(settings, this.#clock.nowMs(), reclaim))
    if (nextMs === null || nextMs > 0) return { leases: [], nextMs }
    return this.#transact(settings.queue, max, false, (book) => {
      const nowMs = this.#clock.nowMs()
      const leases = book.lease(settings, max, nowMs, this.#owner, reclaim)
      return { leases, nextMs: book.nextMs(settings, nowMs, reclaim) }
    })
  }

  async settle(settings: QueueSettings, outcomes: readonly Outcome[]): Promise<number> {
    return this.#transact(settings.queue, outcomes.length, false, (book) => {
      const nowMs = this.#clock.nowMs()
      return outcomes.filter((outcome) => !book.settle(settings, outcome, nowMs, this.#owner)).length
    })
  }

  async extend(settings: QueueSettings, leases: readonly Lease[]): Promise<readonly Lease[]> {
    const held = leases as readonly HeldLease[]
    const before = held.map(({ untilMs }) => untilMs)
    const extend = (book: QueueBook) => {
      const nowMs = this.#clock.nowMs()
      return held.filter((lease) => !book.extend(settings, lease, nowMs, this.#owner))
    }
    return this.#transact(settings.queue, leases.length, false, extend, () => {
      for (const [index, lease] of held.entries()) lease.untilMs = before[index]!
    })
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener)
    if (!this.#watching) this.#environment.onCommit(() => this.#tell())
    this.#watching = true
    return () => this.#listeners.delete(listener)
  }

  async list(): Promise<readonly QueueSummary[]> {
    this.#environment.refresh()
    const names = [...this.#tables.counters.getKeys({})].map(String)
    return names.map((queue) => this.#read(queue, (book) => book.summary(this.#clock.nowMs())))
  }

  async show(queue: string, which: "live" | "dead", limit: number): Promise<readonly ShownMessage[]> {
    return this.#read(queue, (book) => (which === "live" ? book.showLive(limit) : book.showDead(limit)))
  }

  async revive(queue: string, ids: readonly string[] | null): Promise<number> {
    const wanted = ids === null ? null : new Set(ids)
    let revived = 0
    for (let after: Buffer | null = null; ; ) {
      const part: { revived: number; next: Buffer | null } = await this.#transact(
        queue,
        WEIGHT_AT_ONCE,
        true,
        (book): { revived: number; next: Buffer | null } =>
          book.revive(wanted, WEIGHT_AT_ONCE, this.#clock.nowMs(), after),
      )
      revived += part.revived
      if (part.next === null) return revived
      after = part.next
    }
  }

  async purge(queue: string, which: "live" | "dead"): Promise<number> {
    const before = this.#read(queue, (book) => book.nextSequence)
    for (let purged = 0; ; ) {
      const removed = await this.#transact(queue, WEIGHT_AT_ONCE, true, (book) =>
        which === "live" ? book.purgeLive(before, WEIGHT_AT_ONCE) : book.purgeDead(WEIGHT_AT_ONCE),
      )
      purged += removed
      if (removed === 0) return purged
    }
  }

  /** @returns whether leases that ended may be taken over: not right after the clock was set, holders come first. */
  #lookAtClock({ visibilityMs }: QueueSettings): boolean {
    const [nowMs, monotonicMs] = [this.#clock.nowMs(), this.#clock.monotonicMs()]
    const driftMs = nowMs - this.#seenNowMs - (monotonicMs - this.#seenMonotonicMs)
    this.#seenNowMs = nowMs
    this.#seenMonotonicMs = monotonicMs
    if (Math.abs(driftMs) > CLOCK_SLACK_MS) {
      this.#steps++
      this.#steppedAtMs = monotonicMs
    }
    return monotonicMs - this.#steppedAtMs >= visibilityMs
  }

  async #compareDelays(queue: string): Promise<void> {
    const steps = this.#steps
    for (;;) {
      const nowMs = this.#clock.nowMs()
      const places = this.#read(queue, (book) => book.fromTheFuture(nowMs, WEIGHT_AT_ONCE))
      if (places.length === 0) break
      await this.#transact(queue, places.length, false, (book) => book.countAnew(places, nowMs))
    }
    this.#compared.set(queue, steps)
  }

  async #removeOldDead(settings: QueueSettings): Promise<void> {
    const monotonicMs = this.#clock.monotonicMs()
    if (monotonicMs < (this.#retentionAtMs.get(settings.queue) ?? Number.NEGATIVE_INFINITY)) return
    this.#retentionAtMs.set(settings.queue, monotonicMs + RETENTION_CHECK_MS)
    const nowMs = this.#clock.nowMs()
    while (this.#read(settings.queue, (book) => book.hasOldDead(settings, nowMs))) {
      await this.#transact(settings.queue, WEIGHT_AT_ONCE, false, (book) => book.removeOldDead(settings, nowMs))
    }
  }

  #read<T>(queue: string, look: (book: QueueBook) => T): T {
    this.#environment.refresh()
    return look(new QueueBook(this.#tables, queue, this.#environment.log))
  }

  #transact<T>(
    queue: string,
    weight: number,
    durable: boolean,
    run: (book: QueueBook) => T,
    undo?: () => void,
  ): Promise<T> {
    this.#environment.assertOpen()
    return new Promise<T>((resolve, reject) => {
      let result: T
      this.#operations.push({
        queue,
        weight,
        durable,
        run(book) {
          result = run(book)
        },
        ...(undo === undefined ? {} : { undo }),
        resolve: () => resolve(result),
        reject,
      })
      this.#committing ??= this.#commitWaiting()
    })
  }

  async #commitWaiting(): Promise<void> {
    while (this.#operations.length > 0) {
      // Everything asked for in the same turn shares the transaction.
      await new Promise(setImmediate)
      await this.#commit(this.#nextBatch())
    }
    this.#committing = null
  }

  #nextBatch(): Operation[] {
    let weight = 0
    let count = 0
    for (const operation of this.#operations) {
      if (count > 0 && weight + operation.weight > WEIGHT_AT_ONCE) break
      weight += operation.weight
      count++
    }
    return this.#operations.splice(0, count)
  }

  async #commit(batch: readonly Operation[]): Promise<void> {
    const refused = new Map<Operation, BextError>()
    try {
      await this.#environment.atomically(() => this.#run(batch, refused))
    } catch (error) {
      for (const operation of batch) {
        operation.undo?.()
        operation.reject(error)
      }
      return
    }
    const durable: Operation[] = []
    for (const operation of batch) {
      const error = refused.get(operation)
      if (error !== undefined) operation.reject(error)
      else if (operation.durable) durable.push(operation)
      else operation.resolve()
    }
    if (durable.length > 0) this.#flush(durable)
    this.#tell()
  }

  #run(batch: readonly Operation[], refused: Map<Operation, BextError>): void {
    const books = new Map<string, QueueBook>()
    for (const operation of batch) {
      const book = books.get(operation.queue) ?? new QueueBook(this.#tables, operation.queue, this.#environment.log)
      books.set(operation.queue, book)
      try {
        operation.run(book)
      } catch (error) {
        if (!(error instanceof BextError)) throw error
        refused.set(operation, error)
      }
    }
    for (const book of books.values()) book.close()
  }

  #flush(durable: readonly Operation[]): void {
    const flushed = this.#environment.flush().then(
      () => {
        for (const operation of durable) operation.resolve()
      },
      (error: unknown) => {
        for (const operation of durable) operation.reject(error)
      },
    )
    this.#flushes.add(flushed)
    flushed.then(() => this.#flushes.delete(flushed))
  }

  async #settled(): Promise<void> {
    while (this.#committing !== null) await this.#committing
    await Promise.all(this.#flushes)
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

const SYSTEM_CLOCK: QueueClock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() }
