import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { Pool } from "undici"
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
  const { origin, pathname } = new URL(config.endpoint)
  const path = pathname === "/" ? "/v1/traces" : pathname
  const headers = { "content-type": "application/x-protobuf", ...revealHeaders(config.headers) }
  const toReadableSpan = createToReadableSpan(config.service_name)
  const pool = new Pool(origin, { connections: 1, pipelining: 1, allowH2: false, connect: { timeout: config.timeout } })
  return {
    destination: origin + path,
    async send(spans, signal) {
      const body = ProtobufTraceSerializer.serializeRequest(spans.map(toReadableSpan))!
      const { statusCode, headers: answered, answer } = await post({ method: "POST", path, headers, body, signal })
      if (statusCode >= 200 && statusCode < 300) return countRejected(answer)
      if (RETRYABLE.has(statusCode)) throw new SendFailure(`status ${statusCode}`, toMs(answered["retry-after"]))
      throw new Error(`status ${statusCode}`)
    },
    close: () => pool.destroy(),
  }

  async function post(request: Parameters<Pool["request"]>[0]) {
    try {
      const { statusCode, headers, body } = await pool.request(request)
      return { statusCode, headers, answer: await readAll(body) }
    } catch (error) {
      throw new SendFailure(error instanceof Error ? error.message : String(error), null, { cause: error })
    }
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
function toMs(field: string | string[] | undefined): number | null {
  return typeof field === "string" && /^\d{1,6}$/.test(field) ? Number(field) * 1000 : null
}
