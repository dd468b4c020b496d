import { fromPlainError, PluginError } from "../../errors.ts"
import type { Host } from "../../host/create-host.ts"
import { createGuestServices } from "../../host/create-services.ts"
import type {
  GrantedService,
  GuestFetchRequest,
  GuestFetchResponse,
  GuestMessage,
  GuestServices,
  GuestStorage,
  LogLevel,
} from "../../host/services.ts"
import { TokenBucket } from "../../host/token-bucket.ts"
import type { Json } from "../../sandbox/sandbox.ts"
import { type FromLane, type LaneRights, type LaneWords, ownBytes, type ToLane } from "./lane-protocol.ts"

/** What is sent on at most; the serving thread has its own, lower limits and says what it drops. */
const LINES_PER_MINUTE = 6000
const SAMPLES_PER_MINUTE = 600_000
/** Beyond what the plugin may fetch: those that are refused are work of the serving thread too. */
const FURTHER_FETCHES_PER_MINUTE = 600
/** Characters of a line. The serving thread cuts it finally, after it has masked what is secret. */
const MAX_LINE = 8192
/** Tenants that are remembered: to look again costs little. */
const MAX_TENANTS = 1000
/** Words that wait to be sent together. */
const MAX_WORDS = 1000

type Answer = Extract<ToLane, { type: "fetched" }>["response"]

/** Fetches of all guests of the lane that the serving thread does for them: it keeps count of what each may do. */
export class LaneFetches {
  readonly #post: (message: FromLane) => void
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #last = 0

  constructor(post: (message: FromLane) => void) {
    this.#post = post
  }

  async fetch(guest: number, plugin: string, request: GuestFetchRequest, signal: AbortSignal) {
    const id = ++this.#last
    const { promise, resolve } = Promise.withResolvers<Answer>()
    const cancel = () => this.#post({ type: "cancel", id })
    this.#waiting.set(id, resolve)
    signal.addEventListener("abort", cancel, { once: true })
    this.#post({ type: "fetch", guest, id, request: { ...request, body: ownBytes(request.body) } })
    const answer = await promise
    signal.removeEventListener("abort", cancel)
    if ("status" in answer) return answer
    throw fromPlainError(answer, plugin)
  }

  answered(id: number, answer: Answer): void {
    this.#waiting.get(id)?.(answer)
    this.#waiting.delete(id)
  }
}

/** The services of one guest in a lane: storage, secrets and settings are here, all else is asked of the serving thread. */
export class LaneServices implements GuestServices {
  readonly config: Json
  readonly #bound: ReturnType<typeof createGuestServices>
  readonly #guest: number
  readonly #plugin: string
  readonly #fetches: LaneFetches
  readonly #post: (message: FromLane) => void
  readonly #lines = new TokenBucket(LINES_PER_MINUTE, performance.now())
  readonly #samples = new TokenBucket(SAMPLES_PER_MINUTE, performance.now())
  readonly #attempts: TokenBucket
  /** Tenants whose storage is current, or will be. */
  readonly #tenants = new Map<string | null, "current" | Promise<void>>()
  #words: LaneWords | null = null

  constructor(guest: number, rights: LaneRights, host: Host, fetches: LaneFetches, post: (message: FromLane) => void) {
    this.#guest = guest
    this.#plugin = rights.plugin
    this.#fetches = fetches
    this.#post = post
    this.#attempts = new TokenBucket(
      rights.permissions.max_fetch_per_minute + FURTHER_FETCHES_PER_MINUTE,
      performance.now(),
    )
    this.#bound = createGuestServices(host, rights)
    this.config = this.#bound.config
  }

  granted(service: GrantedService): boolean {
    return this.#bound.granted(service)
  }

  /**
   * As of `BoundServices`. The first time for a tenant, what the guest left here when it was in this lane before is loaded
   * again: it has written in the serving thread since.
   */
  prepare(tenant: string | null): void | Promise<void> {
    const known = this.#tenants.get(tenant)
    if (known === "current") return this.#bound.prepare(tenant)
    if (known !== undefined) return known
    const refreshing = this.#refresh(tenant)
    if (this.#tenants.size === MAX_TENANTS) this.#tenants.clear()
    this.#tenants.set(tenant, refreshing)
    return refreshing
  }

  storage(tenant: string | null): GuestStorage {
    return this.#bound.storage(tenant)
  }

  async fetch(request: GuestFetchRequest, signal: AbortSignal): Promise<GuestFetchResponse> {
    if (!this.#attempts.take(performance.now())) {
      throw new PluginError("E_LIMIT_FETCH", this.#plugin, "too many fetches a minute, with those that were refused")
    }
    return this.#fetches.fetch(this.#guest, this.#plugin, request, signal)
  }

  push(queue: string, message: GuestMessage, tenant: string | null): Promise<string> {
    return this.#bound.push(queue, message, tenant)
  }

  secret(name: string): string {
    return this.#bound.secret(name)
  }

  metric(name: string, value: number, tags: Readonly<Record<string, string>>): void {
    if (this.#samples.take(performance.now())) this.#say((words) => words.samples.push([name, value, tags]))
  }

  log(level: LogLevel, message: string): void {
    if (!this.#lines.take(performance.now())) return
    // Masked before it is cut: half a secret is one too.
    const line = this.#bound.mask(message).slice(0, MAX_LINE)
    this.#say((words) => words.lines.push([level, line]))
  }

  hidden(header: string): void {
    this.#say((words) => words.hidden.push(header))
  }

  /** Everything that was written is in the store, and on disk. */
  flush(): Promise<void> {
    return this.#bound.flushStorage()
  }

  /** Sends what the guest said so far. */
  send(): void {
    const words = this.#words
    this.#words = null
    if (words !== null) this.#post({ type: "words", guest: this.#guest, words })
  }

  async #refresh(tenant: string | null): Promise<void> {
    try {
      await this.#bound.prepare(tenant)
      await this.#bound.refreshStorage(tenant)
      this.#tenants.set(tenant, "current")
    } catch (error) {
      this.#tenants.delete(tenant)
      throw error
    }
  }

  #say(add: (words: LaneWords) => void): void {
    if (this.#words === null) {
      this.#words = { lines: [], samples: [], hidden: [] }
      // In case no answer comes soon that takes it along.
      setImmediate(() => this.send())
    }
    add(this.#words)
    const { lines, samples, hidden } = this.#words
    if (lines.length + samples.length + hidden.length >= MAX_WORDS) this.send()
  }
}
