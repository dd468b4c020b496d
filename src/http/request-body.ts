import type { IncomingMessage } from "node:http"
import { Readable } from "node:stream"
import { BextError } from "../errors.ts"
import { ByteCollector } from "../message/byte-collector.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { RequestBody } from "../message/request-context.ts"
import type { Trailers } from "../message/trailers.ts"
import type { BodyBudget } from "./body-budget.ts"
import { createBodyDecoder } from "./decode-body.ts"
import { LiveBody } from "./live-body.ts"

export interface RequestBodyOptions {
  /** `server.limits.body`, before decoding. */
  readonly maxBytes: number
  readonly budget: BodyBudget
  readonly trailers: Trailers | null
  /** The header section as it is when the body is decoded or replaced. */
  readonly headers: () => HeaderList
  /** Sends 100 Continue to a client that waits for it. */
  readonly onFirstRead: () => void
}

const EMPTY = new Uint8Array(0)
/** Fields that no longer hold for other bytes. */
const STALE = ["content-encoding", "content-digest", "repr-digest", "digest", "content-md5"]

export class HttpRequestBody implements RequestBody {
  readonly present: boolean
  trailers: Trailers | null
  readonly #request: IncomingMessage
  readonly #options: RequestBodyOptions
  #bytes: Uint8Array | undefined
  /** What arrives, once somebody reads it. */
  #live: Readable | undefined
  #streamed = false
  #buffering: Promise<Uint8Array> | undefined
  #failure: BextError | undefined
  /** Bytes taken from the budget, given back by `release`. */
  #takenBytes = 0

  constructor(request: IncomingMessage, present: boolean, options: RequestBodyOptions) {
    this.#request = request
    this.present = present
    this.#options = options
    this.trailers = options.trailers
    if (!present) this.#bytes = EMPTY
  }

  get bytes(): Uint8Array | undefined {
    return this.#bytes
  }

  async buffer(maxBytes: number): Promise<Uint8Array> {
    if (this.#bytes === undefined) {
      if (this.#streamed) throw new TypeError("the body is already being read as a stream")
      this.#buffering ??= this.#read(maxBytes)
      await this.#buffering
    }
    const bytes = this.#bytes!
    if (bytes.length > maxBytes) throw tooLarge(maxBytes)
    return bytes
  }

  replace(bytes: Uint8Array): void {
    this.#bytes = bytes
    this.#describe(bytes)
    this.#live?.destroy()
  }

  stream(): Readable {
    if (this.#bytes !== undefined) return Readable.from(this.#bytes.length === 0 ? [] : [this.#bytes])
    if (this.#streamed || this.#buffering !== undefined) throw new TypeError("the body can be read as a stream once")
    this.#streamed = true
    return this.#open()
  }

  /** Ends whoever reads the body, now or later, with `failure`: the request timed out or is malformed. */
  fail(failure: BextError): void {
    this.#failure ??= failure
    this.#live?.destroy(failure)
  }

  /**
   * The request is over: gives the budget back, and with it the bytes, as a guest's leftover work may hold on to the
   * request; and reads past what nobody wanted, so that the next request is seen.
   */
  release(): void {
    this.#giveBack(this.#takenBytes)
    this.#live?.destroy()
    this.#live = undefined
    this.#streamed = true
    this.#buffering = undefined
    this.trailers = null
    this.#bytes = this.present ? undefined : EMPTY
  }

  #open(): Readable {
    this.#live ??= new LiveBody(this.#request, this.#options.maxBytes, this.#options.onFirstRead)
    if (this.#failure !== undefined) this.#live.destroy(this.#failure)
    return this.#live
  }

  async #read(maxBytes: number): Promise<Uint8Array> {
    let bytes: Uint8Array
    try {
      bytes = await this.#collect(maxBytes)
    } catch (error) {
      this.#buffering = undefined
      if (this.#bytes === undefined) throw toBodyError(error)
    }
    // `replace` may have come in between: nobody needs what was sent any more.
    this.#bytes ??= bytes!
    return this.#bytes
  }

  async #collect(maxBytes: number): Promise<Uint8Array> {
    const decoder = createBodyDecoder(this.#options.headers().get("content-encoding"))
    if (decoder === null && Number(this.#request.headers["content-length"]) > maxBytes) throw tooLarge(maxBytes)
    const live = this.#open()
    if (live.destroyed) throw live.errored ?? endedEarly()
    const received = new ByteCollector()
    const decoded = decoder === null ? received : new ByteCollector()
    try {
      if (decoder === null) await collect(live, (chunk) => this.#keep(chunk, received, maxBytes))
      else {
        const receiving = collect(live, (chunk) => this.#keep(chunk, received, Number.POSITIVE_INFINITY))
        const decoding = collect(live.pipe(decoder), (chunk) => this.#keep(chunk, decoded, maxBytes))
        await Promise.all([receiving, decoding])
      }
    } catch (error) {
      live.unpipe().removeAllListeners("data")
      decoder?.destroy()
      if (live.errored === null && isTooLarge(error)) this.#putBack(live, received.toBuffer())
      else this.#giveUp(live, error as Error)
      throw error
    }
    const bytes = decoded.toBuffer()
    if (decoder !== null) {
      this.#giveBack(received.length)
      if (this.#bytes === undefined) this.#describe(bytes)
    }
    return bytes
  }

  #keep(chunk: Uint8Array, collected: ByteCollector, maxBytes: number): void {
    this.#options.budget.take(chunk.length)
    this.#takenBytes += chunk.length
    collected.append(chunk)
    if (collected.length > maxBytes) throw tooLarge(maxBytes)
  }

  /** Too large for this reader; the next one, or the app, gets the whole body. */
  #putBack(live: Readable, received: Uint8Array): void {
    if (live.readableEnded) this.#live = Readable.from([received])
    else live.unshift(received)
  }

  #giveUp(live: Readable, error: Error): void {
    live.destroy(error)
    this.#giveBack(this.#takenBytes)
  }

  #giveBack(bytes: number): void {
    this.#options.budget.giveBack(bytes)
    this.#takenBytes -= bytes
  }

  /** Makes the header section fit bytes without content coding; digests of the old bytes no longer hold. */
  #describe(bytes: Uint8Array): void {
    const headers = this.#options.headers()
    for (const name of STALE) headers.delete(name)
    for (const name of STALE) this.trailers?.fields.delete(name)
    headers.set("content-length", String(bytes.length))
  }
}

/** Hands every chunk to `take` until the end. Events, not iteration: a chunk may be a single byte. */
function collect(source: Readable, take: (chunk: Uint8Array) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onData = (chunk: Uint8Array) => {
    try {
      take(chunk)
    } catch (error) {
      // At once: what follows stays in the source, whose next reader wants it.
      source.off("data", onData).pause()
      reject(error)
    }
  }
  source.on("data", onData)
  source.once("end", resolve)
  source.on("error", reject)
  source.once("close", () => reject(endedEarly()))
  source.resume()
  return promise
}

function tooLarge(maxBytes: number): BextError {
  return new BextError("E_BODY_TOO_LARGE", `the body is larger than ${maxBytes} bytes`)
}

function isTooLarge(error: unknown): boolean {
  return error instanceof BextError && error.code === "E_BODY_TOO_LARGE"
}

function endedEarly(): BextError {
  return new BextError("E_REQUEST_INVALID", "the body ended early")
}

function toBodyError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code
  if (error instanceof BextError) return error
  if (typeof code === "string" && /^(Z_|ERR__ERROR|ERR_BROTLI|ERR_BUFFER)/.test(code)) {
    return new BextError("E_BODY_ENCODING", "the body is not in the content coding it claims", { cause: error })
  }
  return error
}
