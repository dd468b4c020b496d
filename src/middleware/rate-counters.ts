import type { Bus, BusMessage } from "../state/state.ts"
import { type RateCounter, WindowCounter, type WindowCounterOptions } from "./rate-counter.ts"

const TOPIC = "rate"
/** How long counts gather before the other processes are told. */
const GATHER_MS = 50
/** Keys of one rule that are told at once; what others count later is told later. */
const MAX_UNSENT = 1_000
/** Bytes of one message, as the bus takes 64 KiB; each UTF-16 unit of a key is at most six bytes of JSON. */
const MAX_MESSAGE = 60_000
/** [key, requests counted, milliseconds until its window ends] */
type Told = readonly [string, number, number]

/**
 * The rate counters of one process, which agree with those of the others: each counts at once in its own memory and tells the
 * others a moment later what it has counted. So a limit is the whole server's, but for what arrives elsewhere within that
 * moment. A window begins where its key is seen first, and elsewhere when that is told, with the same end. A process that
 * starts later does not know what was counted before.
 *
 * A counter lives as long as somebody uses it: a rule that a reload did not change keeps its counts.
 */
export class RateCounters implements Disposable {
  readonly #bus: Bus | undefined
  readonly #options: WindowCounterOptions
  readonly #counters = new Map<string, WeakRef<SharedCounter>>()
  readonly #unsent = new Set<SharedCounter>()
  readonly #unsubscribe: () => void
  #timer: NodeJS.Timeout | null = null

  /** @param bus - undefined: this process is the only one. */
  constructor(bus?: Bus, options: WindowCounterOptions = {}) {
    this.#bus = bus
    this.#options = options
    this.#unsubscribe = bus?.subscribe(TOPIC, (message) => this.#hear(message)) ?? (() => {})
  }

  /** As `CreateRateCounter`. */
  create(requests: number, windowMs: number, id: string): RateCounter {
    const known = this.#counters.get(id)?.deref()
    if (known !== undefined) return known
    for (const [other, counter] of this.#counters) if (counter.deref() === undefined) this.#counters.delete(other)
    const counter: SharedCounter = new SharedCounter(id, requests, windowMs, this.#options, this.#bus && this.#later)
    this.#counters.set(id, new WeakRef(counter))
    return counter
  }

  [Symbol.dispose](): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#unsubscribe()
  }

  readonly #later = (counter: SharedCounter): void => {
    this.#unsent.add(counter)
    this.#timer ??= setTimeout(() => this.#tell(), GATHER_MS).unref()
  }

  #tell(): void {
    this.#timer = null
    for (const counter of this.#unsent) {
      for (const counts of batches(counter.take())) this.#bus?.publish(TOPIC, { id: counter.id, counts })
    }
    this.#unsent.clear()
  }

  #hear(message: BusMessage): void {
    const { id, counts } = message as { readonly id: string; readonly counts: readonly Told[] }
    this.#counters.get(id)?.deref()?.hear(counts)
  }
}

/** One rule's counter in one process. */
class SharedCounter extends WindowCounter {
  readonly id: string
  readonly #later: ((counter: SharedCounter) => void) | undefined
  #unsent = new Map<string, number>()

  constructor(
    id: string,
    requests: number,
    windowMs: number,
    options: WindowCounterOptions,
    later: ((counter: SharedCounter) => void) | undefined,
  ) {
    super(requests, windowMs, options)
    this.id = id
    this.#later = later
  }

  override consume(key: string) {
    if (this.#later !== undefined) this.#note(key)
    return super.consume(key)
  }

  /** What was counted here since the last time. */
  *take(): Generator<Told> {
    const unsent = this.#unsent
    this.#unsent = new Map()
    for (const [key, count] of unsent) {
      const remainingMs = this.remainingMs(key)
      if (remainingMs > 0) yield [key, count, Math.ceil(remainingMs)]
    }
  }

  hear(counts: readonly Told[]): void {
    for (const [key, count, remainingMs] of counts) this.add(key, count, remainingMs)
  }

  /** Under a flood of keys only the first ones are told; whoever comes often gets a place the next time. */
  #note(key: string): void {
    const count = this.#unsent.get(key)
    if (count === undefined && this.#unsent.size >= MAX_UNSENT) return
    if (this.#unsent.size === 0) this.#later?.(this)
    this.#unsent.set(key, (count ?? 0) + 1)
  }
}

function* batches(counts: Iterable<Told>): Generator<Told[]> {
  let batch: Told[] = []
  let bytes = 0
  for (const told of counts) {
    const size = told[0].length * 6 + 32
    if (bytes + size > MAX_MESSAGE) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(told)
    bytes += size
  }
  if (batch.length > 0) yield batch
}
