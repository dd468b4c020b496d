import { BextError, type ErrorCode, PluginError } from "../errors.ts"
import type { QueueSettings, QueueStore } from "../state/state.ts"
import { quote } from "./quote.ts"
import type { GuestMessage } from "./services.ts"

const MAX_VALUE_BYTES = 256 * 1024
/** Levels of lists and objects: whoever reads the value again may do so recursively. */
const MAX_DEPTH = 100
const MAX_KEY_BYTES = 512
const MAX_TENANT_BYTES = 512
const MAX_DELAY_MS = 30 * 86_400_000
/** Pushes of one plugin under way: more would only queue behind the one writer everybody shares. */
const MAX_PUSHES = 1000
/** Bytes of values they may hold together. */
const MAX_PUSH_BYTES = 8 * 1024 * 1024

export interface QueuePushOptions {
  readonly plugin: string
  /** Those it may push to. */
  readonly queues: readonly QueueSettings[]
  /** Null where there are no queues. */
  readonly store: QueueStore | null
}

/** Pushes of one plugin: checks what the guest sends and names the plugin in what is refused. */
export class QueuePush {
  readonly #plugin: string
  readonly #queues: ReadonlyMap<string, QueueSettings>
  readonly #store: QueueStore | null
  #pushes = 0
  #bytes = 0

  constructor({ plugin, queues, store }: QueuePushOptions) {
    this.#plugin = plugin
    this.#queues = new Map(queues.map((settings) => [settings.queue, settings]))
    this.#store = store
  }

  /** As `GuestServices.push`. */
  async push(queue: string, { value, key, delayMs }: GuestMessage, tenant: string | null): Promise<string> {
    const settings = this.#queues.get(queue)
    if (settings === undefined) {
      throw this.#refuse("E_PERMISSION", `may not push to ${quote(queue)}; permissions.queues lists what it may use`)
    }
    if (this.#store === null) throw this.#refuse("E_STATE_UNAVAILABLE", "there are no queues here")
    const bytes = this.#check(value, key, delayMs, tenant)
    if (this.#pushes >= MAX_PUSHES || (this.#pushes > 0 && this.#bytes + bytes > MAX_PUSH_BYTES)) {
      throw this.#refuse("E_LIMIT_QUEUE", `${this.#pushes} pushes are under way; wait for some of them`)
    }
    this.#pushes++
    this.#bytes += bytes
    try {
      return await this.#store.push(settings, { value, key, tenant, delayMs: Math.ceil(delayMs) })
    } catch (error) {
      throw error instanceof BextError ? this.#named(error) : error
    } finally {
      this.#pushes--
      this.#bytes -= bytes
    }
  }

  /** @returns the value's size in bytes. */
  #check(value: string, key: string | null, delayMs: number, tenant: string | null): number {
    const bytes = sizeOf(value, MAX_VALUE_BYTES)
    if (bytes > MAX_VALUE_BYTES) throw this.#invalid(`a message of more than ${MAX_VALUE_BYTES} bytes`)
    if (depthOf(value) > MAX_DEPTH) throw this.#invalid(`a message of more than ${MAX_DEPTH} levels`)
    if (!isJson(value)) throw this.#invalid("a message that is no JSON")
    if (key !== null && !isKey(key)) {
      throw this.#invalid(`the key ${quote(key)}; keys are well-formed text of 1 to ${MAX_KEY_BYTES} bytes`)
    }
    if (!(delayMs >= 0 && delayMs <= MAX_DELAY_MS)) {
      throw this.#invalid(`a delay of ${quote(delayMs)} ms; it is 0 to ${MAX_DELAY_MS}`)
    }
    if (tenant !== null && sizeOf(tenant, MAX_TENANT_BYTES) > MAX_TENANT_BYTES) {
      throw this.#invalid("a message of a tenant whose name is too long")
    }
    return bytes
  }

  #invalid(what: string): PluginError {
    return this.#refuse("E_QUEUE_MESSAGE", `pushed ${what}`)
  }

  #refuse(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, this.#plugin, what)
  }

  #named(error: BextError): PluginError {
    return new PluginError(error.code, this.#plugin, error.message.replace(` [${error.code}]`, ""), { cause: error })
  }
}

function isKey(key: string): boolean {
  return key !== "" && sizeOf(key, MAX_KEY_BYTES) <= MAX_KEY_BYTES && key.isWellFormed()
}

/** @returns more than `most` for what is longer; only as exact as needed. */
function sizeOf(text: string, most: number): number {
  return text.length > most ? text.length : Buffer.byteLength(text)
}

/** Levels of lists and objects of a JSON text, whatever else it is. */
function depthOf(json: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let at = 0; at < json.length; at++) {
    const unit = json.charCodeAt(at)
    if (inString) {
      if (unit === BACKSLASH) at++
      else if (unit === QUOTE) inString = false
    } else if (unit === QUOTE) inString = true
    else if (unit === OPEN_LIST || unit === OPEN_OBJECT) {
      if (++depth > deepest) deepest = depth
    } else if (unit === CLOSE_LIST || unit === CLOSE_OBJECT) depth--
  }
  return deepest
}

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d]

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
