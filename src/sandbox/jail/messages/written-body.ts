import { PluginError } from "../../../errors.ts"
import { ByteCollector } from "../../../message/byte-collector.ts"

/** The body that a program writes in pieces during a call. */
export class WrittenBody {
  readonly #plugin: string
  readonly #maxBytes: number
  readonly #collector = new ByteCollector()
  #any = false

  constructor(plugin: string, maxBytes: number) {
    this.#plugin = plugin
    this.#maxBytes = maxBytes
  }

  /** Null: nothing was ever written. */
  get bytes(): Uint8Array | null {
    return this.#any ? this.#collector.toBuffer() : null
  }

  /** @throws {PluginError} `E_LIMIT_MESSAGE`. */
  append(bytes: Uint8Array): void {
    if (this.#collector.length + bytes.length > this.#maxBytes) {
      throw new PluginError("E_LIMIT_MESSAGE", this.#plugin, `body.write: more than ${this.#maxBytes} bytes`)
    }
    this.#any = true
    this.#collector.append(bytes)
  }
}
