import type { Bus, BusMessage } from "../state/state.ts"
import type { RequestCompleteEvent } from "./request-complete.ts"

/** One of the plugins of a name that this process has: the one that serves, one that is prepared, one that ends. */
export interface RelayEnd {
  /** Another process served this request. */
  receive(event: RequestCompleteEvent): void
  /** It could not be passed on. */
  dropped(count: number): void
  /** Another end has come or gone. */
  endsChanged(): void
}

/** Between two messages: what came meanwhile is one. */
const SEND_MS = 20
/** A message of the bus has 64 KiB; what is around the events in it takes a few bytes. */
const MAX_BYTES = 63 * 1024
/** Events that may wait for the next message. */
const MAX_WAITING = 1024
/** Whoever does not know whether anybody leads asks this often. */
const ASK_MS = 1_000

/**
 * Finished requests of one plugin on their way from the processes that served them to the one that runs it. At most one
 * message each 20 ms; over that, events are dropped and counted.
 */
export class EventRelay {
  readonly #bus: Bus
  readonly #topic: string
  readonly #ends: RelayEnd[] = []
  readonly #unsubscribe: () => void
  #waiting: RequestCompleteEvent[] = []
  #timer: NodeJS.Timeout | null = null
  /** What the process that runs the plugin has said; null: nothing yet, or that it is not the one any more. */
  #wanted: boolean | null = null
  /** What this process has said, while it runs the plugin. */
  #wants: boolean | null = null
  #askedMs = Number.NEGATIVE_INFINITY

  constructor(bus: Bus, plugin: string) {
    this.#bus = bus
    this.#topic = `request-complete/${plugin}`
    this.#unsubscribe = bus.subscribe(this.#topic, (message) => this.#hear(message))
    this.#ask()
  }

  /** The end that other processes' events belong to. */
  get newest(): RelayEnd | undefined {
    return this.#ends.at(-1)
  }

  get used(): boolean {
    return this.#ends.length > 0
  }

  attach(end: RelayEnd): void {
    this.#ends.push(end)
    this.#tellEnds()
  }

  /** With the last end, what waits is sent. */
  detach(end: RelayEnd): void {
    const index = this.#ends.indexOf(end)
    if (index === -1) return
    if (this.#ends.length === 1) this.#close()
    this.#ends.splice(index, 1)
    this.#tellEnds()
  }

  /** This process runs the plugin. @param wants - Whether it is told of finished requests. */
  lead(wants: boolean): void {
    this.#wants = wants
    this.#bus.publish(this.#topic, { wanted: wants })
  }

  /** This process runs it no more. The others keep what they have until another one does. */
  follow(): void {
    if (this.#wants !== null) this.#bus.publish(this.#topic, { wanted: null })
    this.#wants = null
    this.#wanted = null
  }

  /** Whether it is worth the trouble to make an event of a request. */
  get open(): boolean {
    return this.#wants === null && this.#wanted !== false
  }

  /** Never waits. */
  push(event: RequestCompleteEvent): void {
    if (!this.open) return
    if (this.#waiting.length >= MAX_WAITING) {
      this.newest?.dropped(1)
      return
    }
    this.#waiting.push(event)
    this.#timer ??= setTimeout(() => this.#tick(), SEND_MS).unref()
  }

  #hear(message: BusMessage): void {
    if (typeof message !== "object" || message === null || Array.isArray(message)) return
    const { asks, wanted, events } = message as { readonly [key: string]: BusMessage }
    if (asks === true && this.#wants !== null) this.#bus.publish(this.#topic, { wanted: this.#wants })
    if (typeof wanted === "boolean" || wanted === null) this.#wanted = wanted
    // Processes of one server are the same version of bext.
    if (Array.isArray(events) && this.#wants === true) {
      for (const event of events as unknown as RequestCompleteEvent[]) this.newest?.receive(event)
    }
  }

  #tick(): void {
    this.#timer = null
    if (this.#wants !== null) {
      // It leads by now.
      for (const event of this.#waiting.splice(0)) if (this.#wants) this.newest?.receive(event)
      return
    }
    if (this.#wanted === null) this.#ask()
    else if (this.#wanted) this.#send()
    else this.#waiting = []
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#tick(), SEND_MS).unref()
  }

  /** One message, of the events that fit into it. */
  #send(): void {
    let bytes = 0
    let count = 0
    const events: BusMessage[] = []
    for (const event of this.#waiting) {
      const size = Buffer.byteLength(JSON.stringify(event)) + 1
      if (size <= MAX_BYTES) {
        if (bytes + size > MAX_BYTES) break
        bytes += size
        events.push({ ...event })
      } else this.newest?.dropped(1)
      count++
    }
    this.#waiting.splice(0, count)
    if (events.length > 0) this.#bus.publish(this.#topic, { events })
  }

  #ask(): void {
    const nowMs = performance.now()
    if (nowMs - this.#askedMs < ASK_MS) return
    this.#askedMs = nowMs
    this.#bus.publish(this.#topic, { asks: true })
  }

  #close(): void {
    this.#unsubscribe()
    if (this.#timer !== null) clearTimeout(this.#timer)
    while (this.#wanted === true && this.#waiting.length > 0) this.#send()
    this.newest?.dropped(this.#waiting.length)
    this.#waiting = []
    this.follow()
  }

  #tellEnds(): void {
    for (const end of [...this.#ends]) end.endsChanged()
  }
}

/** The relays of one process, by plugin. */
export class EventRelays {
  readonly #bus: Bus
  readonly #relays = new Map<string, EventRelay>()

  constructor(bus: Bus) {
    this.#bus = bus
  }

  /** @returns the relay of a plugin, with one more end. */
  attach(plugin: string, end: RelayEnd): EventRelay {
    const relay = this.#relays.get(plugin) ?? new EventRelay(this.#bus, plugin)
    this.#relays.set(plugin, relay)
    relay.attach(end)
    return relay
  }

  detach(plugin: string, end: RelayEnd): void {
    const relay = this.#relays.get(plugin)
    if (relay === undefined) return
    relay.detach(end)
    if (!relay.used) this.#relays.delete(plugin)
  }
}
