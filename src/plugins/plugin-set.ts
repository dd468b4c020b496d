import type { Logger } from "pino"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { type PluginFailure, settleFailures } from "./plugin-failures.ts"
import { type RequestCompleteEvent, RequestCompleteQueue } from "./request-complete.ts"

/** Longest time finished requests may take to reach their plugins once the server stops. */
const DRAIN_MS = 5_000

/** All plugins of one configuration. */
export class PluginSet implements AsyncDisposable {
  readonly #logger: Logger
  #plugins: readonly LoadedPlugin[]
  #queues: { readonly plugin: LoadedPlugin; readonly queue: RequestCompleteQueue }[] = []
  /** Those whose start hook has run; they are told when it is over. */
  #started: readonly LoadedPlugin[] = []
  #stopped: Promise<void> | null = null

  constructor(plugins: readonly LoadedPlugin[], logger: Logger) {
    this.#plugins = plugins
    this.#logger = logger
  }

  /** In the order of the configuration. After `start`, those that started. */
  get plugins(): readonly LoadedPlugin[] {
    return this.#plugins
  }

  /** Whether anybody asks for finished requests. */
  get wantsRequestComplete(): boolean {
    return this.#queues.length > 0
  }

  /**
   * Runs `on_server_start` of all plugins, beside one another.
   * @throws {BextError} When a required plugin fails: every plugin is disposed of then. Others are left out and logged.
   */
  async start(): Promise<void> {
    const results = await Promise.allSettled(this.#plugins.map((plugin) => plugin.start()))
    const failures: (PluginFailure & { readonly plugin: LoadedPlugin })[] = []
    for (const [index, result] of results.entries()) {
      const plugin = this.#plugins[index]!
      const { name, required } = plugin
      if (result.status === "rejected") failures.push({ plugin, name, required, error: result.reason })
    }
    const failed = new Set(failures.map(({ plugin }) => plugin))
    this.#started = this.#plugins.filter((plugin) => !failed.has(plugin))
    try {
      settleFailures(failures, this.#logger)
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#plugins = this.#started
    for (const plugin of this.#started) {
      if (!plugin.hooks.has("on_request_complete")) continue
      this.#queues.push({ plugin, queue: new RequestCompleteQueue(plugin, this.#logger) })
    }
    await disposeAll([...failed])
  }

  /**
   * Tells the plugins that a request is finished; those whose `match` fits, later, in order.
   * @param hostname - Host of the request without port.
   */
  requestComplete(event: RequestCompleteEvent, hostname: string): void {
    if (this.#queues.length === 0) return
    const target = { method: event.method, path: event.path, hostname, tenantId: event.tenant_id }
    for (const { plugin, queue } of this.#queues) if (plugin.matches(target)) queue.push(event)
  }

  /** Hands out what is left of finished requests, then `on_server_stop`, then `cleanup`; then the guests are gone. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#queues.map(({ queue }) => queue.close(DRAIN_MS)))
    await this.#notifyAll("on_server_stop")
    await this.#notifyAll("cleanup")
    await disposeAll(this.#plugins)
  }

  async #notifyAll(hook: "on_server_stop" | "cleanup"): Promise<void> {
    await Promise.all(this.#started.map((plugin) => plugin.notify(hook, [], null, null)))
  }
}

async function disposeAll(plugins: readonly LoadedPlugin[]): Promise<void> {
  await Promise.allSettled(plugins.map((plugin) => plugin[Symbol.asyncDispose]()))
}
