import type { Logger } from "pino"
import type { RequestTrace } from "../message/request-trace.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"

/** One finished request, as guests see it: see `RequestCompleteEvent` of plugin-api.ts. */
export interface RequestCompleteEvent {
  readonly request_id: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly cache_status: "hit" | "stale" | "miss" | null
  /** Microseconds the handler took. */
  readonly render_time_us: number
  /** Milliseconds from accept to the end of the response. */
  readonly duration_ms: number
  readonly tenant_id: string | null
  readonly site_id: string | null
  /** Content coding of the response, null for none. */
  readonly encoding: string | null
  readonly is_bot: boolean
}

interface Waiting {
  readonly event: RequestCompleteEvent
  readonly trace: RequestTrace | null
}

/** Events one plugin may have waiting. */
const MAX_WAITING = 1024
/** Time on the serving thread before other work gets its turn. */
const SLICE_MS = 2

/** Hands finished requests to one plugin, one after the other, whenever the thread has nothing better to do. */
export class RequestCompleteQueue {
  readonly #plugin: LoadedPlugin
  readonly #logger: Logger
  readonly #waiting: Waiting[] = []
  #running: Promise<void> | null = null
  #toldDropped = false
  #closed = false

  constructor(plugin: LoadedPlugin, logger: Logger) {
    this.#plugin = plugin
    this.#logger = logger
  }

  /** Never waits. Over the bound the event is dropped and counted. @param trace - Of the finished request. */
  push(event: RequestCompleteEvent, trace: RequestTrace | null): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) {
      this.#drop(1)
      return
    }
    this.#waiting.push({ event, trace })
    this.#running ??= this.#run()
  }

  /**
   * Takes no more events and ends when those waiting are done.
   * @param graceMs - Longest time for that; what is left then is dropped.
   */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    if (this.#running === null) return
    const timer = setTimeout(() => this.#drop(this.#waiting.splice(0).length), graceMs)
    await this.#running
    clearTimeout(timer)
  }

  async #run(): Promise<void> {
    let sliceEndsMs = 0
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (performance.now() >= sliceEndsMs) {
        await new Promise((turn) => setImmediate(turn))
        sliceEndsMs = performance.now() + SLICE_MS
      }
      const { event, trace } = next
      await this.#plugin.notify("on_request_complete", [{ ...event }], event.tenant_id, event.request_id, trace)
    }
    this.#running = null
    this.#toldDropped = false
  }

  #drop(count: number): void {
    if (count === 0) return
    this.#plugin.stats.droppedEvents += count
    if (this.#toldDropped) return
    this.#toldDropped = true
    const { name } = this.#plugin
    this.#logger.warn({ plugin: name }, `${name}: on_request_complete cannot keep up; events are dropped and counted`)
  }
}
