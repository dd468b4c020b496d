import { setTimeout as delay } from "node:timers/promises"
import type { Logger } from "pino"
import { fromPlainError, PluginError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import type { BoundServices } from "../../host/create-services.ts"
import type {
  ExchangeData,
  HookCall,
  InstanceMode,
  Json,
  MovableSandbox,
  PortableExchange,
  Sandbox,
} from "../../sandbox/sandbox.ts"
import type { Answer, Lane, LaneGuest } from "./lane.ts"
import { type LaneCall, type LaneRights, NO_USAGE, ownBytes, sharedNowMs } from "./lane-protocol.ts"
import type { LaneStatus } from "./lane-status.ts"
import { type Lanes, type Look, percent } from "./lanes.ts"

export interface LanedOptions {
  readonly wanted: LaneStatus["wanted"]
  /** Part of the serving thread it may use, above 0, at most 1. */
  readonly share: number
  readonly instance: InstanceMode
  readonly rights: LaneRights
  readonly services: Pick<BoundServices, "fetch" | "log" | "metric" | "flushStorage" | "refreshStorage">
  readonly hidden: (header: string) => void
  readonly logger: Logger
}

/** Calls of one plugin that may wait for their turn, and the bytes of their requests. */
const MAX_WAITING = 64
const MAX_BYTES = 16 * 1024 * 1024
/** Calls of one plugin in the lane, those included that wait for something of their own. */
const MAX_CALLS = 1000
/** Above its wall time, after which the serving thread gives up a call that the lane does not answer. */
const LATE_MS = 200
/** A plugin that could not move stays for so long. */
const RETRY_MS = 60_000
/** Longest time a plugin must have been calm to come back. */
const MAX_CALM_MS = 3_600_000
/**
 * What a call in a lane costs the serving thread itself, roughly: to send a guest away whose calls take less would give
 * nobody anything. One that is over its share with them has as many requests as that.
 */
const HOP_MS = 0.25
/** Calls are held for this long while the thread of the lane starts. On a machine that is too busy, the guest goes on here. */
const START_HOLD_MS = 2_000
/** How often is looked whether a guest that waits to leave is idle. */
const IDLE_POLL_MS = 5

/** A call that is not in this thread. */
interface Pending {
  readonly call: HookCall
  readonly data: ExchangeData | null
  readonly startedMs: number
  readonly bytes: number
  readonly resolve: (result: Json | undefined | Promise<Json | undefined>) => void
  readonly reject: (error: unknown) => void
  unwatch: () => void
  /** Its number in the lane; 0 while it is held here. */
  id: number
  /** Whether it counts as waiting for its turn. */
  waits: boolean
  /** Whether whoever called has an answer. */
  over: boolean
}

/**
 * A sandbox whose guest runs in the serving thread as long as it keeps to its share of it, and in a lane otherwise. A
 * guest is in one place at a time; calls that come while it moves wait, in order.
 */
export class LanedSandbox implements Sandbox, LaneGuest {
  readonly rights: LaneRights
  readonly services: LanedOptions["services"]
  readonly #home: Sandbox
  readonly #options: LanedOptions
  readonly #lanes: Lanes
  #where: "inline" | "leaving" | "worker" | "returning" = "inline"
  #lane: Lane | null = null
  /** Its number in the lane. */
  #number = 0
  /** Calls that wait until the move is over. */
  #held: Pending[] = []
  /** Calls in the lane, by number; those given up stay until the lane is through with them. */
  readonly #sent = new Map<number, Pending>()
  #waiting = 0
  #bytes = 0
  #disposed = false
  /** Whether it will leave as soon as there is a thread. */
  #starting = false
  /** What the lane's sandbox said last. */
  #usage = NO_USAGE
  /** Of sandboxes in lanes that are no more. */
  #past = { generation: 0, evictions: 0, busyMs: 0, entries: 0 }
  // The share
  #markMs = 0
  #markEntries = 0
  /** When the guest has been on the stack of this thread for so long, it is time to look. */
  #alarmMs = Number.POSITIVE_INFINITY
  #used = 0
  #moves = 0
  #calmSinceMs = 0
  #notBeforeMs = 0
  #reason: string | null = null
  #movedAtMs: number | null = null

  constructor(home: Sandbox, options: LanedOptions, lanes: Lanes) {
    this.#home = home
    this.#options = options
    this.#lanes = lanes
    this.rights = options.rights
    this.services = options.services
  }

  get hooks(): ReadonlySet<HookName> {
    return this.#home.hooks
  }

  get generation(): number {
    return this.#home.generation + this.#past.generation + this.#usage.generation
  }

  get memoryBytes(): number {
    return this.#home.memoryBytes + this.#usage.memoryBytes
  }

  get instances(): number {
    return this.#home.instances + this.#usage.instances
  }

  get evictions(): number {
    return this.#home.evictions + this.#past.evictions + this.#usage.evictions
  }

  get busyMs(): number {
    return this.#home.busyMs + this.#past.busyMs + this.#usage.busyMs
  }

  get entries(): number {
    return this.#home.entries + this.#past.entries + this.#usage.entries
  }

  get idle(): boolean {
    return this.#home.idle && this.#held.length === 0 && this.#sent.size === 0
  }

  get status(): LaneStatus {
    const { wanted, share } = this.#options
    return {
      now: this.#where === "worker" || this.#where === "returning" ? "worker" : "inline",
      wanted,
      share,
      used: this.#used,
      reason: this.#reason,
      movedAtMs: this.#movedAtMs,
      waiting: this.#waiting,
    }
  }

  async ready(start: HookCall | null): Promise<void> {
    await this.#home.ready(start)
    // To load is not to serve.
    this.#mark()
    this.#lanes.watch(this)
    if (this.#options.wanted === "worker") await this.#leave('lane = "worker"')
  }

  call(call: HookCall): Json | undefined | Promise<Json | undefined> {
    if (this.#home.busyMs >= this.#alarmMs) {
      // Timers are late on a thread that is held up, and this is who may be holding it.
      this.#alarmMs = Number.POSITIVE_INFINITY
      this.#lanes.look()
    }
    return this.#where === "inline" ? this.#home.call(call) : this.#enqueue(call)
  }

  /** Compares what it used with its share, and gives up calls that are over time. */
  look(look: Look): void {
    const busyMs = this.busyMs - this.#markMs
    const { wanted, share } = this.#options
    const windowMs = Math.max(look.windowMs, 1000)
    const stays = this.#where !== "inline" || this.#starting || wanted !== "auto" || look.nowMs < this.#notBeforeMs
    const short = busyMs < (this.entries - this.#markEntries) * HOP_MS
    if (!stays && !short && busyMs > share * windowMs) {
      const used = (busyMs * look.running()) / windowMs
      if (used > share) {
        this.#used = used
        void this.#leave(`used ${percent(used)} of the thread, ${percent(share)} allowed`)
      }
    }
    if (look.ends) {
      this.#used = (busyMs / windowMs) * (this.#where === "inline" && busyMs > share * windowMs ? look.running() : 1)
      this.#mark()
      if (this.#where === "worker" && wanted === "auto") this.#considerReturn(look.nowMs)
    }
    if (this.#sent.size > 0 || this.#held.length > 0) this.#giveUpLate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.#lanes.unwatch(this)
    const gone = () => new PluginError("E_GUEST_EXITED", this.rights.plugin, "the plugin was unloaded")
    this.#failAll(gone)
    if (this.#lane !== null && !this.#lane.gone) this.#lane.close(this.#number)
    this.#lane = null
    this.#where = "inline"
    await this.#home[Symbol.asyncDispose]()
  }

  /** The window begins. */
  #mark(): void {
    this.#markMs = this.busyMs
    this.#markEntries = this.entries
    this.#alarmMs = this.#home.busyMs + this.#options.share * 1000
  }

  // --- Said by the lane

  answered(id: number, { usage, fuelUsed, result, changes, error }: Answer): void {
    this.#usage = usage
    const pending = this.#sent.get(id)
    if (pending === undefined) return
    this.#sent.delete(id)
    this.#begun(pending)
    if (pending.over) return
    pending.call.fuelUsed = fuelUsed
    if (error !== null) {
      this.#settle(pending, () => pending.reject(fromPlainError(error, this.rights.plugin)))
      return
    }
    if (changes !== null) (pending.call.exchange as PortableExchange).adopt(changes)
    this.#settle(pending, () => pending.resolve(result))
  }

  waits(id: number): void {
    const pending = this.#sent.get(id)
    if (pending !== undefined) this.#begun(pending)
  }

  hidden(header: string): void {
    this.#options.hidden(header)
  }

  lost(reason: string): void {
    this.#lane = null
    this.#retireUsage()
    this.#past.generation++
    const { plugin } = this.rights
    const error = () => new PluginError("E_INSTANCE_RESET", plugin, `the thread of its lane ${reason}`)
    for (const pending of this.#sent.values()) this.#fail(pending, error())
    this.#sent.clear()
    this.#options.logger.error(
      { plugin, lane: "worker" },
      `${plugin}: the thread of its lane ${reason}; it begins anew`,
    )
    if (this.#disposed) return
    this.#where = "worker"
    // One that starts already is the next one's; without calls nobody needs it yet.
    this.#release()
  }

  // --- Calls

  #enqueue(call: HookCall): Promise<Json | undefined> {
    const { plugin } = this.rights
    const data = call.exchange === null ? null : toData(call.exchange as PortableExchange)
    const bytes = sizeOf(call, data)
    const full =
      this.#waiting >= MAX_WAITING ||
      this.#sent.size >= MAX_CALLS ||
      (this.#bytes > 0 && this.#bytes + bytes > MAX_BYTES) ||
      !this.#lanes.admit(bytes)
    if (full) throw new PluginError("E_LANE_FULL", plugin, `${call.hook}: too much waits for its lane already`)
    this.#waiting++
    this.#bytes += bytes
    const { promise, resolve, reject } = Promise.withResolvers<Json | undefined>()
    const startedMs = sharedNowMs()
    const progress = { unwatch() {}, id: 0, waits: true, over: false }
    const pending: Pending = { call, data, startedMs, bytes, resolve, reject, ...progress }
    this.#watch(pending)
    if (this.#where === "worker") this.#send(pending)
    else this.#held.push(pending)
    return promise
  }

  #watch(pending: Pending): void {
    const { signal, hook } = pending.call
    if (signal === null) return
    const gone = () => {
      const { plugin } = this.rights
      this.#giveUp(
        pending,
        new PluginError("E_LIMIT_TIME", plugin, `${hook}: the caller gave up`, { cause: signal.reason }),
      )
    }
    // Later, so that whoever made the call can wait for its answer first.
    if (signal.aborted) queueMicrotask(gone)
    else signal.addEventListener("abort", gone)
    pending.unwatch = () => signal.removeEventListener("abort", gone)
  }

  #send(pending: Pending): void {
    const { hook, params, tenant, limits, leader } = pending.call
    if (this.#lane === null) this.#open(this.#home as MovableSandbox)
    const { data: exchange, startedMs } = pending
    const call: LaneCall = { hook, exchange, params, tenant, limits, leader, startedMs }
    pending.id = this.#lane!.call(this.#number, call)
    this.#sent.set(pending.id, pending)
  }

  /** Nobody waits for it any more. In the lane it still counts until it was looked at there. */
  #giveUp(pending: Pending, error: PluginError): void {
    if (pending.over) return
    if (pending.id === 0) this.#held = this.#held.filter((other) => other !== pending)
    else this.#lane?.abort(pending.id)
    if (pending.id === 0) this.#begun(pending)
    this.#settle(pending, () => pending.reject(error))
  }

  #giveUpLate(): void {
    const nowMs = sharedNowMs()
    const waiting = [...this.#sent.values(), ...this.#held]
    // The one that may be at work, of those that have not said that they wait for something of their own.
    const first = waiting.find((pending) => pending.waits)
    for (const pending of waiting) {
      const { hook, limits } = pending.call
      if (pending.over || nowMs < pending.startedMs + limits.wallMs + LATE_MS) continue
      const what = `${hook} was not answered within ${limits.wallMs} ms, waiting for its lane included`
      const code = pending.waits && pending !== first ? "E_LANE_FULL" : "E_LIMIT_TIME"
      this.#giveUp(pending, new PluginError(code, this.rights.plugin, what))
    }
  }

  #failAll(error: () => PluginError): void {
    for (const pending of [...this.#sent.values(), ...this.#held]) this.#fail(pending, error())
    this.#sent.clear()
    this.#held = []
  }

  #fail(pending: Pending, error: PluginError): void {
    this.#begun(pending)
    this.#settle(pending, () => pending.reject(error))
  }

  /** Its turn has come, or never will: it is no longer in anybody's way. */
  #begun(pending: Pending): void {
    if (!pending.waits) return
    pending.waits = false
    this.#waiting--
    this.#bytes -= pending.bytes
    this.#lanes.release(pending.bytes)
  }

  #settle(pending: Pending, answer: () => void): void {
    if (pending.over) return
    pending.over = true
    pending.unwatch()
    answer()
  }

  // --- Moves

  async #leave(reason: string): Promise<void> {
    const home = this.#home
    if (!isMovable(home)) {
      const because = home.staysBecause === undefined ? "" : `: ${home.staysBecause}`
      this.#stay(`${reason}; but this sandbox cannot change threads${because}`)
      // It never will: nobody has to hear of it again.
      this.#notBeforeMs = Number.POSITIVE_INFINITY
      return
    }
    this.#starting = true
    this.#where = "leaving"
    try {
      await this.#threadUp()
      if (this.#disposed) return
      this.#where = "leaving"
      // A fresh instance takes nothing along, and those at work may end here.
      while (this.#options.instance === "shared" && !home.idle && !this.#disposed) await delay(IDLE_POLL_MS)
      await this.#options.services.flushStorage()
      if (this.#disposed) return
      this.#open(home)
      this.#where = "worker"
      this.#moves++
      this.#note("worker", reason)
    } catch (error) {
      this.#stay(`${reason}; but it cannot move: ${String(error)}`)
    }
    this.#starting = false
    this.#release()
  }

  /** The neighbours have waited enough, so calls are held while the thread starts; but not for long. */
  async #threadUp(): Promise<void> {
    const { up } = this.#lanes.lane
    const late = await Promise.race([up.then(() => false), delay(START_HOLD_MS, true, { ref: false })])
    if (!late || this.#disposed) return
    this.#where = "inline"
    this.#release()
    await up
  }

  #open(home: MovableSandbox): void {
    this.#lane = this.#lanes.lane
    this.#number = this.#lane.open(this, home.copy(), home.takeState())
  }

  #considerReturn(nowMs: number): void {
    if (this.#used >= this.#options.share / 2) this.#calmSinceMs = nowMs
    if (this.#calmSinceMs === 0) this.#calmSinceMs = nowMs
    const calmMs = Math.min(this.#lanes.calmMs * 2 ** (this.#moves - 1), MAX_CALM_MS)
    if (nowMs - this.#calmSinceMs >= calmMs && this.#sent.size === 0) void this.#return(calmMs)
  }

  async #return(calmMs: number): Promise<void> {
    const lane = this.#lane
    if (lane === null) return
    this.#where = "returning"
    const state = await lane.take(this.#number)
    if (this.#disposed || this.#lane !== lane) return
    if (state === null) this.#where = "worker"
    else {
      await this.#refreshStorage()
      if (this.#disposed) return
      this.#lane = null
      this.#retireUsage()
      this.#past.generation++
      this.#continue(state)
      this.#where = "inline"
      this.#calmSinceMs = 0
      this.#note("inline", `used less than half of its share for ${Math.round(calmMs / 1000)} s`)
    }
    this.#release()
  }

  /** Never rejects: the guest is here, and what it wrote in the lane arrives as from any other process. */
  async #refreshStorage(): Promise<void> {
    const { plugin } = this.rights
    try {
      await this.#options.services.refreshStorage()
    } catch (error) {
      this.#options.logger.error(
        { plugin },
        `${plugin}: its storage could not be read after the move: ${String(error)}`,
      )
    }
  }

  #continue(state: Parameters<MovableSandbox["putState"]>[0]): void {
    try {
      ;(this.#home as MovableSandbox).putState(state)
    } catch (error) {
      const { plugin } = this.rights
      this.#options.logger.warn({ plugin }, `${plugin}: its state did not survive the move: ${String(error)}`)
    }
  }

  /** What it was told to do instead does not work. */
  #stay(reason: string): void {
    const { plugin } = this.rights
    this.#where = "inline"
    this.#notBeforeMs = performance.now() + RETRY_MS
    this.#reason = reason
    this.#options.logger.warn({ plugin, lane: "inline" }, `${plugin} stays in the serving thread: ${reason}`)
  }

  #note(lane: "worker" | "inline", reason: string): void {
    const { plugin } = this.rights
    const { share, logger } = this.#options
    this.#reason = reason
    this.#movedAtMs = Date.now()
    const where = lane === "worker" ? "a worker thread" : "the serving thread"
    logger.info({ plugin, lane, used: this.#used, share }, `${plugin} moved to ${where}: ${reason}`)
  }

  /** Calls that came during the move go on, in order. */
  #release(): void {
    const held = this.#held
    this.#held = []
    for (const pending of held) {
      if (this.#where === "worker") this.#send(pending)
      else this.#callHere(pending)
    }
  }

  #callHere(pending: Pending): void {
    const { hook, exchange, params, tenant, limits, leader, signal } = pending.call
    this.#begun(pending)
    pending.unwatch()
    const waitedMs = sharedNowMs() - pending.startedMs
    const call: HookCall = { hook, exchange, params, tenant, limits, leader, signal, waitedMs }
    const count = () => {
      pending.call.fuelUsed = call.fuelUsed ?? 0
    }
    try {
      const result = this.#home.call(call)
      if (!(result instanceof Promise)) count()
      pending.resolve(result instanceof Promise ? result.finally(count) : result)
    } catch (error) {
      count()
      pending.reject(error)
    }
  }

  #retireUsage(): void {
    const { generation, evictions, busyMs, entries } = this.#usage
    this.#past.generation += generation
    this.#past.evictions += evictions
    this.#past.busyMs += busyMs
    this.#past.entries += entries
    this.#usage = NO_USAGE
  }
}

function isMovable(sandbox: Sandbox): sandbox is MovableSandbox {
  return "takeState" in sandbox
}

function toData(exchange: PortableExchange): ExchangeData {
  const data = exchange.toData()
  const { requestBody, response } = data
  return {
    ...data,
    requestBody: { ...requestBody, bytes: requestBody.bytes && ownBytes(requestBody.bytes) },
    response: response && {
      ...response,
      body: response.body instanceof Uint8Array ? ownBytes(response.body) : response.body,
    },
  }
}

/** Characters of a header section on average, roughly: counted instead of measured. */
const FIELD_BYTES = 64

/** Roughly what a call takes in memory while it waits. */
function sizeOf({ params }: HookCall, data: ExchangeData | null): number {
  if (data === null) return params.length === 0 ? 0 : JSON.stringify(params).length
  const body = data.response?.body
  const bodies = (data.requestBody.bytes?.length ?? 0) + (body instanceof Uint8Array ? body.length : 0)
  return bodies + (data.requestHeaders.length + (data.response?.headers.length ?? 0)) * FIELD_BYTES
}
