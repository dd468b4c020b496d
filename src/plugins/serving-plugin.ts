import { setTimeout as delay } from "node:timers/promises"
import type { Logger } from "pino"
import type { RequestTrace } from "../message/request-trace.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import type { MatchTarget } from "./plugin-match.ts"
import { type RequestCompleteEvent, RequestCompleteQueue } from "./request-complete.ts"

/** Longest time finished requests may take to reach a plugin once nobody uses it any more. */
const DRAIN_MS = 5_000
const IDLE_POLL_MS = 20

/** One plugin from its start to its end, used by every snapshot that has it. The last one to release it ends it. */
export class ServingPlugin {
  readonly plugin: LoadedPlugin
  readonly #logger: Logger
  #queue: RequestCompleteQueue | null = null
  #users = 0
  #started = false

  constructor(plugin: LoadedPlugin, logger: Logger) {
    this.plugin = plugin
    this.#logger = logger
  }

  protected get started(): boolean {
    return this.#started
  }

  /** Whether it is told of finished requests. */
  get wantsRequestComplete(): boolean {
    return this.#queue !== null
  }

  /** Whether that may be so at some time, once it has started. */
  get mayWantRequestComplete(): boolean {
    return this.#queue !== null
  }

  /** Runs `on_server_start`, once. @throws {BextError} */
  async start(): Promise<void> {
    if (!this.#started) await this.begin()
  }

  /** @throws {BextError} */
  protected async begin(): Promise<void> {
    await this.plugin.start()
    this.#started = true
    if (this.plugin.hooks.has("on_request_complete")) this.#queue = new RequestCompleteQueue(this.plugin, this.#logger)
  }

  /** Later, if the request was for this plugin. @param target - The request the event is about. */
  requestComplete(event: RequestCompleteEvent, target: MatchTarget, trace: RequestTrace | null): void {
    if (this.#queue !== null && this.plugin.matches(target)) this.#queue.push(event, trace)
  }

  protected takeEvent(event: RequestCompleteEvent, trace: RequestTrace | null): void {
    this.#queue?.push(event, trace)
  }

  use(): void {
    this.#users++
  }

  /**
   * Never rejects. Resolves, when nobody uses it any more, when `cleanup` has run and the guest is gone.
   * @param graceEndsMs - performance.now() until which its calls may work on behind their answers.
   */
  async release(graceEndsMs = 0): Promise<void> {
    if (--this.#users > 0) return
    await this.end(graceEndsMs)
    await this.plugin[Symbol.asyncDispose]().catch((error: unknown) => {
      this.#logger.error({ err: error, plugin: this.plugin.name }, `${this.plugin.name} could not be unloaded`)
    })
  }

  /** What it was given is finished, then `cleanup` runs. Never rejects. */
  protected async end(graceEndsMs: number): Promise<void> {
    await this.finishEvents()
    while (!this.plugin.idle && performance.now() < graceEndsMs) await delay(IDLE_POLL_MS)
    await this.#notify("cleanup")
    this.#started = false
    this.#queue = null
  }

  /** Takes no more events and hands out those that wait. */
  async finishEvents(): Promise<void> {
    await this.#queue?.close(DRAIN_MS)
  }

  /** The server ends. */
  async tellStop(): Promise<void> {
    await this.#notify("on_server_stop")
  }

  /** The server goes on with another snapshot. */
  async tellReload(): Promise<void> {
    if (this.#users > 0) await this.#notify("on_reload")
  }

  async #notify(hook: "on_server_stop" | "on_reload" | "cleanup"): Promise<void> {
    if (this.#started) await this.plugin.notify(hook, [], null, null)
  }
}
