import type { Logger } from "pino"
import type { RequestTrace } from "../message/request-trace.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { type PluginFailure, settleFailures } from "./plugin-failures.ts"
import type { RequestCompleteEvent } from "./request-complete.ts"
import type { ServingPlugin } from "./serving-plugin.ts"

/** All plugins of one snapshot. What other snapshots use too goes on when this one ends. */
export class PluginSet implements AsyncDisposable {
  readonly #logger: Logger
  #members: readonly ServingPlugin[]
  #plugins: readonly LoadedPlugin[]
  #listeners: readonly ServingPlugin[] = []
  #ended: Promise<void> | null = null

  constructor(members: readonly ServingPlugin[], logger: Logger) {
    this.#members = members
    this.#plugins = members.map(({ plugin }) => plugin)
    this.#logger = logger
    for (const member of members) member.use()
  }

  /** In the order of the configuration. After `start`, those that started. */
  get plugins(): readonly LoadedPlugin[] {
    return this.#plugins
  }

  /** Whether anybody asks for finished requests. */
  get wantsRequestComplete(): boolean {
    for (const member of this.#listeners) if (member.wantsRequestComplete) return true
    return false
  }

  find(name: string): ServingPlugin | undefined {
    return this.#members.find(({ plugin }) => plugin.name === name)
  }

  /**
   * Runs `on_server_start` of all plugins that have not started yet, beside one another. Those that fail and are not
   * required are left out and logged.
   * @throws {BextError} When a required plugin fails; `stop` or `release` is due then.
   */
  async start(): Promise<void> {
    const results = await Promise.allSettled(this.#members.map((member) => member.start()))
    const failures: (PluginFailure & { readonly member: ServingPlugin })[] = []
    for (const [index, result] of results.entries()) {
      const member = this.#members[index]!
      const { name, required } = member.plugin
      if (result.status === "rejected") failures.push({ member, name, required, error: result.reason })
    }
    settleFailures(failures, this.#logger)
    const failed = new Set(failures.map(({ member }) => member))
    this.#members = this.#members.filter((member) => !failed.has(member))
    this.#plugins = this.#members.map(({ plugin }) => plugin)
    this.#listeners = this.#members.filter((member) => member.mayWantRequestComplete)
    await Promise.all([...failed].map((member) => member.release()))
  }

  /**
   * Tells the plugins that a request is finished; those whose `match` fits, later, in order.
   * @param hostname - Host of the request without port.
   * @param trace - The request's, when it is traced.
   */
  requestComplete(event: RequestCompleteEvent, hostname: string, trace: RequestTrace | null = null): void {
    if (this.#listeners.length === 0) return
    const target = { method: event.method, path: event.path, hostname, tenantId: event.tenant_id }
    for (const member of this.#listeners) member.requestComplete(event, target, trace)
  }

  /** Tells all of them that this set serves now, one after the other. */
  async reloaded(): Promise<void> {
    for (const member of this.#members) {
      // Requests get their turn between two of them.
      await new Promise((turn) => setImmediate(turn))
      await member.tellReload()
    }
  }

  /**
   * The snapshot is over. What no other set uses gets the finished requests that wait, then `cleanup`; then it is gone.
   * @param graceEndsMs - performance.now() until which calls may work on behind their answers.
   */
  release(graceEndsMs = 0): Promise<void> {
    this.#ended ??= this.#release(graceEndsMs)
    return this.#ended
  }

  /** The server ends: as `release`, with `on_server_stop` before any `cleanup`. */
  stop(): Promise<void> {
    this.#ended ??= this.#stop()
    return this.#ended
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #release(graceEndsMs = 0): Promise<void> {
    await Promise.all(this.#members.map((member) => member.release(graceEndsMs)))
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.finishEvents()))
    await Promise.all(this.#members.map((member) => member.tellStop()))
    await this.#release()
  }
}
