import type { Permissions } from "../config/manifest-schema.ts"
import { PluginError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import { equalNames } from "../message/header-list.ts"
import { isForbiddenTrailer } from "../message/trailers.ts"
import type { Side } from "../sandbox/sandbox.ts"

/** Names and values a guest may use, longest. Chosen well above what servers and browsers accept in practice. */
const MAX_NAME_LENGTH = 256
const MAX_VALUE_LENGTH = 8192
/** Names remembered for each side of a message. */
const MAX_PASSED = 64

/** Field names are tokens. Source: RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** What a value may not hold: control characters except tab, and everything outside Latin-1. Source: RFC 9110 §5.5. */
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/
/** A cookie starts with its name; without one, browsers take the value for the name. Source: RFC 6265 §4.1.1. */
const COOKIE_NAME = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)=/

const SENSITIVE = ["authorization", "cookie", "proxy-authorization", "set-cookie"] as const

/**
 * Fields that frame or route the message, or that speak for the server: never a guest's to set.
 * Source: RFC 9110 §7.6.1 (hop-by-hop), RFC 9112 §6 (framing), RFC 7239 (Forwarded), RFC 7540 §3.2.1 (HTTP2-Settings),
 * RFC 6455 §11.3 (Sec-WebSocket-*).
 */
const RESERVED = new Set([
  "connection",
  "content-length",
  "expect",
  "forwarded",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])
const RESERVED_PREFIXES = ["x-forwarded", "x-bext-", "sec-websocket-"]
/** Of a request, what the server says of it to the app: in any spelling, as the app may not tell them apart. */
const RESERVED_IN_REQUESTS = new Set(["x-real-ip", "x-request-id"])

/** Which header fields one plugin may read and write. */
export class HeaderAccess {
  readonly #plugin: string
  readonly #hidden: readonly string[]
  readonly #cookies: readonly ((name: string) => boolean)[]
  /** Request fields that say who the user is; empty when the plugin may say so. */
  readonly #identity: ReadonlySet<string>
  readonly #warnHidden: (name: string) => void
  readonly #warned = new Set<string>()
  /** Names that passed `checkName`: plugins set the same few on every request. */
  readonly #passed = { request: new Set<string>(), response: new Set<string>() }

  constructor(
    plugin: string,
    permissions: Pick<Permissions, "sensitive_headers" | "set_cookies" | "identity">,
    identityHeaders: readonly string[],
    warnHidden: (name: string) => void,
  ) {
    this.#plugin = plugin
    this.#hidden = SENSITIVE.filter((name) => !permissions.sensitive_headers.includes(name))
    this.#cookies = permissions.set_cookies.map((glob) => compileGlob(glob))
    this.#identity = new Set(permissions.identity ? [] : identityHeaders.map(toCanonicalName))
    this.#warnHidden = warnHidden
  }

  isHidden(name: string): boolean {
    for (const hidden of this.#hidden) if (equalNames(name, hidden)) return true
    return false
  }

  /** As `isHidden`, and the first time tells the operator which line would show it. */
  refusesRead(name: string): boolean {
    if (!this.isHidden(name)) return false
    const hidden = name.toLowerCase()
    if (!this.#warned.has(hidden)) {
      this.#warned.add(hidden)
      this.#warnHidden(hidden)
    }
    return true
  }

  /** @throws {PluginError} `E_HEADER_INVALID`, `E_HEADER_FORBIDDEN`: the guest may not set or remove this field. */
  checkName(side: Side, name: string): void {
    const passed = this.#passed[side]
    if (passed.has(name)) return
    this.#checkToken(name)
    this.#checkReserved(side, name)
    if (this.isHidden(name)) {
      throw new PluginError(
        "E_HEADER_FORBIDDEN",
        this.#plugin,
        `${name.toLowerCase()} needs sensitive_headers = ["${name.toLowerCase()}"] in [permissions]`,
      )
    }
    if (passed.size < MAX_PASSED) passed.add(name)
  }

  /**
   * As `checkName`, for a field behind the content.
   * @throws {PluginError} `E_HEADER_INVALID`, `E_HEADER_FORBIDDEN`.
   */
  checkTrailer(side: Side, name: string): void {
    this.checkName(side, name)
    if (!isForbiddenTrailer(name)) return
    const what = `${toCanonicalName(name)} has to be known before the content and is no field to put behind it`
    throw new PluginError("E_HEADER_FORBIDDEN", this.#plugin, what)
  }

  /**
   * As `checkName`, for a field that is added beside what is there: cookies the plugin may set need no more than that.
   * @throws {PluginError} `E_HEADER_INVALID`, `E_HEADER_FORBIDDEN`.
   */
  checkAppend(side: Side, name: string, value: string): void {
    if (side === "response" && equalNames(name, "set-cookie") && this.isHidden(name)) this.#checkCookie(value)
    else this.checkName(side, name)
  }

  /**
   * @returns The value without surrounding blanks (RFC 9110 §5.5).
   * @throws {PluginError} `E_HEADER_INVALID`, `E_LIMIT_MESSAGE`.
   */
  checkValue(name: string, value: string): string {
    if (value.length > MAX_VALUE_LENGTH) {
      throw new PluginError("E_LIMIT_MESSAGE", this.#plugin, `value of ${name} is over ${MAX_VALUE_LENGTH} bytes`)
    }
    if (NOT_A_VALUE.test(value)) {
      throw new PluginError("E_HEADER_INVALID", this.#plugin, `value of ${name} has a control or non-Latin-1 character`)
    }
    return trimBlanks(value)
  }

  #checkToken(name: string): void {
    if (name.length > MAX_NAME_LENGTH || !TOKEN.test(name)) {
      const shown = JSON.stringify(name.slice(0, 64))
      throw new PluginError("E_HEADER_INVALID", this.#plugin, `${shown} is not a field name`)
    }
  }

  #checkReserved(side: Side, name: string): void {
    const canonical = toCanonicalName(name)
    if (RESERVED.has(canonical) || RESERVED_PREFIXES.some((prefix) => canonical.startsWith(prefix))) {
      throw new PluginError("E_HEADER_FORBIDDEN", this.#plugin, `${canonical} is set by the server alone`)
    }
    if (side === "request" && RESERVED_IN_REQUESTS.has(canonical)) {
      throw new PluginError("E_HEADER_FORBIDDEN", this.#plugin, `${canonical} is set by the server alone`)
    }
    if (side === "request" && this.#identity.has(canonical)) {
      throw new PluginError("E_HEADER_FORBIDDEN", this.#plugin, `${canonical} needs identity = true in [permissions]`)
    }
  }

  #checkCookie(value: string): void {
    const name = COOKIE_NAME.exec(value)?.[1]
    if (name !== undefined && this.#cookies.some((allows) => allows(name))) return
    const what = name === undefined ? "a cookie without a name" : `cookie ${JSON.stringify(name.slice(0, 64))}`
    throw new PluginError("E_HEADER_FORBIDDEN", this.#plugin, `${what} is not listed in set_cookies of [permissions]`)
  }
}

/** Lower case, and "_" as "-": gateways in front of apps take X_Forwarded_For for X-Forwarded-For (RFC 3875 §4.1.18). */
function toCanonicalName(name: string): string {
  return name.toLowerCase().replaceAll("_", "-")
}

function trimBlanks(value: string): string {
  let start = 0
  let end = value.length
  while (start < end && isBlank(value.charCodeAt(start))) start++
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--
  return start === 0 && end === value.length ? value : value.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
