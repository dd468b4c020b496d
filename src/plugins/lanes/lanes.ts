import type { Logger } from "pino"
import type { Sandbox, SandboxTier, Tier } from "../../sandbox/sandbox.ts"
import { Lane } from "./lane.ts"
import { sharedNowMs } from "./lane-protocol.ts"
import { type LanedOptions, LanedSandbox } from "./laned-sandbox.ts"

export interface LanesOptions {
  /** Module of the thread. */
  readonly entry: URL
  /** Folder of the state. */
  readonly stateDir: string
  readonly logger: Logger
  /** How long a plugin must have been below half of its share before it comes back; doubled by each move. Default 60 s. */
  readonly calmMs?: number
  readonly clock?: LaneClock
}

/** Clocks of the serving thread, milliseconds. */
export interface LaneClock {
  now(): number
  /** CPU time of the thread. */
  cpu(): number
  /** Time that the event loop did not wait. */
  active(): number
}

const THREAD_CLOCK: LaneClock = {
  now: () => performance.now(),
  cpu() {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  },
  active: () => performance.eventLoopUtilization().active,
}

/** What a share is a share of. */
const WINDOW_MS = 1000
/** How often is looked: a plugin is over its share as soon as it has used that much of a window. */
const LOOK_MS = 100
const DEFAULT_CALM_MS = 60_000
/** Calls of all plugins together that may wait for the lane, and the bytes of their requests. */
const MAX_WAITING = 512
const MAX_BYTES = 64 * 1024 * 1024

/** What one look at all plugins has in common. */
export interface Look {
  readonly nowMs: number
  /** Milliseconds of the window so far. */
  readonly windowMs: number
  /** Whether the window ends with this look. */
  readonly ends: boolean
  /**
   * Part of the time at work that the thread was really running: the rest had others of an overloaded machine. Asked only
   * when a plugin seems to be over its share.
   */
  running(): number
}

/**
 * Watches how much of the serving thread each plugin uses, and has the thread to which those move that use too much. There
 * is one such thread, started when first needed.
 */
export class Lanes implements AsyncDisposable {
  readonly calmMs: number
  readonly #options: LanesOptions
  readonly #clock: LaneClock
  readonly #sandboxes = new Set<LanedSandbox>()
  readonly #tiers = new Map<Tier, SandboxTier>()
  #timer: NodeJS.Timeout | null = null
  #lane: Lane | null = null
  #ended: Promise<void>[] = []
  #disposed = false
  #waiting = 0
  #bytes = 0
  #window = { startMs: 0, cpuMs: 0, activeMs: 0 }

  constructor(options: LanesOptions) {
    this.#options = options
    this.#clock = options.clock ?? THREAD_CLOCK
    this.calmMs = options.calmMs ?? DEFAULT_CALM_MS
  }

  /** Puts a sandbox under watch; not `ready` yet. */
  wrap(tier: SandboxTier, sandbox: Sandbox, options: LanedOptions): LanedSandbox {
    this.#tiers.set(tier.tier, tier)
    return new LanedSandbox(sandbox, options, this)
  }

  /** The thread, started if there is none. @throws {Error} after disposal: nobody would end it. */
  get lane(): Lane {
    if (this.#disposed) throw new Error("the server has ended")
    if (this.#lane === null || this.#lane.gone) this.#lane = this.#start()
    return this.#lane
  }

  watch(sandbox: LanedSandbox): void {
    this.#sandboxes.add(sandbox)
    if (this.#timer !== null) return
    this.#open(this.#clock.now())
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  unwatch(sandbox: LanedSandbox): void {
    this.#sandboxes.delete(sandbox)
    if (this.#sandboxes.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  /** Looks once at every plugin; a timer does. */
  look(): void {
    const nowMs = this.#clock.now()
    const windowMs = nowMs - this.#window.startMs
    let running: number | undefined
    const look: Look = {
      nowMs,
      windowMs,
      ends: windowMs >= WINDOW_MS,
      running: () => {
        running ??= this.#running()
        return running
      },
    }
    for (const sandbox of this.#sandboxes) sandbox.look(look)
    this.#lane?.checkAlive(sharedNowMs())
    if (look.ends) this.#open(nowMs)
  }

  /** @returns false when too much waits already. */
  admit(bytes: number): boolean {
    if (this.#waiting >= MAX_WAITING || (this.#bytes > 0 && this.#bytes + bytes > MAX_BYTES)) return false
    this.#waiting++
    this.#bytes += bytes
    return true
  }

  release(bytes: number): void {
    this.#waiting--
    this.#bytes -= bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    if (this.#lane !== null) this.#ended.push(this.#lane[Symbol.asyncDispose]())
    await Promise.all(this.#ended)
  }

  #open(startMs: number): void {
    this.#window = { startMs, cpuMs: this.#clock.cpu(), activeMs: this.#clock.active() }
  }

  #running(): number {
    const { cpuMs, activeMs } = this.#window
    const active = this.#clock.active() - activeMs
    return active <= 0 ? 1 : Math.min(1, (this.#clock.cpu() - cpuMs) / active)
  }

  #start(): Lane {
    if (this.#lane !== null) this.#ended.push(this.#lane[Symbol.asyncDispose]())
    const { entry, stateDir, logger } = this.#options
    const opened = new Map<Tier, Moving>()
    const open = (tier: Tier) => {
      const { moving } = this.#tiers.get(tier)!
      if (moving === undefined) throw new Error(`guests of ${tier} cannot change threads`)
      opened.set(tier, moving)
      return moving.openThread()
    }
    const movable = Array.from(this.#tiers).filter(([, { moving }]) => moving !== undefined)
    return new Lane({
      entry,
      data: () => ({ stateDir, tiers: new Map(movable.map(([tier]) => [tier, open(tier)])) }),
      openTier: open,
      report: (message) => logger.warn({ lane: "worker" }, message),
      ended() {
        for (const moving of opened.values()) moving.closeThread()
      },
    })
  }
}

type Moving = NonNullable<SandboxTier["moving"]>

/** "43 %" */
export function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
