import http, { type ClientRequest, type IncomingMessage } from "node:http"
import https from "node:https"
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import { BextError } from "../errors.ts"
import { namesOf, type Trailers } from "../message/trailers.ts"
import { MAX_HEADER_BYTES } from "./upstream-websockets.ts"

export interface RequestWithTrailers {
  readonly method: string
  /** Path and query of the upstream's resource, encoded. */
  readonly path: string
  /** Flat [name, value, …], as `toUpstreamHeaders` makes them. */
  readonly headers: readonly string[]
  readonly body: Uint8Array | Readable
  readonly trailers: Trailers
  readonly signal: AbortSignal
  /** Milliseconds to connect, and without a byte in either direction when the upstream's turn has come. */
  readonly timeoutMs: number
}

/**
 * Sends a request with chunked content and a trailer section behind it, which the client for all others cannot. On a
 * connection of its own: such requests are rare.
 * @returns The response as soon as its header section is there; its content is still to be read.
 * @throws {BextError} `E_UPSTREAM_TIMEOUT`, `E_UPSTREAM_INVALID`; whatever `body` failed with; an error of Node.
 */
export function sendWithTrailers(url: URL, options: RequestWithTrailers): Promise<IncomingMessage> {
  const { method, path, body, trailers, signal, timeoutMs } = options
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = (url.protocol === "https:" ? https : http).request(url, {
    method,
    path,
    headers: toChunked(options),
    agent: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
  })
  const fail = (error: unknown) => {
    request.destroy()
    reject(error)
  }
  const leave = () => fail(signal.reason)
  const invalid = (what: string) => new BextError("E_UPSTREAM_INVALID", `${url.origin} ${what}`)
  let response: IncomingMessage | null = null
  request.once("socket", (socket) => {
    limitIdle(socket, timeoutMs, () => {
      if (!socket.connecting && waitsForClient(request, response)) return true
      fail(new BextError("E_UPSTREAM_TIMEOUT", `${url.origin} did not answer in time`))
      return false
    })
  })
  request.once("response", (message) => {
    response = message
    resolve(message)
  })
  // Nobody listens for "upgrade": Node then ends the connection, and says so by "close" alone.
  request.on("information", ({ statusCode }) => {
    if (statusCode === 101) fail(invalid("switched protocols"))
  })
  // It stays: an error after the response is one of the response's stream as well.
  request.on("error", reject)
  request.once("close", () => {
    signal.removeEventListener("abort", leave)
    reject(invalid("ended without an answer"))
  })
  signal.addEventListener("abort", leave)
  if (signal.aborted) leave()
  else send(request, body, trailers, fail)
  return promise
}

/** @param goesOn - Whether a connection that had no byte in either direction for `timeoutMs` may go on. */
function limitIdle(socket: Socket, timeoutMs: number, goesOn: () => boolean): void {
  socket.setTimeout(timeoutMs)
  // What waits inside the process is no activity of the socket, and would not start its clock again.
  socket.on("timeout", () => goesOn() && socket.setTimeout(timeoutMs))
}

/** Whether it is the client who keeps the upstream waiting: it still sends, or does not read. */
function waitsForClient(request: ClientRequest, response: IncomingMessage | null): boolean {
  if (response !== null && response.readableLength > 0) return true
  return !request.writableEnded && !request.writableNeedDrain
}

function toChunked({ headers, trailers }: RequestWithTrailers): string[] {
  const fields: string[] = []
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] !== "content-length") fields.push(headers[at]!, headers[at + 1]!)
  }
  const names = trailers.fields.size > 0 ? namesOf(trailers.fields) : trailers.announced
  return [...fields, "transfer-encoding", "chunked", "trailer", names]
}

function send(
  request: ClientRequest,
  body: Uint8Array | Readable,
  trailers: Trailers,
  fail: (error: unknown) => void,
): void {
  const end = () => {
    request.addTrailers([...trailers.fields])
    request.end()
  }
  if (!(body instanceof Readable)) {
    if (body.length > 0) request.write(body)
    end()
    return
  }
  if (body.destroyed) {
    fail(body.errored ?? endedEarly())
    return
  }
  body.once("end", end)
  body.once("error", fail)
  body.once("close", () => {
    if (!body.readableEnded) fail(body.errored ?? endedEarly())
  })
  request.once("close", () => body.destroy())
  body.pipe(request, { end: false })
}

function endedEarly(): BextError {
  return new BextError("E_REQUEST_INVALID", "the body ended early")
}
