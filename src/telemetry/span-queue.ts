import { setTimeout as sleep } from "node:timers/promises"
import type { Span } from "./span.ts"

/** Takes spans to where they are kept. */
export interface SpanSender {
  /** For people; without anything secret. */
  readonly destination: string
  /**
   * @param signal - Aborting ends the attempt at once.
   * @returns How many the other end did not accept for good.
   * @throws {SendFailure} Nothing was accepted. Any other error means the same, for good.
   */
  send(spans: readonly Span[], signal: AbortSignal): Promise<number>
  close(): Promise<void>
}

/** An attempt that may succeed later. */
export class SendFailure extends Error {
  /** When the other end wants the next attempt, in milliseconds from now; null when it did not say. */
  readonly retryAfterMs: number | null

  constructor(what: string, retryAfterMs: number | null, options?: ErrorOptions) {
    super(what, options)
    this.retryAfterMs = retryAfterMs
  }
}

export interface SpanCounts {
  exported: number
  dropped: number
}

export interface SpanQueueOptions {
  readonly sender: SpanSender
  /** Spans that may wait or be on their way; more are dropped. */
  readonly maxSpans: number
  /** Milliseconds for one attempt. */
  readonly timeoutMs: number
  readonly counts: SpanCounts
  readonly warn: (message: string) => void
}

/** Spans of one message. Encoding them holds up the serving thread for about a millisecond. */
const BATCH = 256
/** How long spans wait for others to go with them. */
const DELAY_MS = 1_000
/** For each message, the first included. */
const MAX_ATTEMPTS = 5
const MAX_PAUSE_MS = 30_000
/** How long the last spans may take when the server, or the configuration, ends. */
const FLUSH_MS = 3_000
/** Losses are logged at most this often. */
const WARNING_MS = 60_000

/**
 * Spans on their way out: one message at a time, in order, in the background. Whatever the other end does, nobody waits for
 * it and no more than `maxSpans` are in memory; what is lost is counted.
 */
export class SpanQueue implements AsyncDisposable {
  readonly #options: SpanQueueOptions
  readonly #waiting: Span[] = []
  /** Of the message that is being sent. */
  #onTheWay = 0
  #timer: NodeJS.Timeout | null = null
  #running: Promise<void> | null = null
  /** Aborted when the queue is to end: no pause is waited for any more. */
  readonly #ending = new AbortController()
  /** It has to be over: nothing is sent any more. */
  #over = false
  #attempt: AbortController | null = null
  #unreported = 0
  #lastReason = ""
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor(options: SpanQueueOptions) {
    this.#options = options
  }

  /** All of them, or none: half a trace misleads. */
  add(spans: readonly Span[]): void {
    if (this.#ending.signal.aborted) {
      this.#drop(spans.length, "tracing has ended")
      return
    }
    if (this.#waiting.length + this.#onTheWay + spans.length > this.#options.maxSpans) {
      this.#drop(spans.length, `${this.#options.sender.destination} cannot keep up`)
      return
    }
    this.#waiting.push(...spans)
    this.#wake()
  }

  /** Sends what waits, for a bounded time. Never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
    const force = setTimeout(() => this.#force(), FLUSH_MS)
    await this.#running
    await this.#run()
    clearTimeout(force)
    await this.#options.sender.close()
    this.#report()
  }

  #force(): void {
    this.#over = true
    this.#attempt?.abort()
  }

  #wake(): void {
    if (this.#running !== null) return
    if (this.#waiting.length >= BATCH) this.#start()
    else this.#timer ??= setTimeout(() => this.#start(), DELAY_MS).unref()
  }

  #start(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#running = this.#run().finally(() => {
      this.#running = null
      if (this.#waiting.length > 0 && !this.#ending.signal.aborted) this.#wake()
    })
  }

  async #run(): Promise<void> {
    do {
      const batch = this.#waiting.splice(0, BATCH)
      this.#onTheWay = batch.length
      if (batch.length > 0) await this.#deliver(batch)
      this.#onTheWay = 0
    } while (this.#waiting.length >= BATCH || (this.#ending.signal.aborted && this.#waiting.length > 0))
  }

  async #deliver(batch: readonly Span[]): Promise<void> {
    const { counts, sender } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        const rejected = Math.min(await this.#send(batch), batch.length)
        counts.exported += batch.length - rejected
        if (rejected > 0) this.#drop(rejected, `${sender.destination} did not accept them`)
        return
      } catch (error) {
        if (this.#mayTryAgain(error, attempt)) await this.#pause(error, attempt)
        else return this.#drop(batch.length, `${sender.destination}: ${error instanceof Error ? error.message : error}`)
      }
    }
  }

  async #send(batch: readonly Span[]): Promise<number> {
    const { sender, timeoutMs } = this.#options
    const attempt = new AbortController()
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      attempt.abort()
    }, timeoutMs)
    this.#attempt = attempt
    if (this.#over) attempt.abort()
    try {
      return await sender.send(batch, attempt.signal)
    } catch (error) {
      if (timedOut) throw new SendFailure(`no answer within ${timeoutMs} ms`, null, { cause: error })
      throw error
    } finally {
      clearTimeout(timer)
      this.#attempt = null
    }
  }

  #mayTryAgain(error: unknown, attempt: number): error is SendFailure {
    if (!(error instanceof SendFailure) || attempt >= MAX_ATTEMPTS) return false
    // At the end there is one more attempt for what was pausing, and none for what failed just now.
    return !this.#ending.signal.aborted
  }

  async #pause({ retryAfterMs }: SendFailure, attempt: number): Promise<void> {
    // Between half and all of it, so that many servers do not come back at the same moment.
    const backOffMs = DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2)
    const options = { ref: false, signal: this.#ending.signal }
    await sleep(Math.min(retryAfterMs ?? backOffMs, MAX_PAUSE_MS), undefined, options).catch(() => {})
  }

  #drop(count: number, why: string): void {
    this.#options.counts.dropped += count
    this.#unreported += count
    this.#lastReason = why
    if (performance.now() - this.#warnedMs >= WARNING_MS) this.#report()
  }

  #report(): void {
    if (this.#unreported === 0) return
    this.#options.warn(`${this.#unreported} trace spans were dropped: ${this.#lastReason}`)
    this.#unreported = 0
    this.#warnedMs = performance.now()
  }
}
