import { HeaderList } from "./header-list.ts"

/** Fields behind the content of a message. Source: RFC 9110 §6.5. */
export interface Trailers {
  /** Names, separated by commas, that the sender has announced before the content; "" when it has not. */
  readonly announced: string
  /** Complete when the content was read to its end. */
  readonly fields: HeaderList
}

/** Fields that a section may have; one with more is left out. */
const MAX_FIELDS = 256

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** What a value may not hold. Source: RFC 9110 §5.5. */
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/**
 * Fields that somebody has to know before the content, or who decides by the header section alone must not miss: they
 * frame or route a message, modify a request, authenticate, control a response, or say what the content is.
 * Source: RFC 9110 §6.5.1, with the lists of RFC 7230 §4.1.2.
 */
const FORBIDDEN = new Set([
  "accept-ranges",
  "age",
  "allow",
  "authentication-info",
  "authorization",
  "cache-control",
  "clear-site-data",
  "connection",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-security-policy",
  "content-type",
  "cookie",
  "date",
  "expect",
  "expires",
  "forwarded",
  "host",
  "http2-settings",
  "keep-alive",
  "location",
  "max-forwards",
  "origin",
  "pragma",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "set-cookie",
  "strict-transport-security",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "vary",
  "via",
  "warning",
  "www-authenticate",
  "x-real-ip",
  "x-request-id",
])
const FORBIDDEN_PREFIXES = ["access-control-", "if-", "proxy-", "sec-", "x-bext-", "x-forwarded-"]

/** Whether no message may have a field of this name, in any spelling, behind its content. */
export function isForbiddenTrailer(name: string): boolean {
  const canonical = name.toLowerCase().replaceAll("_", "-")
  return FORBIDDEN.has(canonical) || FORBIDDEN_PREFIXES.some((prefix) => canonical.startsWith(prefix))
}

/**
 * What passes of a section that somebody sent.
 * @param raw - Flat [name, value, …].
 * @param isDropped - Names to leave out besides those that none may have.
 */
export function toTrailerFields(raw: readonly string[], isDropped: (name: string) => boolean): HeaderList {
  const fields = HeaderList.empty()
  if (raw.length > MAX_FIELDS * 2) return fields
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [raw[at]!, raw[at + 1]!]
    if (!isForbiddenTrailer(name) && !isDropped(name) && TOKEN.test(name) && !NOT_A_VALUE.test(value)) {
      fields.append(name, value)
    }
  }
  return fields
}

/** What passes of the value of a field Trailer; "" when nothing does. */
export function toAnnounced(value: string | undefined, isDropped: (name: string) => boolean): string {
  if (value === undefined) return ""
  const names = value.split(",").map((name) => name.trim())
  return names.filter((name) => TOKEN.test(name) && !isForbiddenTrailer(name) && !isDropped(name)).join(", ")
}

/** Names of fields, for Trailer. */
export function namesOf(fields: HeaderList): string {
  return [...new Set(Array.from(fields, ([name]) => name.toLowerCase()))].join(", ")
}

/** A predicate for the fields that a Connection header names (RFC 9110 §7.6.1). */
export function nominatedBy(connection: string | undefined): (name: string) => boolean {
  if (connection === undefined) return () => false
  const names = new Set(connection.split(",").map((name) => name.trim().toLowerCase()))
  return (name) => names.has(name.toLowerCase())
}
