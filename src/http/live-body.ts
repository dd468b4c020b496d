import type { IncomingMessage } from "node:http"
import { Readable } from "node:stream"
import { BextError } from "../errors.ts"
import { ByteCollector } from "../message/byte-collector.ts"

/**
 * The bytes of a request body as they arrive, with back-pressure, a limit, and failures that carry a code:
 * `E_BODY_TOO_LARGE`, and `E_CLIENT_LEFT` when the client goes away. Starts to read, and lets a client that asked
 * (Expect: 100-continue) send, only when somebody reads it.
 */
export class LiveBody extends Readable {
  readonly #request: IncomingMessage
  readonly #maxBytes: number
  readonly #onFirstRead: () => void
  #receivedBytes = 0
  #started = false
  /** Somebody reads and has got nothing since. */
  #wanted = false
  /** What came while nobody read, put together: it may have come a byte at a time. */
  #held = new ByteCollector()

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
    if (this.#held.length === 0) this.#wanted = true
    else this.#pushHeld()
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
      if (!request.complete) this.destroy(new BextError("E_CLIENT_LEFT", "the client went away before its body ended"))
    }
    request.on("data", (chunk: Buffer) => this.#take(chunk))
    request.on("end", () => {
      if (this.#held.length > 0) this.#pushHeld()
      this.push(null)
    })
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
    } else if (this.#wanted) {
      this.#wanted = false
      this.push(chunk)
    } else {
      this.#held.append(chunk)
      if (this.#held.length >= this.readableHighWaterMark) this.#request.pause()
    }
  }

  #pushHeld(): void {
    const held = this.#held.toBuffer()
    this.#held = new ByteCollector()
    this.push(held)
  }
}
