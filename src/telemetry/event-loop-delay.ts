import { monitorEventLoopDelay } from "node:perf_hooks"

const WINDOW_MS = 1_000
/** Milliseconds between two looks: often enough to see what delays requests, seldom enough to cost nothing. */
const RESOLUTION_MS = 20

/** How late this process's event loop is. Never what keeps the process alive. */
export class EventLoopDelay implements Disposable {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #timer: NodeJS.Timeout
  #count = 0
  #sumMs = 0
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

  /** Differences, as a histogram that is reset loses the very delay it is in. Each time has the intended one in it. */
  #measure(): void {
    const { mean, count } = this.#histogram
    if (count === this.#count) return
    const sumMs = (mean / 1e6) * count
    this.#meanMs = Math.max(0, (sumMs - this.#sumMs) / (count - this.#count) - RESOLUTION_MS)
    this.#count = count
    this.#sumMs = sumMs
  }
}
