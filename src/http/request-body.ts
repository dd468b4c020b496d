import type { IncomingMessage } from "node:http"
import { pipeline, Readable } from "node:stream"
import { BextError } from "../errors.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { RequestBody } from "../message/request-context.ts"
import type { BodyBudget } from "./body-budget.ts"
import { createBodyDecoder } from "./decode-body.ts"
import { LiveBody } from "./live-body.ts"

export interface RequestBodyOptions {
  /** `server.limits.body`, before decoding. */
  readonly maxBytes: number
  readonly budget: BodyBudget
  /** The header section as it is when the body is decoded or replaced. */
  readonly headers: () => HeaderList
  /** Sends 100 Continue to a client that waits for it. */
  readonly onFirstRead: () => void
}

export class HttpRequestBody implements RequestBody {
  readonly present: boolean
  readonly #request: IncomingMessage
  readonly #options: RequestBodyOptions
  #bytes: Uint8Array | undefined
  #live: LiveBody | undefined
  #buffering: Promise<Uint8Array> | undefined
  #failure: BextError | undefined
  /** Bytes taken from the budget, given back by `release`. */
  #takenBytes = 0

  constructor(request: IncomingMessage, present: boolean, options: RequestBodyOptions) {
    this.#request = request
    this.present = present
    this.#options = options
    if (!present) this.#bytes = new Uint8Array(0)
  }

  get bytes(): Uint8Array | undefined {
    return this.#bytes
  }

  async buffer(maxBytes: number): Promise<Uint8Array> {
    if (this.#bytes === undefined) {
      if (this.#live !== undefined && this.#buffering === undefined) {
        throw new TypeError("the body is already being read as a stream")
      }
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
    if (this.#live !== undefined) throw new TypeError("the body can be read as a stream once")
    return this.#open()
  }

  /** Ends whoever reads the body, now or later, with `failure`: the request timed out or is malformed. */
  fail(failure: BextError): void {
    this.#failure ??= failure
    this.#live?.destroy(failure)
  }

  /** Gives the budget back; the request is over. */
  release(): void {
    this.#options.budget.giveBack(this.#takenBytes)
    this.#takenBytes = 0
  }

  #open(): LiveBody {
    this.#live = new LiveBody(this.#request, this.#options.maxBytes, this.#options.onFirstRead)
    if (this.#failure !== undefined) this.#live.destroy(this.#failure)
    return this.#live
  }

  async #read(maxBytes: number): Promise<Uint8Array> {
    const decoder = createBodyDecoder(this.#options.headers().get("content-encoding"))
    const live = this.#open()
    // A failure of either reaches the loop below through the other; here it needs no second handling.
    const source = decoder === null ? live : pipeline(live, decoder, () => {})
    const chunks: Uint8Array[] = []
    let length = 0
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        length += chunk.length
        if (length > maxBytes) throw tooLarge(maxBytes)
        this.#options.budget.take(chunk.length)
        this.#takenBytes += chunk.length
        chunks.push(chunk)
      }
    } catch (error) {
      this.release()
      decoder?.destroy()
      live.destroy()
      throw toBodyError(error)
    }
    // `replace` may have come first.
    this.#bytes ??= Buffer.concat(chunks, length)
    if (decoder !== null) this.#describe(this.#bytes)
    return this.#bytes
  }

  /** Makes the header section fit bytes without content coding; digests of the old bytes no longer hold. */
  #describe(bytes: Uint8Array): void {
    const headers = this.#options.headers()
    for (const name of ["content-encoding", "content-digest", "digest", "content-md5"]) headers.delete(name)
    headers.set("content-length", String(bytes.length))
  }
}

function tooLarge(maxBytes: number): BextError {
  return new BextError("E_BODY_TOO_LARGE", `the body is larger than ${maxBytes} bytes`)
}

function toBodyError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code
  if (error instanceof BextError) return error
  if (typeof code === "string" && /^(Z_|ERR__ERROR|ERR_BROTLI|ERR_BUFFER)/.test(code)) {
    return new BextError("E_BODY_ENCODING", "the body is not in the content coding it claims", { cause: error })
  }
  return error
}
