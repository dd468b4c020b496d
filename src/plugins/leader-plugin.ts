import type { Logger } from "pino"
import { BextError } from "../errors.ts"
import type { RequestTrace } from "../message/request-trace.ts"
import type { EventRelay, EventRelays, RelayEnd } from "./event-relay.ts"
import { printableLines } from "./guest-text.ts"
import type { LeaderGuest } from "./leader-guest.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import type { MatchTarget } from "./plugin-match.ts"
import type { RequestCompleteEvent } from "./request-complete.ts"
import type { Role } from "./role.ts"
import { ServingPlugin } from "./serving-plugin.ts"

/** What such plugins of one process share. */
export interface Leading {
  readonly relays: EventRelays
  /** One of them has begun or stopped to take messages of queues. */
  readonly changed: () => void
}

export interface LeaderPluginOptions {
  readonly role: Readonly<Role>
  readonly logger: Logger
  /** Pause after the first failure, doubled with each. Default 1 s. */
  readonly retryMs?: number
}

const RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000
/** What the guest has begun may take this long when another process leads. */
const GRACE_MS = 5_000

/**
 * A plugin that runs in the process that leads, and there alone: from `on_server_start` to `cleanup` each time this process
 * becomes that one. Otherwise it passes finished requests on to where it runs.
 */
export class LeaderPlugin extends ServingPlugin implements RelayEnd {
  readonly #guest: LeaderGuest
  readonly #leading: Leading
  readonly #options: LeaderPluginOptions
  #relay: EventRelay | null = null
  #unwatch: () => void = () => {}
  #over = false
  #settling: Promise<void> | null = null
  /** Ends the pause before the next attempt. */
  #wake: () => void = () => {}

  constructor(plugin: LoadedPlugin, guest: LeaderGuest, leading: Leading, options: LeaderPluginOptions) {
    super(plugin, options.logger)
    this.#guest = guest
    this.#leading = leading
    this.#options = options
  }

  override get wantsRequestComplete(): boolean {
    return this.started ? super.wantsRequestComplete : (this.#relay?.open ?? false)
  }

  override get mayWantRequestComplete(): boolean {
    return true
  }

  /** In the process that leads, as for any plugin; in others nothing happens yet. */
  override async start(): Promise<void> {
    if (this.#relay !== null) return
    const { role } = this.#options
    // Who is about to begin is not begun a second time by a change of the role.
    const first = Promise.withResolvers<void>()
    this.#settling = first.promise
    this.#relay = this.#leading.relays.attach(this.plugin.name, this)
    this.#unwatch = role.watch?.(() => this.#settle()) ?? this.#unwatch
    try {
      if (role.leader) await this.begin()
    } finally {
      this.#settling = null
      first.resolve()
    }
    void this.#settle()
  }

  override requestComplete(event: RequestCompleteEvent, target: MatchTarget, trace: RequestTrace | null): void {
    if (this.started) super.requestComplete(event, target, trace)
    else if (this.plugin.matches(target)) this.#relay?.push(event)
  }

  receive(event: RequestCompleteEvent): void {
    this.takeEvent(event, null)
  }

  dropped(count: number): void {
    this.plugin.stats.droppedEvents += count
  }

  endsChanged(): void {
    void this.#settle()
  }

  protected override async begin(): Promise<void> {
    this.#guest.accepts = false
    try {
      await this.#guest.open()
      await super.begin()
    } catch (error) {
      await this.#guest.close()
      throw error
    }
    this.#relay!.lead(super.wantsRequestComplete)
    this.#accept(true)
  }

  protected override async end(graceEndsMs: number): Promise<void> {
    this.#over = true
    this.#unwatch()
    this.#wake()
    await this.#settling
    await super.end(graceEndsMs)
    if (this.#relay !== null) this.#leading.relays.detach(this.plugin.name, this)
  }

  /** Whether it has to run here. One that is about to be replaced does not begin, but goes on. */
  get #due(): boolean {
    return !this.#over && this.#options.role.leader && (this.started || this.#relay?.newest === this)
  }

  /** Begins or ends until what is, is what has to be. Never rejects. */
  #settle(): Promise<void> {
    this.#settling ??= this.#work().finally(() => {
      this.#settling = null
      // What changed at the last moment.
      if (!this.#settled) void this.#settle()
    })
    this.#wake()
    return this.#settling
  }

  get #settled(): boolean {
    return this.#over || (this.#due ? this.started : !this.started && !this.#guest.present)
  }

  async #work(): Promise<void> {
    let pauseMs = this.#options.retryMs ?? RETRY_MS
    while (!this.#settled) {
      if (!this.#due) {
        await this.#stepDown()
        continue
      }
      try {
        await this.begin()
      } catch (error) {
        // Whoever ended or lost the lead meanwhile does not try again.
        if (this.#settled) return
        this.#complain(error, pauseMs)
        await this.#pause(pauseMs)
        pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS)
      }
    }
    if (this.started && this.#relay?.newest === this) this.#relay.lead(super.wantsRequestComplete)
  }

  async #stepDown(): Promise<void> {
    this.#accept(false)
    if (this.#relay?.newest === this) this.#relay.follow()
    await super.end(performance.now() + GRACE_MS)
    await this.#guest.close()
  }

  #accept(accepts: boolean): void {
    this.#guest.accepts = accepts
    try {
      this.#leading.changed()
    } catch (error) {
      const { name } = this.plugin
      this.#options.logger.error({ err: error, plugin: name }, `${name}: its queues could not be given out anew`)
    }
  }

  #complain(error: unknown, pauseMs: number): void {
    const { name } = this.plugin
    const code = error instanceof BextError ? error.code : "E_INTERNAL"
    const what = printableLines(error instanceof Error ? error.message : String(error))
    const again = `tried again in ${Math.round(pauseMs / 1000)} s`
    this.#options.logger.error(
      { plugin: name, code },
      `${name} could not be started in the process that leads now, ${again}: ${what}`,
    )
  }

  #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms).unref()
    this.#wake = () => {
      clearTimeout(timer)
      resolve()
    }
    return promise
  }
}
