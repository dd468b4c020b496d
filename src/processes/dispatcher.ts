import type { Socket } from "node:net"
import type { Config } from "../config/schema.ts"

/** How often connections that are not taken at once are looked after. */
const SWEEP_MS = 100

/** A process that takes connections. */
export interface Target {
  /** Sends the connection; whether it was taken is told with `taken`. */
  hand(id: number, socket: Socket): void
  /** Whether the connection arrived; asked when nothing was told for long. Rejects when it cannot be known. */
  arrived(id: number): Promise<boolean>
}

export interface DispatcherOptions {
  /** `connections`: that many may wait for a process. `header_timeout`: one that found none by then is closed. */
  readonly limits: () => Pick<Config["server"]["limits"], "connections" | "header_timeout">
  /** A connection was closed because no process took it. */
  readonly dropped: () => void
}

/**
 * Hands connections to processes, one after the other in turn. Each process has at most one on its way, so that a process
 * that stands still holds one connection and not every second; and each stays open here until the process says that it
 * has it, so that none is lost with a process that ends.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #lanes: Lane[] = []
  /** Oldest first. */
  #waiting: Waiting[] = []
  #turn = 0
  #lastId = 0
  #sweep: NodeJS.Timeout | undefined

  constructor(options: DispatcherOptions) {
    this.#options = options
  }

  add(target: Target): void {
    this.#lanes.push({ target, current: null, closing: null })
    this.#pump()
  }

  /** The target gets no further connection. @returns a promise that resolves when none is on its way to it. */
  async remove(target: Target): Promise<void> {
    const lane = this.#laneOf(target)
    if (lane === undefined) return
    if (lane.current !== null) {
      lane.closing ??= Promise.withResolvers()
      await lane.closing.promise
    }
    this.#drop(lane)
  }

  /** The target has ended: what was on its way to it goes to another. */
  lost(target: Target): void {
    const lane = this.#laneOf(target)
    if (lane === undefined) return
    const { current } = lane
    this.#free(lane)
    this.#drop(lane)
    if (current !== null) this.#waiting.unshift(current)
    this.#pump()
  }

  /** @param socket - Nothing was read from it yet. */
  take(socket: Socket): void {
    if (this.#waiting.length >= this.#options.limits().connections) {
      this.#close(socket)
      return
    }
    socket.on("error", () => socket.destroy())
    this.#waiting.push({ id: 0, socket, sinceMs: performance.now(), refusedBy: [], asked: false })
    this.#pump()
  }

  /** The target says whether it has the connection. */
  taken(target: Target, id: number, taken: boolean): void {
    const lane = this.#laneOf(target)
    if (lane === undefined || lane.current?.id !== id) return
    const { current } = lane
    this.#free(lane)
    if (taken) current.socket.destroy()
    else {
      current.refusedBy.push(lane)
      this.#waiting.unshift(current)
    }
    this.#pump()
  }

  /** Closes what waits. */
  close(): void {
    clearInterval(this.#sweep)
    for (const { socket } of this.#waiting) socket.destroy()
    this.#waiting = []
  }

  #laneOf(target: Target): Lane | undefined {
    return this.#lanes.find((lane) => lane.target === target)
  }

  #free(lane: Lane): void {
    lane.current = null
    lane.closing?.resolve()
  }

  #drop(lane: Lane): void {
    const index = this.#lanes.indexOf(lane)
    if (index !== -1) this.#lanes.splice(index, 1)
  }

  #pump(): void {
    for (let index = 0; index < this.#waiting.length; ) {
      const next = this.#waiting[index]!
      const lane = this.#choose(next)
      if (next.socket.destroyed) this.#waiting.splice(index, 1)
      else if (lane === "nobody" && next.refusedBy.length > 0) {
        this.#waiting.splice(index, 1)
        this.#close(next.socket)
      } else if (typeof lane === "object") {
        this.#waiting.splice(index, 1)
        next.id = ++this.#lastId
        next.asked = false
        lane.current = next
        lane.target.hand(next.id, next.socket)
      } else if (next.refusedBy.length > 0) index++
      else break
    }
    if (this.#isIdle) {
      clearInterval(this.#sweep)
      this.#sweep = undefined
    } else this.#sweep ??= setInterval(() => this.#lookAfter(), SWEEP_MS).unref()
  }

  /** The free target whose turn it is. "busy": there are targets, all of them busy. "nobody": none is left to ask. */
  #choose({ refusedBy }: Waiting): Lane | "busy" | "nobody" {
    const count = this.#lanes.length
    let others = false
    for (let step = 0; step < count; step++) {
      const lane = this.#lanes[(this.#turn + step) % count]!
      if (lane.closing !== null || refusedBy.includes(lane)) continue
      if (lane.current === null) {
        this.#turn = (this.#turn + step + 1) % count
        return lane
      }
      others = true
    }
    return others ? "busy" : "nobody"
  }

  get #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#lanes.every(({ current }) => current === null)
  }

  #lookAfter(): void {
    const oldestMs = performance.now() - this.#options.limits().header_timeout
    while (this.#waiting.length > 0 && this.#waiting[0]!.sinceMs < oldestMs) {
      this.#close(this.#waiting.shift()!.socket)
    }
    for (const lane of this.#lanes) if (lane.current !== null) this.#ask(lane, lane.current)
    this.#pump()
  }

  /** A process without a free file descriptor never sees the connection, and so says nothing about it. */
  #ask({ target }: Lane, current: Waiting): void {
    if (current.asked) return
    current.asked = true
    const { id } = current
    target.arrived(id).then(
      (arrived) => {
        if (!arrived) this.taken(target, id, false)
      },
      () => {
        current.asked = false
      },
    )
  }

  #close(socket: Socket): void {
    socket.destroy()
    this.#options.dropped()
  }
}

interface Lane {
  readonly target: Target
  /** On its way. */
  current: Waiting | null
  closing: PromiseWithResolvers<void> | null
}

interface Waiting {
  /** Of the last time it was handed to a target, so that they rise for each of them. */
  id: number
  readonly socket: Socket
  /** Monotonic milliseconds. */
  readonly sinceMs: number
  readonly refusedBy: Lane[]
  asked: boolean
}
