import type { Bus, BusMessage, StateLog } from "../state/state.ts"
import type { BusPost } from "./messages.ts"

/** A longer message is a mistake of whoever publishes it. */
const MAX_MESSAGE_BYTES = 64 * 1024
/** Topics are names in the code. */
const MAX_TOPIC = 128

/** The bus as one process sees it: the supervisor passes messages on to all others. */
export class IpcBus implements Bus {
  readonly #send: (post: BusPost) => void
  readonly #log: StateLog
  readonly #listeners = new Map<string, Set<(message: BusMessage) => void>>()

  /** @param send - To the supervisor. Never throws. */
  constructor(send: (post: BusPost) => void, log: StateLog) {
    this.#send = send
    this.#log = log
  }

  publish(topic: string, message: BusMessage): void {
    const json = toJson(message)
    if (json === undefined || Buffer.byteLength(json) > MAX_MESSAGE_BYTES || topic.length > MAX_TOPIC) {
      this.#log.error(
        { topic },
        `a message to the other processes is lost: not JSON of at most ${MAX_MESSAGE_BYTES} bytes`,
      )
      return
    }
    this.#send({ type: "bus", topic, message: JSON.parse(json) as BusMessage })
  }

  subscribe(topic: string, listener: (message: BusMessage) => void): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, listeners)
    // A function of its own, so that one listener may subscribe twice.
    const own = (message: BusMessage) => listener(message)
    listeners.add(own)
    return () => listeners.delete(own)
  }

  /** What another process published. */
  receive({ topic, message }: BusPost): void {
    for (const listener of this.#listeners.get(topic) ?? []) {
      try {
        listener(message)
      } catch (error) {
        this.#log.error({ err: error, topic }, "a message of another process could not be handled")
      }
    }
  }
}

/** Undefined: cannot be written, or is nothing (a function). */
function toJson(message: BusMessage): string | undefined {
  try {
    return JSON.stringify(message)
  } catch {
    return undefined
  }
}
