import { BextError } from "../errors.ts"

/** The request target in the one form that everything after accept relies on. */
export interface Target {
  /** Absolute, percent-decoded once, without dot segments and `//`; `*` for OPTIONS on the whole server. */
  readonly path: string
  /** Raw query without "?", visible ASCII only. */
  readonly query: string
  /** The authority of an absolute-form target, which then counts instead of Host (RFC 9112 §3.2.2). */
  readonly authority: string | undefined
}

const SLASH = 0x2f
const QUESTION = 0x3f
const PERCENT = 0x25

/**
 * Normalises a request target once and for all.
 * @param target - As the parser gave it: one character per byte.
 * @throws {BextError} `E_PATH_INVALID`, or `E_REQUEST_INVALID` for a form of target that a server does not take.
 * Source: RFC 9112 §3.2, RFC 3986 §5.2.4 and §6.2.2.
 */
export function normaliseTarget(method: string, target: string): Target {
  if (target.charCodeAt(0) === SLASH) return normaliseOrigin(target, undefined)
  if (target === "*" && method === "OPTIONS") return { path: "*", query: "", authority: undefined }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(target)
  if (absolute === null) throw new BextError("E_REQUEST_INVALID", "the request target is not a path or an http URL")
  const rest = absolute[2]!
  return normaliseOrigin(rest.startsWith("/") ? rest : `/${rest}`, absolute[1]!)
}

function normaliseOrigin(target: string, authority: string | undefined): Target {
  const end = plainPathEnd(target)
  if (end === target.length) return { path: target, query: "", authority }
  if (end !== -1) return { path: target.slice(0, end), query: encodeQuery(target.slice(end + 1)), authority }
  const question = target.indexOf("?")
  const path = normalisePath(question === -1 ? target : target.slice(0, question))
  return { path, query: question === -1 ? "" : encodeQuery(target.slice(question + 1)), authority }
}

/** Where the path of `target` ends when it is already in normal form, otherwise -1. */
function plainPathEnd(target: string): number {
  let previous = 0
  for (let at = 0; at < target.length; at++) {
    const code = target.charCodeAt(at)
    if (code === QUESTION) return at
    if (code <= 0x23 || code === PERCENT || code === 0x5c || code >= 0x7f) {
      if (code !== 0x21 && code !== 0x22) return -1
    }
    // A segment that starts with a dot may be a dot segment; one that starts with a slash is empty.
    if (previous === SLASH && (code === SLASH || code === 0x2e)) return -1
    previous = code
  }
  return target.length
}

/** An ordinary name to most, but servlet containers take the parameter off and then see a dot segment (RFC 3986 §3.3). */
const DOTS_WITH_PARAMETER = /^\.\.?;/

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

function normalisePath(raw: string): string {
  const segments: string[] = []
  const parts = decodeOnce(raw).split("/")
  for (const part of parts) {
    if (part === "" || part === ".") continue
    if (part === "..") segments.pop()
    else if (DOTS_WITH_PARAMETER.test(part))
      throw new BextError("E_PATH_INVALID", "the path has dots before a semicolon")
    else segments.push(part)
  }
  const last = parts.at(-1)!
  const folder = last === "" || last === "." || last === ".."
  return segments.length === 0 ? "/" : `/${segments.join("/")}${folder ? "/" : ""}`
}

/** Exactly one decoding; what a later parser could take for a separator is refused, in either spelling. */
function decodeOnce(raw: string): string {
  const bytes = Buffer.allocUnsafe(raw.length)
  let length = 0
  for (let at = 0; at < raw.length; at++) {
    let byte = raw.charCodeAt(at)
    if (byte === 0x23) throw new BextError("E_PATH_INVALID", "the request target contains a fragment")
    if (byte === PERCENT) {
      byte = hexByte(raw, at + 1)
      at += 2
      if (byte === SLASH) throw new BextError("E_PATH_INVALID", "the path contains an encoded slash")
    }
    if (byte === 0x5c) throw new BextError("E_PATH_INVALID", "the path contains a backslash")
    if (byte < 0x20 || byte === 0x7f) throw new BextError("E_PATH_INVALID", "the path contains a control character")
    bytes[length++] = byte
  }
  try {
    return utf8.decode(bytes.subarray(0, length))
  } catch (cause) {
    throw new BextError("E_PATH_INVALID", "the path is not valid UTF-8", { cause })
  }
}

function hexByte(raw: string, at: number): number {
  const digits = raw.slice(at, at + 2)
  if (!/^[0-9A-Fa-f]{2}$/.test(digits)) throw new BextError("E_PATH_INVALID", "the path has a broken percent-encoding")
  return Number.parseInt(digits, 16)
}

/** Bytes that clients send unencoded by mistake become percent-encodings, so that a query is always visible ASCII. */
function encodeQuery(query: string): string {
  if (!/[^\x21\x22\x24-\x7e]/.test(query)) return query
  if (query.includes("#")) throw new BextError("E_PATH_INVALID", "the request target contains a fragment")
  return query.replace(/[^\x21-\x7e]/g, (char) => {
    const code = char.charCodeAt(0)
    if (code < 0x20 || code === 0x7f) throw new BextError("E_PATH_INVALID", "the query contains a control character")
    return `%${code.toString(16).toUpperCase().padStart(2, "0")}`
  })
}
