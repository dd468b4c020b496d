import { createRequire } from "node:module"
import { isIP } from "node:net"
import { posix } from "node:path"
import ipaddr from "ipaddr.js"
import { z } from "zod"
import { type Complaint, checked, text } from "./checked.ts"
import { parseListenAddress } from "./listen-address.ts"
import { Secret } from "./secret.ts"

/** A file or folder; relative ones count from the folder of the configuration file and are absolute past the door. */
export const filePath = () => z.string().min(1).meta({ kind: "path" })

/** Where a jail has something of its own, or where reading is not all that one can do. */
const OF_THE_JAIL = /^\/(proc|sys|dev|plugin|data|bext)(\/|$)/

/** A file or folder of this machine that a jailed program is to see. */
export const readOnlyPath = () =>
  text("/usr/share/GeoIP", (value) => {
    if (!/^\/[^\0]*$/.test(value)) {
      return {
        what: 'expected an absolute path such as "/usr/share/GeoIP"',
        fix: "what belongs to the plugin is in its own folder, which it sees anyway",
      }
    }
    if (value === "/") return { what: "the whole machine is no path to show to a program", fix: "name what it needs" }
    const plain = posix.normalize(value).replace(/\/$/, "")
    if (plain !== value)
      return { what: "expected a path without //, . and .. and without / at the end", fix: `write "${plain}"` }
    const [, top] = OF_THE_JAIL.exec(value) ?? []
    return top === undefined ? undefined : { what: `/${top} is not this machine's in a jail` }
  })

const ENV_REFERENCE = /^env:[A-Za-z_][A-Za-z0-9_]*$/

/** "env:NAME"; becomes a `Secret`. */
export const secret = () =>
  text("env:NAME", checkReference, ENV_REFERENCE)
    .meta({ kind: "secret" })
    .transform((value) => new Secret(value))

function checkReference(value: string): Complaint | undefined {
  if (ENV_REFERENCE.test(value)) return undefined
  return {
    what: 'expected "env:NAME", the name of an environment variable',
    fix: "secrets are never written into the file: put the value in a variable and write env: and its name here",
  }
}

/** A glob over request paths: `*` within a segment, `**` across segments. */
export const pathGlob = () => text("/api/**", checkPathGlob)

function checkPathGlob(glob: string): Complaint | undefined {
  if (!glob.startsWith("/")) return { what: 'expected a path glob such as "/api/**"', fix: `write "/${glob}"` }
  const common = checkGlob(glob)
  if (common !== undefined) return common
  if (/[?#]/.test(glob)) return { what: "expected a path without query and fragment", fix: "globs see the path alone" }
  if (/\/\/|\/\.{1,2}(\/|$)|\\|%[0-9a-f]{2}/i.test(glob)) {
    return {
      what: "expected a normalised path: no //, /./, /../, backslash or percent-encoding",
      fix: "requests are normalised before they are matched, so this glob would never match",
    }
  }
  return undefined
}

function checkGlob(glob: string): Complaint | undefined {
  if (glob.length > 1024) return { what: "expected at most 1024 characters" }
  if (/[{}]|\[.*\]|\*{3,}/.test(glob)) {
    return { what: "expected a glob of literals, * and **", fix: "write one entry for each alternative" }
  }
  return undefined
}

/** A glob over host names: `*` is one label, `**` any number. */
export const hostGlob = () =>
  text("*.example.com", (glob) => {
    const complaint = checkGlob(glob)
    if (complaint !== undefined) return complaint
    if (/[/:]/.test(glob)) return { what: "expected a host name without scheme, port and path", fix: hostFix(glob) }
    if (glob !== glob.toLowerCase()) {
      return { what: "expected lower case: hosts are matched in lower case", fix: `write "${glob.toLowerCase()}"` }
    }
    return /^[a-z0-9*_-]+(\.[a-z0-9*_-]+)*$/.test(glob)
      ? undefined
      : { what: 'expected a host name or glob such as "*.example.com"' }
  })

function hostFix(glob: string): string | undefined {
  const [, host] = /^(?:[a-z]+:\/\/)?([a-z0-9.*-]+)/i.exec(glob) ?? []
  return host === undefined ? undefined : `write "${host.toLowerCase()}"`
}

/** A request method. Case counts (RFC 9110 §9.1). */
export const method = () =>
  text("GET", (value) => {
    if (/^[A-Z][A-Z0-9_-]*$/.test(value)) return undefined
    return {
      what: 'expected a method in capitals such as "GET"',
      fix: /^[A-Za-z]+$/.test(value) ? `write "${value.toUpperCase()}"` : undefined,
    }
  })

/** A field name: a token (RFC 9110 §5.6.2). */
export const headerName = () =>
  text("x-api-key", (value) =>
    /^[!#$%&'*+.^_`|~A-Za-z0-9-]+$/.test(value) ? undefined : { what: 'expected a header name such as "x-api-key"' },
  )

/** The name of a cookie: a token (RFC 6265 §4.1.1). */
export const cookieName = () =>
  text("__Host-session", (value) =>
    /^[!#$%&'*+.^_`|~A-Za-z0-9-]{1,64}$/.test(value)
      ? undefined
      : { what: 'expected the name of a cookie such as "__Host-session", at most 64 characters' },
  )

/** The Path attribute of a cookie (RFC 6265 §4.1.1). */
export const cookiePath = () =>
  text("/", (value) =>
    /^\/[!-:<-~]{0,255}$/.test(value) ? undefined : { what: 'expected a path such as "/" or "/app"' },
  )

export const listen = () =>
  text("127.0.0.1:3000", (value) => {
    if (parseListenAddress(value) !== undefined) return undefined
    return {
      what: 'expected "ADDRESS:PORT", "[IPv6]:PORT" or ":PORT" (every address), port 0 to 65535',
      fix: /^\d{1,5}$/.test(value) ? `write "127.0.0.1:${value}"` : undefined,
    }
  })

/**
 * Where the admin listener is: "unix:PATH", "ADDRESS:PORT" or "off". A relative path counts from the folder of the
 * configuration file and is absolute past the door.
 */
export const adminListen = () =>
  text("unix:.bext/admin.sock", (value) => {
    if (value === "off" || /^unix:[^\0]+$/.test(value) || parseListenAddress(value) !== undefined) return undefined
    return {
      what: 'expected "unix:PATH", "ADDRESS:PORT" or "off"',
      fix: /^\d{1,5}$/.test(value)
        ? `write "127.0.0.1:${value}"`
        : /[/.]/.test(value) && !value.includes(":")
          ? `write "unix:${value}"`
          : undefined,
    }
  }).meta({ kind: "socket" })

/** A host name as it stands in a Host header, without port. */
export const hostName = () =>
  text("admin.example.com", (value) => {
    // Underscores are no part of host names, but of those that container networks make.
    if (value.length <= 253 && value.split(".").every((label) => /^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$/.test(label)))
      return undefined
    return { what: 'expected a host name in lower case, without port, such as "admin.example.com"' }
  })

/** An address or a range of them in CIDR notation (RFC 4632 §3.1). */
export const addressRange = () =>
  text("10.0.0.0/8", (value) => {
    if (ipaddr.isValidCIDR(value) && isIP(value.split("/")[0]!) !== 0) {
      const network = ipaddr.IPv4.isValidCIDR(value)
        ? ipaddr.IPv4.networkAddressFromCIDR(value)
        : ipaddr.IPv6.networkAddressFromCIDR(value)
      const [address, bits] = ipaddr.parseCIDR(value)
      if (address.toString() === network.toString()) return undefined
      return { what: `expected the first address of a range of ${bits} bits`, fix: `write "${network}/${bits}"` }
    }
    if (isIP(value) !== 0) return undefined
    return { what: 'expected an address or a CIDR range such as "10.0.0.0/8" or "fd00::/8"' }
  })

/** Exactly one address and port, such as "10.0.0.5:8080" or "[::1]:8080". */
export const addressAndPort = () =>
  text("10.0.0.5:8080", (value) => {
    const parsed = parseListenAddress(value)
    if (parsed?.host !== undefined && parsed.port > 0 && isIP(parsed.host) !== 0) return undefined
    return { what: 'expected one address and one port such as "10.0.0.5:8080" or "[::1]:8080"' }
  })

/** The base URL of a server behind this one. */
export const upstreamUrl = () => plainUrl("http://127.0.0.1:4000")

/** Where an OpenTelemetry collector listens for OTLP over HTTP. */
export const collectorUrl = () => plainUrl("http://127.0.0.1:4318")

function plainUrl(example: string): z.ZodString {
  return text(example, (value) => {
    const url = URL.parse(value)
    if (url === null || !/^https?:$/.test(url.protocol)) {
      const isBare = !value.includes("://") && URL.canParse(`http://${value}`)
      const fix = isBare ? `write "http://${value}"` : undefined
      return { what: `expected a URL such as "${example}"`, fix }
    }
    if (url.search !== "" || url.hash !== "") return { what: "expected a URL without query and fragment" }
    return noCredentials(url)
  })
}

/** Where keys are fetched from: over TLS, or from this machine. */
export const keySetUrl = () =>
  text("https://id.example.com/.well-known/jwks.json", (value) => {
    const url = URL.parse(value)
    if (url === null || !/^https?:$/.test(url.protocol)) return { what: "expected a URL that starts with https://" }
    if (url.protocol === "http:" && !isLoopback(url.hostname)) {
      return { what: "expected https://: whoever can change the answer can log in as anybody" }
    }
    return noCredentials(url)
  })

function noCredentials(url: URL): Complaint | undefined {
  if (url.username === "" && url.password === "") return undefined
  return {
    what: "expected a URL without user name and password",
    fix: "secrets are never written into the file",
    hidden: true,
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

/** An exact origin, "null", a glob over origins, "/regex/", or "*" (RFC 6454 §6.2). */
export const originPattern = () =>
  text("https://app.example.com", (value) => {
    if (value === "*" || value === "null") return undefined
    if (value.startsWith("/")) return checkRegex(value)
    if (value.length > 300 || /\*{3,}/.test(value))
      return { what: "expected at most 300 characters and two stars in a row" }
    const [, origin, rest] =
      /^([a-z][a-z0-9+.-]*:\/\/(?:[a-z0-9*_.-]+|\[[0-9a-f:.]+\])(?::(?:\d+|\*))?)(.*)$/s.exec(value) ?? []
    if (origin === undefined) {
      const fix =
        value !== value.toLowerCase() ? "origins are lower case" : 'or "https://*.example.com", "/regex/", "*"'
      return { what: 'expected an origin such as "https://app.example.com"', fix }
    }
    if (rest !== "") return { what: "expected an origin: scheme, host and port alone", fix: `write "${origin}"` }
    const sent = /^https?:/.test(value) && !value.includes("*") ? URL.parse(value)?.origin : value
    return sent === value
      ? undefined
      : { what: "expected an origin as browsers send it", fix: sent && `write "${sent}"` }
  })

/** Regexes are RE2 (linear time) and match the whole origin. */
function checkRegex(value: string): Complaint | undefined {
  if (value.length < 3 || !value.endsWith("/")) {
    return { what: "expected a regex between slashes", fix: `write "/https:\\\\/\\\\/app-\\\\d+\\\\.example\\\\.com/"` }
  }
  if (value.length > 512) return { what: "expected a regex of at most 512 characters" }
  // Loaded only for a configuration that has a regex.
  const { RE2JS } = createRequire(import.meta.url)("re2js") as typeof import("re2js")
  try {
    RE2JS.compile(value.slice(1, -1))
  } catch (error) {
    return { what: `expected a regex in RE2 syntax (${error instanceof Error ? error.message : "does not compile"})` }
  }
  return undefined
}

/** The id of a tenant; it names storage partitions and cache keys. */
export const tenantId = () =>
  text("acme", (value) =>
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)
      ? undefined
      : {
          what: "expected letters, digits, dots, hyphens and underscores, at most 64, starting with a letter or digit",
        },
  )

/** The key of an error page. */
export const status = () =>
  checked(z.string(), (value) => (/^[45]\d\d$/.test(value) ? undefined : { what: "expected a status from 400 to 599" }))

/** A version or a range of versions, in npm's notation. */
export const versionRange = () =>
  text("^1.2.0", (value) => {
    // Loaded only for a configuration that names a version.
    const { validRange } = createRequire(import.meta.url)("semver") as typeof import("semver")
    return validRange(value) === null ? { what: 'expected a version or range such as "1.2.0" or "^1.2.0"' } : undefined
  })
