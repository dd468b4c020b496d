import { Readable } from "node:stream"
import { BextError } from "../../src/errors.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestBody, RequestContext, ResponseState } from "../../src/message/request-context.ts"
import type { Trailers } from "../../src/message/trailers.ts"

export interface ContextInput {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly hostname?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: string | undefined
  readonly trailers?: readonly (readonly [string, string])[]
  readonly tenantId?: string | null
  readonly response?: ResponseState | null
  readonly signal?: AbortSignal
}

/** A request as the server hands it to the stack. */
export function requestContext(input: ContextInput = {}): RequestContext {
  return {
    method: input.method ?? "GET",
    clientMethod: input.method ?? "GET",
    path: input.path ?? "/",
    query: input.query ?? "",
    scheme: "http",
    host: input.hostname ?? "example.com",
    hostname: input.hostname ?? "example.com",
    clientAddress: "192.0.2.1",
    clientPort: 4711,
    protocolVersion: "HTTP/1.1",
    requestId: "0123456789abcdef0123456789abcdef",
    startedAtMs: performance.now(),
    requestHeaders: HeaderList.from(input.headers ?? []),
    requestBody: new TextBody(input.body, input.trailers),
    user: null,
    tenantId: input.tenantId ?? null,
    siteId: null,
    extensions: null,
    response: input.response ?? null,
    traceparent: null,
    timings: null,
    signal: input.signal ?? new AbortController().signal,
  }
}

export function response(
  body: ResponseState["body"],
  headers: readonly (readonly [string, string])[] = [],
  status = 200,
): ResponseState {
  return { status, headers: HeaderList.from(headers), body }
}

/** The body as one string, whatever form it has. */
export async function textOf(body: ResponseState["body"]): Promise<string> {
  if (body === null) return ""
  if (!(body instanceof Readable)) return Buffer.from(body as string).toString()
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks).toString()
}

class TextBody implements RequestBody {
  readonly present: boolean
  bytes: Uint8Array | undefined
  trailers: Trailers | null
  readonly #text: string | undefined

  constructor(text: string | undefined, trailers: ContextInput["trailers"]) {
    this.present = text !== undefined
    this.trailers = trailers === undefined ? null : { announced: "", fields: HeaderList.from(trailers) }
    this.#text = text
  }

  async buffer(maxBytes: number): Promise<Uint8Array> {
    const bytes = this.bytes ?? Buffer.from(this.#text ?? "")
    if (bytes.length > maxBytes) throw new BextError("E_BODY_TOO_LARGE", "the body is too large")
    this.bytes = bytes
    return bytes
  }

  replace(bytes: Uint8Array): void {
    this.bytes = bytes
  }

  stream(): Readable {
    return Readable.from([this.bytes ?? Buffer.from(this.#text ?? "")])
  }
}
