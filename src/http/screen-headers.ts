import { BextError } from "../errors.ts"
import { equalNames } from "../message/header-list.ts"

/** What accept has to know from the header section, taken out while screening it. */
export interface ScreenedHeaders {
  /** Host, the one field that must be there exactly once. */
  readonly host: string | undefined
  /** Options of Connection; the fields they name are removed. */
  readonly connection: string | undefined
  readonly transferEncoding: string | undefined
  readonly forwarded: string | undefined
  readonly xForwardedFor: string | undefined
  readonly xForwardedProto: string | undefined
  readonly xForwardedHost: string | undefined
  readonly requestId: string | undefined
  readonly te: string | undefined
  readonly trailer: string | undefined
}

/**
 * Fields that end here: hop-by-hop (RFC 9110 §7.6.1), handled by the server itself, or the server's own to set. Their
 * values are kept for accept. Everything under `x-forwarded-` and `x-bext-` is dropped as well.
 */
const DROPPED = new Map<string, keyof ScreenedHeaders | null>([
  ["connection", "connection"],
  ["proxy-connection", null],
  ["keep-alive", null],
  ["te", "te"],
  ["trailer", "trailer"],
  ["upgrade", null],
  ["http2-settings", null],
  ["expect", null],
  ["x-real-ip", null],
  ["transfer-encoding", "transferEncoding"],
  ["forwarded", "forwarded"],
  ["x-forwarded-for", "xForwardedFor"],
  ["x-forwarded-proto", "xForwardedProto"],
  ["x-forwarded-host", "xForwardedHost"],
  ["x-request-id", "requestId"],
])

/** By initial letter, the lengths of names that may need more than to be passed on, as a bit set; x: any length. */
const WATCHED = new Uint32Array(256)
for (const name of [...DROPPED.keys(), "host", "content-length"]) {
  const initial = name.charCodeAt(0)
  WATCHED[initial] = name.startsWith("x-") ? 0xffff_ffff : WATCHED[initial]! | (1 << name.length)
}

/**
 * Removes from `raw`, in place, what no middleware and no handler may see.
 * @param raw - Flat [name, value, …] straight from the parser.
 * @param identity - Lower-case names from `server.identity_headers`.
 * @throws {BextError} `E_REQUEST_INVALID`.
 */
export function screenHeaders(raw: string[], identity: ReadonlySet<string>): ScreenedHeaders {
  const found: Found = {
    host: undefined,
    connection: undefined,
    transferEncoding: undefined,
    forwarded: undefined,
    xForwardedFor: undefined,
    xForwardedProto: undefined,
    xForwardedHost: undefined,
    requestId: undefined,
    te: undefined,
    trailer: undefined,
  }
  let kept = 0
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!
    const value = raw[at + 1]!
    if (identity.size > 0 && identity.has(canonical(name))) continue
    if (isWatched(name) && !passes(name, value, found)) continue
    raw[kept] = name
    raw[kept + 1] = value
    kept += 2
  }
  raw.length = kept
  if (found.connection !== undefined) removeNominated(raw, found.connection)
  return found
}

type Found = { -readonly [key in keyof ScreenedHeaders]: ScreenedHeaders[key] }

function isWatched(name: string): boolean {
  return (WATCHED[name.charCodeAt(0) | 0x20]! & (1 << name.length)) !== 0
}

/** Whether others may see the field; takes down its value when accept needs it. */
function passes(name: string, value: string, found: Found): boolean {
  if (equalNames(name, "host")) {
    if (found.host !== undefined) throw new BextError("E_REQUEST_INVALID", "the Host header is repeated")
    found.host = value
    return true
  }
  const plain = canonical(name)
  const key = DROPPED.get(plain)
  // A spelling with underscores is dropped without being believed; see `canonical`.
  const genuine = !name.includes("_")
  if (key === undefined) {
    if (plain === "content-length") return genuine
    return !plain.startsWith("x-forwarded-") && !plain.startsWith("x-bext-")
  }
  if (key !== null && genuine) found[key] = found[key] === undefined ? value : `${found[key]}, ${value}`
  return false
}

/** Lower case, "_" as "-": CGI-style apps behind the server cannot tell the two spellings apart. */
function canonical(name: string): string {
  const lower = name.toLowerCase()
  return lower.includes("_") ? lower.replaceAll("_", "-") : lower
}

function removeNominated(raw: string[], nominated: string): void {
  if (/^(keep-alive|close)$/i.test(nominated)) return
  const names = new Set(
    nominated
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  )
  // Nominating these would change what the message is for whoever comes next, so nobody honest does.
  if (names.has("host") || names.has("content-length")) {
    throw new BextError("E_REQUEST_INVALID", "Connection names a field that frames the message")
  }
  let kept = 0
  for (let at = 0; at < raw.length; at += 2) {
    if (names.has(raw[at]!.toLowerCase())) continue
    raw[kept] = raw[at]!
    raw[kept + 1] = raw[at + 1]!
    kept += 2
  }
  raw.length = kept
}
