import type { Logger } from "pino"
import { BextError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"
import type { Lease, Leased, Outcome, QueueSettings, QueueStore } from "../state/state.ts"
import { printableLines } from "./guest-text.ts"

/** Who handles the messages of a queue. */
export interface Receiver {
  readonly name: string
  /** Out of service: nothing is handed over, and nothing counts against the messages. */
  readonly quarantined: boolean
  /** @returns Nothing when the guest did not wait. @throws {BextError} Why the message is not handled. */
  receive(message: ReceivedMessage): void | Promise<void>
}

/** What `on_queue_message` gets. */
export type ReceivedMessage = {
  readonly id: string
  readonly queue: string
  readonly value: Json
  readonly key: string | null
  readonly attempt: number
  readonly pushedAtMs: number
  readonly tenantId: string | null
}

export interface ConsumerParts {
  readonly store: QueueStore
  readonly settings: QueueSettings
  readonly receiver: Receiver
  readonly logger: Logger
  readonly counters: ConsumerCounters
}

/** What happened to the messages of one queue in this process. */
export interface ConsumerCounters {
  delivered: number
  /** Deliveries that failed, those of the dead included. */
  failed: number
  dead: number
  /** Leases that ended before the handler did: the message was delivered again. */
  lost: number
}

/** Messages being handled at once, when their handlers wait. */
const MAX_IN_FLIGHT = 16
/** Messages leased at once while handlers do not wait. */
const MAX_LEASED = 512
/** Handing over a lease's worth in less than this is fast: other processes would not have been faster. */
const FAST_MS = 100
/** How long messages are handed over before requests get their turn. */
const SLICE_MS = 2
/** An idle consumer looks this often whether the clock was set, if messages are to come. */
const LOOK_MS = 1_000
/** Pause after a refusal that is nobody's fault. */
const REFUSED_MS = 1_000
const OVERLOADED_MS = 100
const FIRST_STATE_PAUSE_MS = 500
const LONGEST_STATE_PAUSE_MS = 30_000

/** Refusals before the guest's code ran, or that another call is to blame for: the message is as good as before. */
const UNCOUNTED: ReadonlySet<string> = new Set([
  "E_PLUGIN_QUARANTINED",
  "E_OVERLOADED",
  "E_LANE_FULL",
  "E_STATE_UNAVAILABLE",
  "E_INSTANCE_RESET",
])

/** Refusals for want of room, which may be there in a moment. */
const SOON: ReadonlySet<string> = new Set(["E_OVERLOADED", "E_LANE_FULL"])

/** Hands the messages of one queue to one plugin, as long as this process may: leases, calls, settles. */
export class QueueConsumer {
  readonly #parts: ConsumerParts
  /** Leases that are not settled. */
  readonly #held = new Set<Lease>()
  readonly #waiting = new Set<Promise<void>>()
  readonly #heartbeat: NodeJS.Timeout
  #outcomes: Outcome[] = []
  #settling: Promise<void> | null = null
  readonly #unwatch: () => void
  #wake: { readonly until: "news" | "end"; readonly resolve: () => void } | null = null
  /** Something happened while nobody waited for it. */
  #woken = false
  #stopped = false
  #pausedUntilMs = 0
  readonly #running: Promise<void>

  constructor(parts: ConsumerParts) {
    this.#parts = parts
    this.#unwatch = parts.store.watch(() => this.#wakeUp())
    this.#heartbeat = setInterval(() => void this.#extend(), parts.settings.visibilityMs / 3).unref()
    this.#running = this.#run()
  }

  get settings(): QueueSettings {
    return this.#parts.settings
  }

  get receiver(): Receiver {
    return this.#parts.receiver
  }

  /**
   * Leases nothing more and gives back what is not being handled. Handlers at work go on; what they come to is settled.
   * @returns When all is settled.
   */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#unwatch()
    this.#wakeUp()
    await this.#running
    await Promise.all(this.#waiting)
    await this.#settle()
    clearInterval(this.#heartbeat)
  }

  async #run(): Promise<void> {
    let most = MAX_IN_FLIGHT
    let statePauseMs = 0
    while (!this.#stopped) {
      if (this.#parts.receiver.quarantined) {
        await this.#pause(REFUSED_MS)
        continue
      }
      if (this.#pausedUntilMs > performance.now()) await this.#pause(this.#pausedUntilMs - performance.now())
      const free = MAX_IN_FLIGHT - this.#waiting.size
      if (free <= 0) {
        await Promise.race(this.#waiting)
        continue
      }
      this.#woken = false
      const leased = await this.#lease(this.#waiting.size === 0 ? most : free)
      if (leased === null) {
        statePauseMs = Math.min(Math.max(statePauseMs * 2, FIRST_STATE_PAUSE_MS), LONGEST_STATE_PAUSE_MS)
        await this.#pause(statePauseMs)
        continue
      }
      statePauseMs = 0
      if (leased.leases.length > 0) {
        const startedAtMs = performance.now()
        await this.#deliver(leased.leases)
        const isFast = this.#waiting.size === 0 && performance.now() - startedAtMs < FAST_MS
        most = isFast ? Math.min(most * 2, MAX_LEASED) : Math.max(MAX_IN_FLIGHT, most >> 1)
      } else await this.#idle(leased.nextMs)
    }
  }

  /** @returns null when the store is out of order; it has told the operator. */
  async #lease(max: number): Promise<Leased | null> {
    try {
      const leased = await this.#parts.store.lease(this.#parts.settings, max)
      for (const lease of leased.leases) this.#held.add(lease)
      return leased
    } catch {
      return null
    }
  }

  async #deliver(leases: readonly Lease[]): Promise<void> {
    let sliceEndsMs = performance.now() + SLICE_MS
    for (const lease of leases) {
      if (performance.now() >= sliceEndsMs) {
        void this.#settle()
        await new Promise((turn) => setImmediate(turn))
        sliceEndsMs = performance.now() + SLICE_MS
      }
      while (this.#waiting.size >= MAX_IN_FLIGHT) await Promise.race(this.#waiting)
      // Lost while it waited for its turn: somebody else may have it.
      if (!this.#held.has(lease)) continue
      if (this.#stopped || this.#pausedUntilMs > performance.now() || this.#parts.receiver.quarantined) {
        this.#add({ lease, as: "retry", delayMs: 0, counted: false })
      } else this.#call(lease)
    }
    void this.#settle()
  }

  #call(lease: Lease): void {
    let waiting: void | Promise<void>
    try {
      waiting = this.#parts.receiver.receive(this.#toMessage(lease))
    } catch (error) {
      this.#failed(lease, error)
      return
    }
    if (waiting === undefined) this.#done(lease)
    else this.#track(lease, waiting)
  }

  #track(lease: Lease, work: Promise<void>): void {
    const tracked = work
      .then(
        () => this.#done(lease),
        (error: unknown) => this.#failed(lease, error),
      )
      .then(() => {
        this.#waiting.delete(tracked)
        void this.#settle()
      })
    this.#waiting.add(tracked)
  }

  #toMessage({ id, value, key, attempt, pushedAtMs, tenant }: Lease): ReceivedMessage {
    const { queue } = this.#parts.settings
    return { id, queue, value: JSON.parse(value), key, attempt, pushedAtMs, tenantId: tenant }
  }

  #done(lease: Lease): void {
    this.#parts.counters.delivered++
    this.#add({ lease, as: "done" })
  }

  #failed(lease: Lease, error: unknown): void {
    const { settings, counters, logger, receiver } = this.#parts
    const code = error instanceof BextError ? error.code : "E_INTERNAL"
    if (UNCOUNTED.has(code) || (this.#stopped && code === "E_GUEST_EXITED")) {
      const delayMs = code === "E_INSTANCE_RESET" ? backoffMs(settings, lease.attempt) : 0
      if (delayMs === 0) this.#pausedUntilMs = performance.now() + (SOON.has(code) ? OVERLOADED_MS : REFUSED_MS)
      this.#add({ lease, as: "retry", delayMs, counted: false })
      return
    }
    counters.failed++
    if (lease.attempt < settings.maxAttempts) {
      this.#add({ lease, as: "retry", delayMs: backoffMs(settings, lease.attempt), counted: true })
      return
    }
    counters.dead++
    const { queue } = settings
    const what = printableLines(error instanceof Error ? error.message : String(error))
    logger.error(
      { plugin: receiver.name, queue, code, id: lease.id },
      `queue ${queue}: message ${lease.id} is a dead letter after ${lease.attempt} attempts: ${what}`,
    )
    this.#add({ lease, as: "dead", error: what })
  }

  #add(outcome: Outcome): void {
    this.#outcomes.push(outcome)
  }

  /** Tells the store what became of messages. What it cannot take now is tried again with the next. Never rejects. */
  #settle(): Promise<void> {
    if (this.#settling === null && this.#outcomes.length > 0) this.#settling = this.#settleAll()
    return this.#settling ?? Promise.resolve()
  }

  async #settleAll(): Promise<void> {
    while (this.#outcomes.length > 0) {
      const outcomes = this.#outcomes
      this.#outcomes = []
      try {
        this.#parts.counters.lost += await this.#parts.store.settle(this.#parts.settings, outcomes)
        for (const { lease } of outcomes) this.#held.delete(lease)
      } catch {
        this.#outcomes = [...outcomes, ...this.#outcomes]
        break
      }
    }
    // In the same turn as the last look: an outcome that is added later finds nobody at work, and begins anew.
    this.#settling = null
  }

  /** Keeps what is held while handlers are at work or the store is out of order. */
  async #extend(): Promise<void> {
    await this.#settle()
    if (this.#held.size === 0) return
    try {
      for (const lease of await this.#parts.store.extend(this.#parts.settings, [...this.#held]))
        this.#held.delete(lease)
    } catch {
      // The store has told the operator; the next beat tries again.
    }
  }

  /** Until messages may be there. */
  async #idle(nextMs: number | null): Promise<void> {
    if (!this.#woken) await this.#wait("news", nextMs === null ? undefined : Math.min(Math.max(nextMs, 1), LOOK_MS))
  }

  /** Whatever happens, except the end. */
  #pause(ms: number): Promise<void> {
    return this.#wait("end", ms)
  }

  async #wait(until: "news" | "end", ms: number | undefined): Promise<void> {
    if (this.#stopped) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = { until, resolve }
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms)
    await promise
    this.#wake = null
    clearTimeout(timer)
  }

  #wakeUp(): void {
    this.#woken = true
    if (this.#wake !== null && (this.#stopped || this.#wake.until === "news")) this.#wake.resolve()
  }
}

/** Exponential, the later half of it at random: messages that failed together do not come back together. */
function backoffMs({ backoffMs: firstMs, maxBackoffMs }: QueueSettings, attempt: number): number {
  const ms = Math.min(firstMs * 2 ** Math.min(attempt - 1, 40), maxBackoffMs)
  return Math.ceil(ms / 2 + (Math.random() * ms) / 2)
}
