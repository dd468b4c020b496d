import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { BextError } from "../errors.ts"
import type { HeaderList } from "../message/header-list.ts"
import { hasBody } from "./http-request-context.ts"

/** Source: RFC 6455 §1.3. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
/** 16 bytes in base64: 22 digits, the last of which has four bits left over, and the padding. Source: RFC 6455 §4.1. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/

/**
 * Whether a request asks to go on as a websocket. Whatever else is in Upgrade, also beside "websocket", is ignored, as a
 * server may; so is an Upgrade with a body, since nobody could tell the end of the body from the first frame.
 * Source: RFC 6455 §4.2.1, RFC 9110 §7.8 (HTTP/1.0).
 */
export function asksForWebsocket(incoming: IncomingMessage): boolean {
  const { method, headers, httpVersionMajor, httpVersionMinor } = incoming
  return (
    method === "GET" &&
    httpVersionMajor === 1 &&
    httpVersionMinor === 1 &&
    headers.upgrade?.trim().toLowerCase() === "websocket" &&
    toTokens(headers.connection).includes("upgrade") &&
    headers.expect === undefined &&
    !hasBody(incoming)
  )
}

/**
 * Checks the rest of a handshake.
 * @returns The key, for `toWebsocketAccept`.
 * @throws {BextError} `E_WEBSOCKET_VERSION`, `E_REQUEST_INVALID`.
 * Source: RFC 6455 §4.2.1, §4.4.
 */
export function readWebsocketKey(headers: HeaderList): string {
  const version = headers.get("sec-websocket-version")
  if (version !== "13") {
    throw new BextError("E_WEBSOCKET_VERSION", "a websocket handshake of another version", {
      headers: [["Sec-WebSocket-Version", "13"]],
    })
  }
  const key = headers.get("sec-websocket-key") ?? ""
  if (!KEY.test(key)) throw new BextError("E_REQUEST_INVALID", "Sec-WebSocket-Key is not 16 bytes in base64")
  return key
}

/** What proves that the other side understood the handshake with this key. Source: RFC 6455 §4.2.2. */
export function toWebsocketAccept(key: string): string {
  return createHash("sha1").update(key).update(ACCEPT_SUFFIX).digest("base64")
}

/** The members of a comma-separated field in lower case. */
export function toTokens(field: string | undefined): string[] {
  if (field === undefined) return []
  return field.split(",").map((token) => token.trim().toLowerCase())
}
