import { cookieNameOf } from "../config/session-cookie-name.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { SessionConfig } from "./session.ts"

/** Name and value together. Source: RFC 6265bis §5.7. */
const MAX_COOKIE = 4_096

/** The session's cookie as it is written and removed. */
export class SessionCookie {
  readonly name: string
  /** Longest value that browsers keep. */
  readonly maxValue: number
  readonly #attributes: string

  constructor(config: SessionConfig) {
    this.name = cookieNameOf(config)
    this.maxValue = MAX_COOKIE - this.name.length
    const sameSite = { strict: "Strict", lax: "Lax", none: "None" }[config.same_site]
    const domain = config.domain === undefined ? "" : `; Domain=${config.domain}`
    this.#attributes = `; Path=${config.path}${domain}${config.secure ? "; Secure" : ""}; HttpOnly; SameSite=${sameSite}`
  }

  /** The value of Set-Cookie. @param maxAgeMs - Until the browser forgets it. */
  write(value: string, maxAgeMs: number): string {
    return `${this.name}=${value}; Max-Age=${Math.ceil(maxAgeMs / 1000)}${this.#attributes}`
  }

  /** The value of Set-Cookie that removes it. */
  clear(): string {
    return `${this.name}=; Max-Age=0${this.#attributes}`
  }

  /** Takes it out of a request, so that nobody behind can use or tell it. */
  removeFromRequest(headers: HeaderList): void {
    const pairs = headers.get("cookie")!.split(";")
    const others = pairs.filter((pair) => nameOf(pair) !== this.name)
    if (others.length === pairs.length) return
    if (others.length === 0) headers.delete("cookie")
    else headers.set("cookie", others.join(";").trim())
  }

  /** Takes what others set under this name out of a response: only the session itself writes it. */
  removeFromResponse(headers: HeaderList): void {
    if (!headers.has("set-cookie")) return
    const all = headers.getAll("set-cookie")
    const others = all.filter((value) => !this.#isNamed(value))
    if (others.length === all.length) return
    headers.delete("set-cookie")
    for (const value of others) headers.append("Set-Cookie", value)
  }

  /** As browsers read it: blanks around the name do not count, and one without a name is sent back as its bare value. */
  #isNamed(setCookie: string): boolean {
    const pair = setCookie.split(";", 1)[0]!
    const name = nameOf(pair)
    return name === this.name || (name === "" && pair.includes(this.name))
  }
}

/** "" without a name. */
function nameOf(pair: string): string {
  return pair.slice(0, Math.max(0, pair.indexOf("="))).trim()
}
