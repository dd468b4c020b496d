import { createRequire } from "node:module"
import { LRUCache } from "lru-cache"
import { compileGlob } from "../host/glob.ts"

/** A host name has at most 253 characters (RFC 1035 §2.3.4); the rest is scheme and port. */
const MAX_ORIGIN = 300
const MAX_DECISIONS = 1_000

/** A serialised origin: scheme, host and, when it is not the scheme's default, port. Source: RFC 6454 §6.2. */
const SERIALISED = /^[a-z][a-z0-9+.-]*:\/\/(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?$/
const PORT = /:(\d+|\*)$/

type Matcher = (origin: string) => boolean

/**
 * Compiles the origins an operator lists, which the configuration's door has checked: exact ones, `null`, globs (`https://*.example.com`, where `*` stays inside one
 * label) and regexes between slashes, which must match the whole origin. What is not a serialised origin never matches.
 * Decisions about globs and regexes are remembered, a bounded number of them; both take linear time.
 */
export function createOriginMatcher(patterns: readonly string[]): Matcher {
  const exact = new Set<string>()
  const matchers: Matcher[] = []
  for (const pattern of patterns) {
    if (pattern.startsWith("/")) matchers.push(compileRegex(pattern))
    else if (pattern.includes("*")) matchers.push(compileOriginGlob(pattern))
    else exact.add(pattern)
  }
  if (matchers.length === 0) return (origin) => exact.has(origin)
  const decisions = new LRUCache<string, boolean>({ max: MAX_DECISIONS })
  return (origin) => {
    if (exact.has(origin)) return true
    if (origin.length > MAX_ORIGIN) return false
    const known = decisions.get(origin)
    if (known !== undefined) return known
    const allowed = SERIALISED.test(origin) && matchers.some((matches) => matches(origin))
    decisions.set(origin, allowed)
    return allowed
  }
}

/** The engine is loaded only for a configuration that has a regex. */
function compileRegex(pattern: string): Matcher {
  const { RE2JS } = createRequire(import.meta.url)("re2js") as typeof import("re2js")
  const regex = RE2JS.compile(pattern.slice(1, -1))
  return (origin) => regex.matches(origin)
}

/** The port is matched apart from the host, so that a `*` at the end of a host never swallows one. */
function compileOriginGlob(pattern: string): Matcher {
  const port = PORT.exec(pattern)?.[1]
  const matchesHost = compileGlob(pattern.replace(PORT, ""), { separator: "." })
  return (origin) => {
    const sentPort = PORT.exec(origin)?.[1]
    if (port === "*" ? sentPort === undefined : sentPort !== port) return false
    return matchesHost(origin.replace(PORT, ""))
  }
}
