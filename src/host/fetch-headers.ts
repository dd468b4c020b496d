import { PluginError } from "../errors.ts"
import { quote } from "./quote.ts"

const MAX_HEADERS = 100
const MAX_BYTES = 16_384
/** A token (RFC 9110 §5.6.2). */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
/** Visible ASCII, space, tab and obs-text (RFC 9110 §5.5). */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** The connection's and the host's own; smuggling or spoofing starts with them. Source: Fetch §2.2.2, RFC 9110 §7.6.1. */
const FORBIDDEN = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
])
const FORBIDDEN_PREFIXES = ["proxy-", "sec-", "x-forwarded-", "x-bext-"]

/**
 * Checks the headers a guest wants to send.
 * @returns them with names in lower case.
 * @throws {PluginError} `E_HEADER_INVALID`, `E_HEADER_FORBIDDEN`, `E_LIMIT_MESSAGE`.
 */
export function checkRequestHeaders(
  plugin: string,
  headers: readonly (readonly [string, string])[],
): (readonly [string, string])[] {
  let bytes = 0
  const checked = headers.map(([name, value]): readonly [string, string] => {
    const lower = String(name).toLowerCase()
    const shown = quote(lower)
    if (!NAME.test(lower)) throw new PluginError("E_HEADER_INVALID", plugin, `${shown} is not a header name`)
    if (typeof value !== "string" || !VALUE.test(value)) {
      throw new PluginError("E_HEADER_INVALID", plugin, `the value of ${shown} has characters no header may have`)
    }
    if (FORBIDDEN.has(lower) || FORBIDDEN_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
      throw new PluginError("E_HEADER_FORBIDDEN", plugin, `${shown} is not a plugin's to send`)
    }
    bytes += lower.length + value.length
    return [lower, value.trim()]
  })
  if (checked.length > MAX_HEADERS || bytes > MAX_BYTES) {
    throw new PluginError("E_LIMIT_MESSAGE", plugin, `more than ${MAX_HEADERS} headers or ${MAX_BYTES} bytes of them`)
  }
  return checked
}
