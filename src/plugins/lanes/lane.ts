import { Worker } from "node:worker_threads"
import { PluginError, toPlainError } from "../../errors.ts"
import type { GuestServices } from "../../host/services.ts"
import type { GuestCopy, GuestState, Tier } from "../../sandbox/sandbox.ts"
import {
  type FromLane,
  type LaneCall,
  type LaneRights,
  type LaneThreadData,
  ownBytes,
  sharedNowMs,
  type ToLane,
} from "./lane-protocol.ts"

/** One guest's end of a lane, in the serving thread. */
export interface LaneGuest {
  readonly rights: LaneRights
  readonly services: Pick<GuestServices, "fetch" | "log" | "metric">
  /** The guest wanted to read a header field that is hidden from it. */
  hidden(header: string): void
  answered(id: number, answer: Answer): void
  /** The call waits; the lane is free for others. */
  waits(id: number): void
  /** The thread is gone, and the guest's memory with it. None of its calls will be answered. */
  lost(reason: string): void
}

export type Answer = Extract<FromLane, { type: "answer" }>

export interface LaneOptions {
  /** Module of the thread. */
  readonly entry: URL
  readonly data: () => LaneThreadData
  /** What the thread needs for a tier that is not in `data`. */
  readonly openTier: (tier: Tier) => unknown
  /** For the operator. */
  readonly report: (message: string) => void
  /** The thread has ended. */
  readonly ended: () => void
}

/** JavaScript memory of the thread; guests' memory is not in it. */
const HEAP_MB = 512
/** What the thread may take to start, on a machine that has no time for it. */
const START_MS = 30_000
/** What the lane may take to save its storage when it ends. */
const END_MS = 5_000

/** A thread that runs guests, and what the serving thread owes and is owed there. */
export class Lane implements AsyncDisposable {
  readonly #options: LaneOptions
  readonly #worker: Worker
  /** Those the thread has. */
  readonly #tiers: Set<Tier>
  readonly #guests = new Map<number, LaneGuest>()
  /** Guests whose state is on its way back. */
  readonly #taken = new Map<number, (state: GuestState | null) => void>()
  readonly #fetches = new Map<number, AbortController>()
  /** Calls that are not answered, and the wall time of each; those given up too. */
  readonly #owed = new Map<number, number>()
  #lastGuest = 0
  #lastCall = 0
  /** When the thread last said something, or got something to do after a pause. */
  #aliveMs = sharedNowMs()
  #gone = false
  readonly #up = Promise.withResolvers<void>()
  readonly #exited: Promise<void>

  constructor(options: LaneOptions) {
    this.#options = options
    const data = options.data()
    this.#tiers = new Set(data.tiers.keys())
    this.#worker = new Worker(options.entry, {
      workerData: data,
      execArgv: ["--disable-warning=ExperimentalWarning"],
      env: {},
      name: "bext lane",
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    })
    const timer = setTimeout(() => this.kill("did not start"), START_MS).unref()
    // Whoever waits for it is told; when nobody does, nobody has to be.
    this.#up.promise.finally(() => clearTimeout(timer)).catch(() => {})
    this.#worker.on("message", (message: FromLane) => this.#receive(message))
    this.#worker.on("error", (error: Error) => this.#end(`failed: ${error.message}`))
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#exited = promise
    this.#worker.on("exit", (code) => {
      this.#end(`ended (${code})`)
      resolve()
    })
  }

  get gone(): boolean {
    return this.#gone
  }

  /** Resolves once the thread has started; rejects when it does not. */
  get up(): Promise<void> {
    return this.#up.promise
  }

  /** @returns the guest's number here. */
  open(guest: LaneGuest, copy: GuestCopy, state: GuestState): number {
    const number = ++this.#lastGuest
    this.#guests.set(number, guest)
    const { tier } = copy
    if (!this.#tiers.has(tier)) {
      this.#tiers.add(tier)
      this.#post({ type: "tier", tier, part: this.#options.openTier(tier) })
    }
    this.#post({ type: "open", guest: number, copy, state, rights: guest.rights })
    return number
  }

  /** @returns the call's number here. */
  call(guest: number, call: LaneCall): number {
    const id = ++this.#lastCall
    if (this.#owed.size === 0) this.#aliveMs = sharedNowMs()
    this.#owed.set(id, call.limits.wallMs)
    this.#post({ type: "call", guest, id, call })
    return id
  }

  abort(id: number): void {
    this.#post({ type: "abort", id })
  }

  /** @returns the state of a guest that has left the lane thereby; null: it was at work, and stays. */
  take(guest: number): Promise<GuestState | null> {
    const { promise, resolve } = Promise.withResolvers<GuestState | null>()
    this.#taken.set(guest, resolve)
    this.#post({ type: "take", guest })
    return promise
  }

  close(guest: number): void {
    this.#guests.delete(guest)
    this.#post({ type: "close", guest })
  }

  /** Ends a thread that has been silent for four times the longest time any of its calls may take. */
  checkAlive(nowMs: number): void {
    if (this.#owed.size === 0 || this.gone) return
    const longestMs = Math.max(...this.#owed.values())
    if (nowMs - this.#aliveMs > longestMs * 4 + GRACE_MS) this.kill("answered nothing any more and was ended")
  }

  kill(reason: string): void {
    this.#end(reason)
    void this.#worker.terminate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.gone) {
      this.#post({ type: "end" })
      const timer = setTimeout(() => this.#worker.terminate(), END_MS)
      await this.#exited
      clearTimeout(timer)
    }
    await this.#exited
  }

  #receive(message: FromLane): void {
    if (this.gone) return
    this.#aliveMs = sharedNowMs()
    switch (message.type) {
      case "up":
        this.#up.resolve()
        break
      case "answer":
        this.#owed.delete(message.id)
        this.#guests.get(message.guest)?.answered(message.id, message)
        break
      case "waits":
        this.#guests.get(message.guest)?.waits(message.id)
        break
      case "state":
        if (message.state !== null) this.#guests.delete(message.guest)
        this.#taken.get(message.guest)?.(message.state)
        this.#taken.delete(message.guest)
        break
      case "fetch":
        void this.#fetch(message)
        break
      case "cancel":
        this.#fetches.get(message.id)?.abort()
        break
      case "words":
        this.#say(message)
        break
      case "trouble":
        this.#options.report(message.message)
    }
  }

  async #fetch({ guest: number, id, request }: Extract<FromLane, { type: "fetch" }>): Promise<void> {
    const guest = this.#guests.get(number)
    const abort = new AbortController()
    this.#fetches.set(id, abort)
    try {
      if (guest === undefined) throw new PluginError("E_FETCH_FAILED", "guest", "the plugin was unloaded")
      const response = await guest.services.fetch(request, abort.signal)
      this.#post({ type: "fetched", id, response: { ...response, body: ownBytes(response.body) } })
    } catch (error) {
      this.#post({ type: "fetched", id, response: toPlainError(error) })
    }
    this.#fetches.delete(id)
  }

  #say({ guest: number, words }: Extract<FromLane, { type: "words" }>): void {
    const guest = this.#guests.get(number)
    if (guest === undefined) return
    for (const [level, line] of words.lines) guest.services.log(level, line)
    for (const [name, value, tags] of words.samples) guest.services.metric(name, value, tags)
    for (const header of words.hidden) guest.hidden(header)
  }

  /** What was in the thread is gone, and everybody who waits for it has to know. */
  #end(reason: string): void {
    if (this.#gone) return
    this.#gone = true
    this.#options.ended()
    this.#up.reject(new Error(`the thread ${reason}`))
    for (const abort of this.#fetches.values()) abort.abort()
    this.#owed.clear()
    for (const resolve of this.#taken.values()) resolve(null)
    this.#taken.clear()
    const guests = [...this.#guests.values()]
    this.#guests.clear()
    for (const guest of guests) guest.lost(reason)
  }

  #post(message: ToLane): void {
    if (!this.gone) this.#worker.postMessage(message)
  }
}

/** Added to what a silent thread is given: it may just have been starting. */
const GRACE_MS = 2_000
