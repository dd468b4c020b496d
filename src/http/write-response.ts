import type { IncomingMessage, ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { BextError } from "../errors.ts"
import { equalNames, type HeaderList } from "../message/header-list.ts"
import type { ResponseState } from "../message/request-context.ts"
import { namesOf, type Trailers } from "../message/trailers.ts"
import type { Connection } from "./connection.ts"

/** A request as the connection it came on sees it. */
export interface Exchange {
  readonly clientMethod: string
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly connection: Connection
  /** Whether the whole request, body included, has arrived. */
  readonly received: boolean
  /** Whether the client keeps trailer fields. */
  readonly takesTrailers: boolean
  /** Ends whoever reads the body with `error`. */
  failBody(error: BextError): void
}

/** How a response ended. */
export interface WriteResult {
  readonly status: number
  /** Body bytes handed to the connection, framing not counted. */
  readonly bytes: number
  /** The client went away, or the source of the body failed, before the end. */
  readonly aborted: boolean
}

export interface WriteOptions {
  /** Ends the connection after this response. */
  readonly close: boolean
  /** How long a client may take none of what is waiting for it. */
  readonly idleMs: number
}

/** Node puts a text and the header section into one write, bytes into a second one: small bodies go as text. */
const JOINED_BYTES = 16 * 1024

/** How long a body nobody wants is read on after the answer. */
const LINGER_MS = 1_000

/**
 * Writes `response` as the answer of `exchange`. Framing is decided here and nowhere else: Content-Length for what is
 * known, chunked (or the end of the connection for HTTP/1.0) for streams and in front of trailer fields; no body for HEAD,
 * 204, 205 and 304. A stream that fails or is shorter than its Content-Length cuts the connection: a truncated response
 * must not look whole. Trailer fields go to clients that said that they keep them (RFC 9110 §6.5.1).
 * @param done - Called once; before this function returns when everything already went to the kernel.
 * @throws {BextError} `E_STATUS_INVALID`, `E_HEADER_INVALID`, `E_RESPONSE_BODY`; nothing has been written then and `done` is not called.
 * Source: RFC 9112 §6, RFC 9110 §8.6.
 */
export function writeResponse(
  exchange: Exchange,
  response: ResponseState,
  options: WriteOptions,
  done: (result: WriteResult) => void,
): void {
  const { status, body } = response
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new BextError("E_STATUS_INVALID", `the response has status ${status}`)
  }
  const isHead = exchange.clientMethod === "HEAD"
  const bodiless = isHead || status === 204 || status === 205 || status === 304
  // It failed while somebody waited before the writer's turn, and will tell nobody a second time.
  if (body instanceof Readable && body.destroyed && !bodiless) {
    throw new BextError("E_RESPONSE_BODY", "the body broke off before it could be sent", { cause: body.errored })
  }
  const trailers = exchange.takesTrailers && !bodiless ? (response.trailers ?? null) : null
  const { fields, declaredBytes } = frame(response.headers, status, body, isHead, trailers)
  writeHead(exchange, status, fields, options.close)
  if (body instanceof Readable) {
    if (!bodiless) {
      writeStream(exchange, body, { status, declaredBytes, trailers, idleMs: options.idleMs }, done)
      return
    }
    body.destroy()
    writeWhole(exchange, null, { status, bytes: 0, idleMs: options.idleMs }, done)
  } else {
    const whole = bodiless ? null : body
    if (trailers !== null) exchange.outgoing.addTrailers([...trailers.fields])
    const bytes = whole === null ? 0 : (declaredBytes ?? Buffer.byteLength(whole))
    writeWhole(exchange, whole, { status, bytes, idleMs: options.idleMs }, done)
  }
}

/**
 * Writes the header section of a response with status 101, behind which the connection speaks the websocket protocol.
 * @param handshake - Fields of the handshake; any that `headers` has are left out.
 * @throws {BextError} `E_HEADER_INVALID`; nothing has been written then.
 * Source: RFC 9110 §15.2.2, RFC 6455 §4.2.2.
 */
export function writeSwitchingProtocols(
  outgoing: ServerResponse,
  headers: HeaderList,
  handshake: readonly (readonly [string, string])[],
): void {
  const fields = ["Upgrade", "websocket", "Connection", "Upgrade", ...handshake.flat()]
  for (const [name, value] of headers) {
    if (!isFraming(name) && !name.toLowerCase().startsWith("sec-websocket-")) fields.push(name, value)
  }
  try {
    outgoing.writeHead(101, fields)
  } catch (cause) {
    throw new BextError("E_HEADER_INVALID", "the response has a header that cannot be sent", { cause })
  }
  outgoing.flushHeaders()
}

interface Head {
  readonly fields: string[]
  /** Content-Length; of a streamed body, when whoever made the stream knows it. */
  readonly declaredBytes: number | undefined
}

/** The header section as it goes out: what the handler said, without anything that frames or belongs to a connection. */
function frame(
  headers: HeaderList,
  status: number,
  body: ResponseState["body"],
  head: boolean,
  trailers: Trailers | null,
): Head {
  const fields: string[] = []
  let declared: string | undefined
  const raw = headers.raw
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!
    if (isFraming(name)) {
      if (equalNames(name, "content-length")) declared = raw[at + 1]!
      continue
    }
    fields.push(name, raw[at + 1]!)
  }
  if (status === 204 || status === 304) return { fields, declaredBytes: undefined }
  if (trailers !== null) {
    const names = body instanceof Readable && trailers.fields.size === 0 ? trailers.announced : namesOf(trailers.fields)
    if (names !== "") {
      fields.push("Trailer", names)
      return { fields, declaredBytes: undefined }
    }
  }
  const known = knownLength(status, body, head)
  if (known !== undefined) {
    fields.push("Content-Length", String(known))
    return { fields, declaredBytes: known }
  }
  if (declared === undefined || !/^\d{1,15}$/.test(declared)) return { fields, declaredBytes: undefined }
  fields.push("Content-Length", declared)
  return { fields, declaredBytes: Number(declared) }
}

/** Undefined for a stream, and for HEAD without a body: there the handler may know what GET would have sent. */
function knownLength(status: number, body: ResponseState["body"], head: boolean): number | undefined {
  if (status === 205) return 0
  if (typeof body === "string" || body instanceof Uint8Array) return Buffer.byteLength(body)
  return body === null && !head ? 0 : undefined
}

function isFraming(name: string): boolean {
  switch (name.length) {
    case 7:
      return equalNames(name, "upgrade") || equalNames(name, "trailer")
    case 10:
      return equalNames(name, "connection") || equalNames(name, "keep-alive")
    case 14:
      return equalNames(name, "content-length")
    case 16:
      return equalNames(name, "proxy-connection")
    case 17:
      return equalNames(name, "transfer-encoding")
    default:
      return false
  }
}

function writeHead(exchange: Exchange, status: number, fields: string[], mustClose: boolean): void {
  const { connection, outgoing } = exchange
  const close = (mustClose || !mayKeepAlive(exchange)) && connection.isLatest(exchange)
  if (close) outgoing.shouldKeepAlive = false
  try {
    outgoing.writeHead(status, fields)
  } catch (cause) {
    throw new BextError("E_HEADER_INVALID", "the response has a header that cannot be sent", { cause })
  }
  if (close) connection.closing = true
}

/**
 * Not after an Upgrade that was ignored: Node's parser stops there and drops what followed. Nor in the middle of a body
 * without a known end: it would have to be read, however long, to keep the connection in step.
 */
function mayKeepAlive(exchange: Exchange): boolean {
  const { headers } = exchange.incoming
  if (headers.upgrade !== undefined) return false
  return exchange.received || (headers["content-length"] !== undefined && !exchange.connection.refused)
}

interface WholeOptions {
  readonly status: number
  /** Of the content. */
  readonly bytes: number
  readonly idleMs: number
}

function writeWhole(
  exchange: Exchange,
  content: string | Uint8Array | null,
  { status, bytes, idleMs }: WholeOptions,
  done: (result: WriteResult) => void,
): void {
  const { outgoing, connection } = exchange
  if (mustLinger(exchange)) {
    if (bytes > 0) outgoing.write(content)
    else outgoing.flushHeaders()
    endAfterBody(exchange)
  } else if (bytes === 0) {
    outgoing.end()
  } else if (content!.length === bytes && typeof content === "string") {
    // As many bytes as characters: ASCII, which Node writes faster under this name.
    outgoing.end(content, "latin1")
  } else if (typeof content !== "string" && bytes <= JOINED_BYTES) {
    outgoing.end(toLatin1(content!), "latin1")
  } else {
    outgoing.end(content)
  }
  const { socket } = connection
  if (outgoing.writableEnded && outgoing.socket === socket && !socket.destroyed && socket.writableLength === 0) {
    done({ status, bytes, aborted: false })
    return
  }
  limitStall(exchange, idleMs)
  whenClosed(outgoing, (finished) => {
    liftStall(exchange)
    done({ status, bytes: finished ? bytes : 0, aborted: !finished })
  })
}

/** Every byte as one character: written under this name they are the same bytes again. */
function toLatin1({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("latin1")
}

interface StreamOptions {
  readonly status: number
  readonly declaredBytes: number | undefined
  readonly trailers: Trailers | null
  readonly idleMs: number
}

function writeStream(
  exchange: Exchange,
  source: Readable,
  { status, declaredBytes, trailers, idleMs }: StreamOptions,
  done: (result: WriteResult) => void,
): void {
  const res = exchange.outgoing
  let bytes = 0
  let ended = false
  const cut = () => {
    source.destroy()
    res.destroy()
  }
  source.on("data", (chunk: string | Uint8Array) => {
    bytes += Buffer.byteLength(chunk)
    if (declaredBytes !== undefined && bytes > declaredBytes) {
      cut()
    } else if (!res.write(chunk)) {
      source.pause()
      limitStall(exchange, idleMs)
    }
  })
  res.on("drain", () => {
    exchange.connection.socket.setTimeout(0)
    source.resume()
  })
  source.once("end", () => {
    if (declaredBytes !== undefined && bytes < declaredBytes) {
      cut()
      return
    }
    ended = true
    if (trailers !== null) res.addTrailers([...trailers.fields])
    if (mustLinger(exchange)) endAfterBody(exchange)
    else res.end()
    limitStall(exchange, idleMs)
  })
  source.once("error", cut)
  source.once("close", () => {
    if (!ended) cut()
  })
  whenClosed(res, (finished) => {
    source.destroy()
    liftStall(exchange)
    done({ status, bytes, aborted: !finished })
  })
  // A source that has nothing to say yet (server-sent events) must not keep the header section back.
  setImmediate(() => {
    if (bytes === 0 && !res.destroyed && !res.writableEnded) res.flushHeaders()
  })
}

/** Destroys the connection when the client takes nothing of this response for `idleMs`. */
function limitStall({ outgoing, connection }: Exchange, idleMs: number): void {
  const { socket } = connection
  // Behind a pipelined response the clock starts when this one's turn comes.
  if (outgoing.socket === null) outgoing.once("socket", () => socket.setTimeout(idleMs))
  else socket.setTimeout(idleMs)
}

/** The response is out. Behind the last one Node's keep-alive timeout takes over. */
function liftStall({ connection }: Exchange): void {
  if (connection.inFlight > 1) connection.socket.setTimeout(0)
}

/** Calls back once, when everything is flushed (true) or the connection is gone before (false). */
function whenClosed(res: ServerResponse, callback: (finished: boolean) => void): void {
  let called = false
  const call = (finished: boolean) => {
    if (called) return
    called = true
    callback(finished)
  }
  if (res.destroyed) {
    call(false)
    return
  }
  res.once("finish", () => call(true))
  res.once("close", () => call(res.writableFinished))
}

function mustLinger({ outgoing, received }: Exchange): boolean {
  return !outgoing.shouldKeepAlive && !received
}

/**
 * Ends the response, and with it the connection, only when the client has stopped sending: closing with unread bytes
 * resets the connection, and the client might never see the answer. Source: RFC 9112 §9.6.
 */
function endAfterBody({ incoming, outgoing }: Exchange): void {
  const end = () => {
    clearTimeout(timer)
    outgoing.end()
  }
  const timer = setTimeout(end, LINGER_MS).unref()
  incoming.once("end", end)
  incoming.once("close", end)
  incoming.resume()
}
