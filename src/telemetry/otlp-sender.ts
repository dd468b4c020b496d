import http, { type ClientRequest, type IncomingMessage } from "node:http"
import https from "node:https"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { BextError } from "../errors.ts"
import { createToReadableSpan } from "./readable-span.ts"
import { SendFailure, type SpanSender } from "./span-queue.ts"
import type { OtlpConfig } from "./tracer.ts"

/** Longest answer that is read. */
const MAX_ANSWER_BYTES = 64 * 1024

/** Source: OTLP 1.9 §"OTLP/HTTP Throttling", "Retryable Response Codes". */
const RETRYABLE = new Set([429, 502, 503, 504])

/**
 * Sends spans to a collector: OTLP over HTTP/1.1, protobuf. Redirects are not followed, since whoever gets the spans gets the
 * headers too. This file loads the OpenTelemetry packages, so only `Tracers` imports it, and late.
 * @throws {BextError} `E_CONFIG_INVALID` when the value of a header cannot be sent.
 */
export function createOtlpSender(config: OtlpConfig): SpanSender {
  const url = new URL(config.endpoint)
  if (url.pathname === "/") url.pathname = "/v1/traces"
  const headers = { "content-type": "application/x-protobuf", ...revealHeaders(config.headers) }
  const toReadableSpan = createToReadableSpan(config.service_name)
  const { Agent, request: begin } = url.protocol === "https:" ? https : http
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  return {
    destination: url.href,
    async send(spans, signal) {
      const body = ProtobufTraceSerializer.serializeRequest(spans.map(toReadableSpan))!
      // Not undici: it ends no request before its connection is made, and that may take for ever.
      const request = begin(url, { method: "POST", headers, agent, signal })
      const { status, retryAfter, answer } = await exchange(request, body)
      if (status >= 200 && status < 300) return countRejected(answer)
      if (RETRYABLE.has(status)) throw new SendFailure(`status ${status}`, toMs(retryAfter))
      throw new Error(`status ${status}`)
    },
    close: async () => agent.destroy(),
  }
}

interface Answered {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly answer: Uint8Array
}

/** @throws {SendFailure} There is no answer, or too much of it. */
async function exchange(request: ClientRequest, body: Uint8Array): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request.once("response", resolve)
  // It stays: an error after the response is one of the response's stream as well.
  request.on("error", reject)
  // The only event there is when the other end switches protocols.
  request.once("close", () => reject(new Error("the connection ended without an answer")))
  request.end(body)
  try {
    const message = await promise
    const answer = await readAll(message)
    return { status: message.statusCode!, retryAfter: message.headers["retry-after"], answer }
  } catch (error) {
    throw new SendFailure(error instanceof Error ? error.message : String(error), null, { cause: error })
  }
}

function revealHeaders(headers: OtlpConfig["headers"]): Record<string, string> {
  const entries = Object.entries(headers).map(([name, secret]) => {
    const value = secret.reveal()
    if (/^[\t\x20-\x7e]*$/.test(value)) return [name, value]
    const what = `middleware.tracing.otlp.headers: the value of ${secret} for ${name} cannot be sent in a header`
    throw new BextError("E_CONFIG_INVALID", what)
  })
  return Object.fromEntries(entries)
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop early destroys the body, and with it the connection.
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What a collector says beside its 200 is a courtesy: rubbish counts as nothing. */
function countRejected(answer: Uint8Array): number {
  try {
    const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(answer)
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0)
    return rejected > 0 ? rejected : 0
  } catch {
    return 0
  }
}

/** Of Retry-After, the seconds; a date counts as nothing. Source: RFC 9110 §10.2.3. */
function toMs(field: string | undefined): number | null {
  return field !== undefined && /^\d{1,6}$/.test(field) ? Number(field) * 1000 : null
}
