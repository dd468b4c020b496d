import { Readable } from "node:stream"
import { ByteCollector } from "../message/byte-collector.ts"
import { DecodeFailure, decodeContent, toCodings } from "../message/decode-content.ts"
import type { ResponseState } from "../message/request-context.ts"

const EMPTY = new Uint8Array(0)

/** How the body of a response can be shown to a guest. */
export type BodyState =
  /** As it is, at once. */
  | "ready"
  /** After `bufferResponse`. */
  | "waits"
  /** Never: a stream of events has no end (HTML Standard §9.2). */
  | "endless"

export function bodyState(response: ResponseState): BodyState {
  const { body, headers } = response
  if (body === null) return "ready"
  if (body instanceof Readable) return isEventStream(headers.get("content-type")) ? "endless" : "waits"
  const codings = headers.get("content-encoding")
  return codings === undefined || toCodings(codings).length === 0 ? "ready" : "waits"
}

/** Bytes of buffered bodies in the whole process. */
export interface ByteBudget {
  /** @throws {BextError} `E_OVERLOADED`; nothing is taken then. */
  take(bytes: number): void
  giveBack(bytes: number): void
}

export interface BufferLimits {
  /** Largest body, both as received and decoded. */
  readonly maxBytes: number
  /** Longest time to wait for the end of it. */
  readonly maxMs: number
}

/**
 * Reads a response's body to its end; afterwards `response.body` is in memory.
 * @param budget - What the bytes are taken from; the caller gives them back.
 * @returns The body without its content coding, or what is in the way of that as text. In the latter case the response
 *   still has its whole body, if need be as a stream of what was read and what follows.
 * @throws what the stream fails with; {BextError} `E_OVERLOADED`.
 */
export async function bufferResponse(
  response: ResponseState,
  limits: BufferLimits,
  budget: Pick<ByteBudget, "take">,
  signal: AbortSignal,
): Promise<Uint8Array | string> {
  const { body } = response
  if (body instanceof Readable) {
    const read = await readAll(body, limits, budget, signal)
    response.body = read.body
    if (read.fault !== undefined) return read.fault
  }
  const whole = response.body as null | string | Uint8Array
  const bytes = whole === null ? EMPTY : typeof whole === "string" ? Buffer.from(whole) : whole
  const codings = response.headers.get("content-encoding")
  if (codings === undefined) return bytes
  const decoded = await decodeContent(bytes, codings, limits.maxBytes)
  if (decoded instanceof DecodeFailure) return `response body cannot be decoded (${show(codings)}) within max_body`
  if (decoded !== bytes) budget.take(decoded.length)
  return decoded
}

type Read =
  | { readonly body: Uint8Array; readonly fault: undefined }
  | { readonly body: Readable; readonly fault: string }

/** One listener for the whole body, not a promise for each chunk: whoever sends a byte at a time makes millions of them. */
function readAll(
  source: Readable,
  limits: BufferLimits,
  budget: Pick<ByteBudget, "take">,
  signal: AbortSignal,
): Promise<Read> {
  const { promise, resolve, reject } = Promise.withResolvers<Read>()
  const collected = new ByteCollector()
  const give = (fault: string) => {
    source.pause()
    forget()
    resolve({ body: replay(collected.toBuffer(), source), fault })
  }
  const fail = (error: unknown) => {
    forget()
    source.destroy()
    reject(error)
  }
  const collect = (data: string | Uint8Array) => {
    const chunk = typeof data === "string" ? Buffer.from(data) : data
    try {
      budget.take(chunk.length)
    } catch (error) {
      fail(error)
      return
    }
    collected.append(chunk)
    if (collected.length > limits.maxBytes) give(`response body is over max_body (${limits.maxBytes} bytes)`)
  }
  const end = () => {
    forget()
    resolve({ body: collected.toBuffer(), fault: undefined })
  }
  const close = () => fail(source.errored ?? new Error("the response body broke off"))
  const abort = () => fail(signal.reason)
  const timer = setTimeout(() => give(`response body did not end within ${limits.maxMs} ms`), limits.maxMs).unref()
  function forget(): void {
    clearTimeout(timer)
    signal.removeEventListener("abort", abort)
    source.off("data", collect).off("end", end).off("error", fail).off("close", close)
  }

  source.on("data", collect).once("end", end).once("error", fail).once("close", close)
  signal.addEventListener("abort", abort)
  if (source.destroyed) close()
  else if (signal.aborted) abort()
  return promise
}

/** The stream as it would have been without anybody reading its start. */
function replay(start: Uint8Array, source: Readable): Readable {
  async function* whole(): AsyncGenerator<unknown> {
    yield start
    yield* source
  }
  // A failure before anybody reads on is found again by whoever does.
  source.on("error", () => {})
  const stream = Readable.from(whole(), { objectMode: false })
  // Also when nobody ever read from it, in which case the generator has not started and could not clean up.
  stream.once("close", () => source.destroy())
  return stream
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 64))
}

function isEventStream(contentType: string | undefined): boolean {
  return contentType !== undefined && /^\s*text\/event-stream\s*(;|$)/i.test(contentType)
}
