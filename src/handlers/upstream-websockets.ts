import http, { type IncomingMessage } from "node:http"
import https from "node:https"
import type { Socket } from "node:net"
import { BextError } from "../errors.ts"
import { readWebsocketKey, toTokens, toWebsocketAccept } from "../http/websocket-handshake.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState, UpgradeRequest } from "../message/request-context.ts"
import type { UpstreamCall } from "../message/request-trace.ts"
import { removeHopByHop, toUpstreamHeaders, type UpstreamIdentity } from "./upstream-headers.ts"

/** Largest header section an upstream may send, bytes. */
export const MAX_HEADER_BYTES = 64 * 1024

export interface UpstreamWebsocketsOptions {
  readonly identity: UpstreamIdentity
  /** Milliseconds until the upstream has answered the handshake, connecting included. */
  readonly timeoutMs: number
}

/**
 * Passes websockets on to one server. The handshake with the upstream comes first, so that the client gets whatever the
 * upstream answers: its 101, or the response it gives instead.
 */
export class UpstreamWebsockets {
  readonly #url: URL
  readonly #options: UpstreamWebsocketsOptions

  constructor(url: URL, options: UpstreamWebsocketsOptions) {
    this.#url = url
    this.#options = options
  }

  /**
   * @param path - Path and query of the upstream's resource, encoded.
   * @throws {BextError} Why no websocket is opened.
   */
  async open(
    context: RequestContext,
    upgrade: UpgradeRequest,
    path: string,
    call: UpstreamCall | null,
  ): Promise<ResponseState> {
    const key = readWebsocketKey(context.requestHeaders)
    upgrade.reserve(context.clientAddress)
    const answer = await this.#shakeHands(context, path, call)
    if (answer.socket === null) return toPlainResponse(answer.message, this.#options.timeoutMs)
    const headers = HeaderList.borrow(answer.message.rawHeaders)
    const fault = findFault(headers, context.requestHeaders, key)
    if (fault !== undefined) {
      answer.socket.destroy()
      throw new BextError("E_UPSTREAM_INVALID", `${this.#url.origin} answered the handshake with ${fault}`)
    }
    upgrade.connectTo({ socket: answer.socket, head: answer.head, headers: takeHandshake(headers) })
    removeHopByHop(headers)
    headers.delete("content-length")
    return { status: 101, headers, body: null }
  }

  #shakeHands(context: RequestContext, path: string, call: UpstreamCall | null): Promise<Answer> {
    const { identity, timeoutMs } = this.#options
    const headers = toUpstreamHeaders(context, identity, call)
    headers.push("connection", "Upgrade", "upgrade", "websocket")
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const { signal } = context
    const request = (this.#url.protocol === "https:" ? https : http).request(this.#url, {
      path,
      headers,
      agent: false,
      maxHeaderSize: MAX_HEADER_BYTES,
      insecureHTTPParser: false,
    })
    const fail = (error: unknown) => {
      request.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(this.#timedOut()), timeoutMs)
    const leave = () => fail(signal.reason)
    signal.addEventListener("abort", leave)
    request.once("upgrade", (message, socket, head) => resolve({ message, socket: socket as Socket, head }))
    request.once("response", (message) => resolve({ message, socket: null }))
    request.on("information", ({ statusCode }) => {
      if (statusCode === 101) fail(this.#invalid("sent a 101 that names no protocol"))
    })
    // It stays: an error after the answer is one of the answer's stream as well.
    request.on("error", (error) => reject(this.#toError(error)))
    if (signal.aborted) leave()
    else request.end()
    return promise.finally(() => {
      clearTimeout(timer)
      signal.removeEventListener("abort", leave)
    })
  }

  #timedOut(): BextError {
    return new BextError("E_UPSTREAM_TIMEOUT", `${this.#url.origin} did not answer a websocket handshake in time`)
  }

  #invalid(what: string, cause?: unknown): BextError {
    return new BextError("E_UPSTREAM_INVALID", `${this.#url.origin} ${what}`, { cause })
  }

  #toError(error: NodeJS.ErrnoException): BextError {
    const { code = "", message } = error
    if (code.startsWith("HPE_")) return this.#invalid(`sent invalid HTTP: ${message}`, error)
    if (code === "EMFILE" || code === "ENFILE") {
      const headers = [["Retry-After", "1"]] as const
      return new BextError("E_OVERLOADED", "out of file descriptors", { cause: error, headers })
    }
    return new BextError("E_UPSTREAM_UNREACHABLE", `${this.#url.origin}: ${message}`, { cause: error })
  }
}

type Answer =
  | { readonly message: IncomingMessage; readonly socket: Socket; readonly head: Uint8Array }
  | { readonly message: IncomingMessage; readonly socket: null }

/** Why an upstream's 101 is none to this client's handshake. Source: RFC 6455 §4.1. */
function findFault(answer: HeaderList, asked: HeaderList, key: string): string | undefined {
  if (answer.get("upgrade")?.toLowerCase() !== "websocket") return "another protocol"
  if (answer.get("sec-websocket-accept") !== toWebsocketAccept(key)) return "a wrong Sec-WebSocket-Accept"
  const protocol = answer.get("sec-websocket-protocol")
  if (protocol !== undefined && !toMembers(asked.get("sec-websocket-protocol")).includes(protocol)) {
    return "a subprotocol that was not asked for"
  }
  const offered = new Set(toExtensions(asked))
  if (toExtensions(answer).some((name) => !offered.has(name))) return "an extension that was not offered"
  return undefined
}

/** Subprotocols are compared as they are written. */
function toMembers(field: string | undefined): string[] {
  return field === undefined ? [] : field.split(",").map((member) => member.trim())
}

/** Names of extensions, without their parameters. A comma or semicolon in a quoted parameter only makes a name nobody offered. */
function toExtensions(headers: HeaderList): string[] {
  return toTokens(headers.get("sec-websocket-extensions")).map((extension) => extension.split(";", 1)[0]!.trim())
}

/** Takes the fields of the handshake out of the upstream's header section. */
function takeHandshake(headers: HeaderList): [string, string][] {
  const fields: [string, string][] = []
  for (const name of ["Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]) {
    const value = headers.get(name)
    if (value !== undefined) fields.push([name, value])
    headers.delete(name)
  }
  return fields
}

/** The upstream opens no websocket: its response is the client's. */
function toPlainResponse(message: IncomingMessage, timeoutMs: number): ResponseState {
  const status = message.statusCode!
  message.on("error", () => {})
  if (status < 200 || status > 599) {
    message.destroy()
    throw new BextError("E_UPSTREAM_INVALID", `the upstream answered a websocket handshake with status ${status}`)
  }
  message.socket.setTimeout(timeoutMs, () => message.destroy())
  const headers = HeaderList.borrow(message.rawHeaders)
  removeHopByHop(headers)
  const bodiless = status === 204 || status === 304
  if (bodiless) message.resume()
  return { status, headers, body: bodiless ? null : message }
}
