import { monitorEventLoopDelay } from "node:perf_hooks"

const WINDOW_MS = 1_000
/** Milliseconds between two looks: often enough to see what delays requests, seldom enough to cost nothing. */
const RESOLUTION_MS = 20

/** How late this process's event loop is. Never what keeps the process alive. */
export class EventLoopDelay implements Disposable {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #timer: NodeJS.Timeout
  #meanMs = 0

  constructor() {
    this.#histogram.enable()
    this.#timer = setInterval(() => this.#measure(), WINDOW_MS).unref()
  }

  /** Mean delay over the last second, milliseconds. */
  get meanMs(): number {
    return this.#meanMs
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#histogram.disable()
  }

  /** What is recorded is the time between two looks, the intended one included. */
  #measure(): void {
    const { mean, count } = this.#histogram
    this.#meanMs = count === 0 ? 0 : Math.max(0, mean / 1e6 - RESOLUTION_MS)
    this.#histogram.reset()
  }
}
