import { Readable } from "node:stream"
import { setTimeout as wait } from "node:timers/promises"
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

async function readAll(
  source: Readable,
  limits: BufferLimits,
  budget: Pick<ByteBudget, "take">,
  signal: AbortSignal,
): Promise<Read> {
  const chunks: Uint8Array[] = []
  const iterator = source.iterator({ destroyOnReturn: false })
  const timer = new AbortController()
  const timeUp = wait(limits.maxMs, undefined, { signal: timer.signal, ref: false }).catch(() => undefined)
  const destroy = () => source.destroy(signal.reason instanceof Error ? signal.reason : undefined)
  signal.addEventListener("abort", destroy)
  let size = 0
  try {
    for (;;) {
      const next = iterator.next()
      const result = await Promise.race([next, timeUp])
      if (result === undefined) {
        const rest = replay(chunks, next, iterator, source)
        return { body: rest, fault: `response body did not end within ${limits.maxMs} ms` }
      }
      if (result.done === true) return { body: Buffer.concat(chunks, size), fault: undefined }
      const chunk = typeof result.value === "string" ? Buffer.from(result.value) : (result.value as Uint8Array)
      budget.take(chunk.length)
      chunks.push(chunk)
      size += chunk.length
      if (size > limits.maxBytes) {
        const rest = replay(chunks, iterator.next(), iterator, source)
        return { body: rest, fault: `response body is over max_body (${limits.maxBytes} bytes)` }
      }
    }
  } catch (error) {
    source.destroy()
    throw error
  } finally {
    timer.abort()
    signal.removeEventListener("abort", destroy)
  }
}

/** The stream as it would have been without anybody reading its start. */
function replay(
  chunks: readonly Uint8Array[],
  next: Promise<IteratorResult<unknown>>,
  iterator: AsyncIterator<unknown>,
  source: Readable,
): Readable {
  next.catch(() => undefined) // reported when the consumer gets there
  async function* whole(): AsyncGenerator<unknown> {
    yield* chunks
    for (let result = await next; result.done !== true; result = await iterator.next()) yield result.value
  }
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
