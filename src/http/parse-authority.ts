import { isIPv6 } from "node:net"
import { BextError } from "../errors.ts"

/**
 * Checks a Host value or the authority of an absolute-form target and gives it in lower case, an empty port left out.
 * Narrower than the grammar on purpose: a name, an IPv4 address or a bracketed IPv6 address, without user information
 * and percent-encoding, so that no two parsers can see two hosts in it.
 * @throws {BextError} `E_REQUEST_INVALID`.
 * Source: RFC 9110 §7.2, RFC 3986 §3.2.
 */
export function parseAuthority(text: string): string {
  const end = text.charCodeAt(0) === 0x5b ? bracketedEnd(text) : nameEnd(text)
  if (end === text.length) return text.toLowerCase()
  const port = text.slice(end + 1)
  if (text[end] !== ":" || !/^\d{0,5}$/.test(port) || Number(port) > 65_535) throw invalid()
  return (port === "" ? text.slice(0, end) : text).toLowerCase()
}

/** The host part of an authority that `parseAuthority` gave, brackets of IPv6 kept. */
export function hostnameOf(authority: string): string {
  const colon = authority.lastIndexOf(":")
  if (colon === -1 || authority.endsWith("]")) return authority
  return authority.slice(0, colon)
}

function nameEnd(text: string): number {
  let at = 0
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    const letter = (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a
    const digit = code >= 0x30 && code <= 0x39
    if (!letter && !digit && code !== 0x2e && code !== 0x2d && code !== 0x5f && code !== 0x7e) break
  }
  if (at === 0 || at > 255) throw invalid()
  return at
}

function bracketedEnd(text: string): number {
  const end = text.indexOf("]")
  // "%" would be a zone identifier: it means nothing on another machine.
  if (end === -1 || text.includes("%") || !isIPv6(text.slice(1, end))) throw invalid()
  return end + 1
}

function invalid(): BextError {
  return new BextError("E_REQUEST_INVALID", "the host is not a valid authority")
}
