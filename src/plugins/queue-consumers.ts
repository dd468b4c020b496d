import type { Logger } from "pino"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { toQueueSettings } from "../host/queue-settings.ts"
import type { QueueSettings, QueueStore } from "../state/state.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { type ConsumerCounters, QueueConsumer } from "./queue-consumer.ts"

export interface QueueConsumersParts {
  readonly store: QueueStore
  readonly logger: Logger
}

/** One queue as this process sees it, for metrics. */
export interface QueueMetrics extends Readonly<ConsumerCounters> {
  readonly queue: string
  /** Plugin that handles it here; null when none does any more. */
  readonly consumer: string | null
  /** Of all processes, as of a moment ago; null until known. */
  readonly depth: { readonly messages: number; readonly dead: number; readonly oldestAtMs: number | null } | null
}

/** Numbers of the whole queue are looked up again after this long. */
const DEPTH_KEPT_MS = 5_000

/**
 * Which plugin handles which queue.
 * @throws {BextError} `E_CONFIG_INVALID`: two plugins would handle the same one.
 */
export function assignQueues(plugins: readonly LoadedPlugin[]): ReadonlyMap<string, LoadedPlugin> {
  const consumers = new Map<string, LoadedPlugin>()
  for (const plugin of plugins) {
    if (!plugin.hooks.has("on_queue_message")) continue
    for (const queue of plugin.permissions.queues) {
      const other = consumers.get(queue)
      if (other !== undefined && other !== plugin) throw twoConsumers(queue, other.name, plugin.name)
      consumers.set(queue, plugin)
    }
  }
  return consumers
}

function twoConsumers(queue: string, first: string, second: string): BextError {
  const what =
    `${first} and ${second} both have onQueueMessage and the queue "${queue}": a queue has one consumer. ` +
    `Take the hook out of the one that only pushes, disable one of them, or give them different queues`
  return new BextError("E_CONFIG_INVALID", what)
}

/** Hands out the messages of all queues that the serving snapshot has a plugin for. Messages of other queues wait. */
export class QueueConsumers implements AsyncDisposable {
  readonly #parts: QueueConsumersParts
  readonly #consumers = new Map<string, QueueConsumer>()
  /** Consumers that finish what they hold. */
  readonly #stopping = new Set<Promise<void>>()
  readonly #counters = new Map<string, ConsumerCounters>()
  #depths: ReadonlyMap<string, NonNullable<QueueMetrics["depth"]>> = new Map()
  #depthsAtMs = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(parts: QueueConsumersParts) {
    this.#parts = parts
  }

  /** From now on the queues are these plugins'. Consumers that stay the same go on. */
  follow(plugins: readonly LoadedPlugin[], config: Config): void {
    if (this.#stopped) return
    const wanted = assignQueues(plugins.filter(({ leaderGuest }) => leaderGuest?.accepts ?? true))
    for (const [queue, consumer] of this.#consumers) {
      const settings = toQueueSettings(queue, config.queues[queue])
      if (wanted.get(queue) !== consumer.receiver || !isSame(settings, consumer.settings)) this.#stop(queue, consumer)
    }
    for (const [queue, plugin] of wanted) {
      if (this.#consumers.has(queue)) continue
      const counters = this.#counters.get(queue) ?? { delivered: 0, failed: 0, dead: 0, lost: 0 }
      this.#counters.set(queue, counters)
      const settings = toQueueSettings(queue, config.queues[queue])
      this.#consumers.set(queue, new QueueConsumer({ ...this.#parts, settings, receiver: plugin, counters }))
    }
  }

  /** Leases nothing more and gives back what is not being handled; handlers at work have `graceMs` to finish. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true
    for (const [queue, consumer] of this.#consumers) this.#stop(queue, consumer)
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, graceMs)
    await Promise.race([Promise.all(this.#stopping), promise])
    clearTimeout(timer)
  }

  /** Comes when the plugins are gone: the last outcomes are written. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0)
    await Promise.all(this.#stopping)
  }

  /** Plain numbers; those of whole queues are as of the last time, and looked up again in the background. */
  metrics(): readonly QueueMetrics[] {
    void this.#lookUpDepths()
    return Array.from(this.#counters, ([queue, counters]) => ({
      queue,
      consumer: this.#consumers.get(queue)?.receiver.name ?? null,
      depth: this.#depths.get(queue) ?? null,
      ...counters,
    }))
  }

  #stop(queue: string, consumer: QueueConsumer): void {
    this.#consumers.delete(queue)
    const stopping = consumer.stop()
    this.#stopping.add(stopping)
    void stopping.then(() => this.#stopping.delete(stopping))
  }

  async #lookUpDepths(): Promise<void> {
    const nowMs = performance.now()
    if (nowMs - this.#depthsAtMs < DEPTH_KEPT_MS) return
    this.#depthsAtMs = nowMs
    try {
      const queues = await this.#parts.store.list()
      this.#depths = new Map(
        queues.map(({ queue, messages, dead, oldestAtMs }) => [queue, { messages, dead, oldestAtMs }]),
      )
    } catch {
      // The state is closing, or has told the operator what is wrong with it.
    }
  }
}

function isSame(one: QueueSettings, other: QueueSettings): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
