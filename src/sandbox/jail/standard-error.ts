import type { Readable } from "node:stream"
import { StringDecoder } from "node:string_decoder"
import type { GuestServices } from "../../host/services.ts"
import { Flow } from "./flow.ts"

/** Bytes in a tenth of a second; the log takes far less. */
const MAX_BYTES = 256 * 1024
const MAX_LINE = 8192
/** What is kept of the end, for the message of a program that ends too early. */
const MAX_TAIL = 1024

/** What a program writes to standard error: a line of the log each. */
export class StandardError {
  readonly #services: GuestServices
  readonly #flow: Flow
  readonly #decoder = new StringDecoder("utf8")
  /** Resolves when there is nothing more to read. */
  readonly ended: Promise<void>
  #line = ""
  #tail = ""

  constructor(stream: Readable, services: GuestServices) {
    this.#services = services
    this.#flow = new Flow({ stop: () => stream.pause(), go: () => stream.resume() }, MAX_BYTES)
    stream.on("data", (chunk: Buffer) => this.#take(chunk))
    stream.on("end", () => this.#write())
    stream.on("error", () => {})
    this.ended = new Promise((resolve) => stream.on("close", resolve))
  }

  /** The end of what was written. */
  get tail(): string {
    return this.#tail.trim()
  }

  end(): void {
    this.#write()
    this.#flow.drain()
  }

  #take(chunk: Buffer): void {
    this.#flow.count(chunk.length, performance.now())
    const text = this.#decoder.write(chunk)
    this.#tail = (this.#tail + text).slice(-MAX_TAIL)
    const lines = text.split("\n")
    for (const [index, part] of lines.entries()) {
      if (this.#line.length < MAX_LINE) this.#line += part.slice(0, MAX_LINE - this.#line.length)
      if (index < lines.length - 1) this.#write()
    }
  }

  #write(): void {
    if (this.#line.trim() !== "") this.#services.log("info", this.#line)
    this.#line = ""
  }
}
