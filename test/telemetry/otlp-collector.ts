import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"

/** One span as it came over the wire. */
export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  /** "" for none. */
  readonly parentSpanId: string
  readonly name: string
  readonly kind: "INTERNAL" | "SERVER" | "CLIENT"
  readonly startNs: bigint
  readonly endNs: bigint
  readonly attributes: Readonly<Record<string, unknown>>
  readonly failed: boolean
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, unknown>>
}

export interface Collector extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly spans: ReceivedSpan[]
  readonly requests: { readonly path: string; readonly headers: IncomingMessage["headers"] }[]
  /** What it does with a request once it has arrived. The default answers 200. */
  answer: (outgoing: ServerResponse) => void
  /** Resolves when `enough` says yes to what has arrived. Fails after 20 s. */
  until(enough: (spans: readonly ReceivedSpan[]) => boolean): Promise<void>
  /** The spans of the request whose SERVER span has this path. */
  trace(path: string): Promise<readonly ReceivedSpan[]>
  /** Closes the listener and every connection. */
  kill(): Promise<void>
}

/** A collector on loopback that decodes what it gets by itself. */
export async function startCollector(port = 0): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  const requests: { path: string; headers: IncomingMessage["headers"] }[] = []
  const sockets = new Set<Socket>()
  const waiting = new Set<() => void>()
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of incoming) chunks.push(chunk as Uint8Array)
    requests.push({ path: incoming.url!, headers: incoming.headers })
    spans.push(...decodeTraceRequest(Buffer.concat(chunks)))
    collector.answer(outgoing)
    for (const look of waiting) look()
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve))
  const bound = (server.address() as AddressInfo).port
  const kill = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  const collector: Collector = {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    spans,
    requests,
    answer: (outgoing) => outgoing.end(),
    until(enough) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = () => {
        if (enough(spans)) resolve()
      }
      const timer = setTimeout(() => reject(new Error(`20 s, and only ${describe(spans)}`)), 20_000)
      waiting.add(look)
      look()
      return promise.finally(() => {
        clearTimeout(timer)
        waiting.delete(look)
      })
    },
    async trace(path) {
      const find = () => spans.find(({ kind, attributes }) => kind === "SERVER" && attributes["url.path"] === path)
      await collector.until(() => find() !== undefined)
      return spans.filter(({ traceId }) => traceId === find()!.traceId)
    },
    kill,
    [Symbol.asyncDispose]: kill,
  }
  return collector
}

function describe(spans: readonly ReceivedSpan[]): string {
  return JSON.stringify(spans.map(({ name, kind, attributes }) => [kind, name, attributes["url.path"]]))
}

/**
 * Decodes an ExportTraceServiceRequest.
 * Source: opentelemetry-proto, collector/trace/v1/trace_service.proto and trace/v1/trace.proto.
 */
export function decodeTraceRequest(bytes: Uint8Array): ReceivedSpan[] {
  return messages(bytes, 1).flatMap((resourceSpans) => {
    const resource = toAttributes(messages(messages(resourceSpans, 1)[0]!, 1))
    return messages(resourceSpans, 2)
      .flatMap((scopeSpans) => messages(scopeSpans, 2))
      .map((span) => toSpan(readFields(span), resource))
  })
}

const KINDS = ["", "INTERNAL", "SERVER", "CLIENT"] as const

function toSpan(fields: readonly Field[], resource: Record<string, unknown>): ReceivedSpan {
  const hex = (number: number) => Buffer.from((find(fields, number) as Uint8Array) ?? []).toString("hex")
  const status = readFields((find(fields, 15) as Uint8Array) ?? new Uint8Array())
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: toText(find(fields, 5)),
    kind: KINDS[Number(find(fields, 6))] as ReceivedSpan["kind"],
    startNs: find(fields, 7) as bigint,
    endNs: find(fields, 8) as bigint,
    attributes: toAttributes(fields.filter(({ number }) => number === 9).map(({ value }) => value as Uint8Array)),
    failed: find(status, 3) === 2n,
    resource,
  }
}

function toAttributes(pairs: readonly Uint8Array[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const fields = readFields(pair)
      return [toText(find(fields, 1)), toValue(readFields(find(fields, 2) as Uint8Array)[0]!)]
    }),
  )
}

/** AnyValue: string 1, bool 2, int 3. */
function toValue({ number, value }: Field): unknown {
  if (number === 1) return toText(value)
  if (number === 2) return value === 1n
  if (number === 3) return Number(value)
  throw new Error(`an attribute of type ${number}`)
}

function toText(value: Field["value"] | undefined): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(value as Uint8Array)
}

interface Field {
  readonly number: number
  readonly value: bigint | Uint8Array
}

function find(fields: readonly Field[], wanted: number): Field["value"] | undefined {
  return fields.find(({ number }) => number === wanted)?.value
}

function messages(bytes: Uint8Array, wanted: number): Uint8Array[] {
  return readFields(bytes)
    .filter(({ number }) => number === wanted)
    .map(({ value }) => value as Uint8Array)
}

/** The fields of a protobuf message. Source: protobuf.dev/programming-guides/encoding. */
function readFields(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fields: Field[] = []
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = view.getUint8(at++)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const number = tag >> 3
    switch (tag & 7) {
      case 0:
        fields.push({ number, value: varint() })
        break
      case 1:
        fields.push({ number, value: view.getBigUint64(at, true) })
        at += 8
        break
      case 2: {
        const length = Number(varint())
        fields.push({ number, value: bytes.subarray(at, at + length) })
        at += length
        break
      }
      case 5:
        fields.push({ number, value: BigInt(view.getUint32(at, true)) })
        at += 4
        break
      default:
        throw new Error(`wire type ${tag & 7}`)
    }
  }
  return fields
}
