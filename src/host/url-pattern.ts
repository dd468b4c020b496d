import { isUtf8 } from "node:buffer"
import { isIP } from "node:net"
import { compileGlob } from "./glob.ts"

const DEFAULT_PORTS = { "http:": 80, "https:": 443 } as const
/** Rounds of percent-decoding before a path counts as a trick. */
const MAX_DECODINGS = 4

/**
 * Which URLs a plugin may fetch: `scheme://host[:port][/path]`.
 *
 * - scheme: `http` or `https`.
 * - host: a name or an address; `*` stands for exactly one label, never the last one.
 * - port: one number; without it the scheme's own.
 * - path: a glob as in `compileGlob` over the decoded path; without it every path. The query is not looked at.
 */
export interface UrlPattern {
  readonly text: string
  readonly protocol: keyof typeof DEFAULT_PORTS
  /** In lower case; international names in their ASCII form. An IPv6 address is one label, in brackets. */
  readonly labels: readonly string[]
  readonly port: number
  readonly pathGlob: string
  readonly matchesPath: (path: string) => boolean
}

/** @throws {TypeError} That says what is wrong with the pattern and what to write instead. */
export function parseUrlPattern(text: string): UrlPattern {
  const parts = /^([a-z*]+):\/\/([^/?#]*)(\/[^?#]*)?([?#].*)?$/i.exec(text)
  if (parts === null) throw mistake(text, 'expected scheme, host and path, such as "https://api.example.com/v1/**"')
  const [, scheme, authority, path = "/**", query] = parts
  const protocol = `${scheme!.toLowerCase()}:`
  if (protocol !== "http:" && protocol !== "https:")
    throw mistake(text, "the scheme is http or https; write one entry for each")
  if (query !== undefined) throw mistake(text, "a pattern ends with the path; every query is allowed")
  if (path.length > 1024) throw mistake(text, "the path is longer than 1024 characters")
  if (authority!.includes("@")) throw mistake(text, "credentials do not belong in a pattern")
  const { host, port } = splitAuthority(text, authority!)
  const pathGlob = normaliseGlob(text, path)
  return {
    text,
    protocol,
    labels: parseHost(text, protocol, host),
    port: port ?? DEFAULT_PORTS[protocol],
    pathGlob,
    matchesPath: compileGlob(pathGlob),
  }
}

/** Whether a parsed URL is one the pattern allows. */
export function matchesUrl(pattern: UrlPattern, url: URL): boolean {
  if (url.protocol !== pattern.protocol || portOf(url) !== pattern.port) return false
  return matchesLabels(pattern.labels, toLabels(url.hostname)) && matchesEveryReading(pattern, url.pathname)
}

/** The port a URL leads to. */
export function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port)
  return url.protocol === "http:" ? DEFAULT_PORTS["http:"] : DEFAULT_PORTS["https:"]
}

/** Whether every URL that `requested` allows is allowed by `granted` too. May say no to a case too clever for it. */
export function covers(granted: UrlPattern, requested: UrlPattern): boolean {
  if (granted.protocol !== requested.protocol || granted.port !== requested.port) return false
  return matchesLabels(granted.labels, requested.labels) && coversPath(granted, requested)
}

function coversPath(granted: UrlPattern, requested: UrlPattern): boolean {
  if (granted.pathGlob === requested.pathGlob || granted.pathGlob === "/**") return true
  const star = requested.pathGlob.indexOf("*")
  if (star === -1) return granted.matchesPath(requested.pathGlob)
  // "/v1/**" covers whatever certainly starts with "/v1/".
  const folder = granted.pathGlob.endsWith("/**") ? granted.pathGlob.slice(0, -2) : undefined
  return folder !== undefined && !folder.includes("*") && requested.pathGlob.slice(0, star).startsWith(folder)
}

function matchesLabels(pattern: readonly string[], labels: readonly string[]): boolean {
  if (pattern.length !== labels.length) return false
  return pattern.every((label, at) => label === labels[at] || (label === "*" && labels[at] !== ""))
}

/**
 * A path can be decoded once too often, or not at all, by what stands behind the host. `/v1/..%2fadmin` must match as
 * `/admin` too, or a pattern for `/v1/**` would reach it.
 */
function matchesEveryReading(pattern: UrlPattern, pathname: string): boolean {
  if (pattern.pathGlob === "/**") return true
  let path = pathname
  for (let round = 0; round < MAX_DECODINGS; round++) {
    // Servlet containers take the parameter off and then see a dot segment.
    if (/\/\.\.?;/.test(path)) return false
    const decoded = decodePath(path)
    if (decoded === undefined) return false
    if (decoded === path) return pattern.matchesPath(path)
    if (!pattern.matchesPath(decoded)) return false
    path = decoded
  }
  return false
}

/**
 * @returns the path decoded once, without dot segments; undefined when it has a NUL. As lenient as the most lenient
 *   server: what is not an escape stays, what is not UTF-8 is taken for Latin-1.
 */
function decodePath(path: string): string | undefined {
  if (!path.includes("%")) return path
  const decoded = path.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    const bytes = Buffer.from(escapes.replaceAll("%", ""), "hex")
    return isUtf8(bytes) ? bytes.toString("utf8") : bytes.toString("latin1")
  })
  if (decoded === path) return path
  return decoded.includes("\0") ? undefined : withoutDots(decoded)
}

/** RFC 3986 §5.2.4, a backslash counting as a slash as in the WHATWG URL standard. */
function withoutDots(path: string): string {
  const kept: string[] = []
  const segments = path.split(/[/\\]/)
  segments.forEach((segment, at) => {
    if (segment === "..") kept.length = Math.max(kept.length - 1, 1)
    else if (segment !== ".") kept.push(segment)
    if (at === segments.length - 1 && (segment === "." || segment === "..")) kept.push("")
  })
  return kept.join("/")
}

function splitAuthority(text: string, authority: string): { host: string; port: number | undefined } {
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(authority)
  if (parts === null) throw mistake(text, "an IPv6 address is written in brackets, such as [2001:db8::1]")
  const [, host, digits] = parts
  if (digits === undefined) return { host: host!, port: undefined }
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw mistake(text, "the port is one number from 1 to 65535")
  return { host: host!, port }
}

function parseHost(text: string, protocol: string, host: string): string[] {
  if (host === "") throw mistake(text, "the host is missing")
  const labels = toLabels(host)
  if (labels.some((label) => label.includes("*") && label !== "*")) {
    throw mistake(text, '"*" stands for one whole label of a host, such as "*.example.com"')
  }
  if (labels.at(-1) === "*") throw mistake(text, "the last label of a host cannot be *")
  // The parser spells the name the way it will spell that of a request. Its stand-in for * is an ordinary label.
  const parsed = URL.parse(`${protocol}//${labels.map((label) => (label === "*" ? "x" : label)).join(".")}/`)
  if (parsed === null) throw mistake(text, "this is not a host name")
  const normal = toLabels(parsed.hostname)
  if (normal.length !== labels.length || (isIP(parsed.hostname) === 4 && parsed.hostname !== host)) {
    throw mistake(text, `write the address as ${parsed.hostname}`)
  }
  return normal.map((label, at) => (labels[at] === "*" ? "*" : label))
}

function toLabels(host: string): string[] {
  return host.startsWith("[") ? [host] : host.split(".")
}

function normaliseGlob(text: string, path: string): string {
  const dots = /(^|[/\\])(\.|%2e){1,2}([/\\]|$)/i.test(path)
  const glob = dots ? undefined : decodePath(path)
  if (glob === undefined) throw mistake(text, "the path has dot segments or a NUL")
  return glob
}

function mistake(text: string, what: string): TypeError {
  return new TypeError(`${JSON.stringify(text)} is not a URL pattern: ${what}`)
}
