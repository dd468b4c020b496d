import type { IncomingMessage } from "node:http"
import { Readable } from "node:stream"
import { BextError } from "../errors.ts"

/**
 * The bytes of a request body as they arrive, with back-pressure, a limit, and failures that carry a code:
 * `E_BODY_TOO_LARGE`, and `E_REQUEST_INVALID` when the client goes away. Starts to read, and lets a client that asked
 * (Expect: 100-continue) send, only when somebody reads it.
 */
export class LiveBody extends Readable {
  readonly #request: IncomingMessage
  readonly #maxBytes: number
  readonly #onFirstRead: () => void
  #receivedBytes = 0
  #started = false

  constructor(request: IncomingMessage, maxBytes: number, onFirstRead: () => void) {
    super({ highWaterMark: request.readableHighWaterMark })
    this.#request = request
    this.#maxBytes = maxBytes
    this.#onFirstRead = onFirstRead
    // A body that fails while nobody listens is no reason to end the process.
    this.on("error", () => {})
  }

  override _read(): void {
    if (!this.#started) this.#start()
    this.#request.resume()
  }

  /** What is still to come is read and thrown away, so that the connection stays in step. */
  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#request.resume()
    callback(error)
  }

  #start(): void {
    this.#started = true
    const request = this.#request
    const gone = () => {
      if (!request.complete)
        this.destroy(new BextError("E_REQUEST_INVALID", "the client went away before its body ended"))
    }
    request.on("data", (chunk: Buffer) => this.#take(chunk))
    request.on("end", () => this.push(null))
    request.on("error", gone)
    request.on("close", gone)
    this.#onFirstRead()
    if (request.destroyed) gone()
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) return
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#maxBytes) {
      this.destroy(new BextError("E_BODY_TOO_LARGE", `the body is larger than ${this.#maxBytes} bytes`))
    } else if (!this.push(chunk)) {
      this.#request.pause()
    }
  }
}
