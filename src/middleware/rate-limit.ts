import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import { createClientPrefix } from "../message/client-prefix.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { createMemoryCounter, type RateCount, type RateCounter } from "./rate-counter.ts"

export type RateLimitConfig = NonNullable<Config["middleware"]["rate_limit"]>

export interface RateLimitDeps {
  /**
   * Makes the counter of one rule; in this process's memory by default.
   * @param id - Equal for rules that say the same, so that a counter can outlive the configuration it was made for.
   */
  readonly createCounter?: (requests: number, windowMs: number, id: string) => RateCounter
}

interface Rule {
  /** The member of RateLimit-Policy: a quoted name and its parameters. */
  readonly policy: string
  /** The quoted name. */
  readonly name: string
  readonly applies: (path: string) => boolean
  readonly keyOf: (context: RequestContext) => string
  readonly counter: RateCounter
}

/** Longer header values are not worth remembering; such a request counts for its client. */
const MAX_KEY = 256

/**
 * Limits how many requests a client may make in a window: one rule for all paths and further ones for some. A request
 * counts against each rule that applies, also when it is refused. Every response tells the client where it stands in
 * `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10); over a limit the answer is
 * `E_RATE_LIMITED` with Retry-After.
 */
export function createRateLimit(config: RateLimitConfig, deps: RateLimitDeps = {}): Middleware {
  const createCounter = deps.createCounter ?? ((requests, windowMs) => createMemoryCounter(requests, windowMs))
  const clientPrefix = createClientPrefix(config.ipv6_prefix)
  const rules = [
    toRule("default", { ...config, path: null }, () => true),
    ...config.rules.map((row, index) => toRule(`rule-${index + 1}`, row, compileGlob(row.path))),
  ]

  return {
    name: "rate-limit",
    priority: 200,
    kind: "built-in",

    onRequest(context): void | Promise<void> {
      const applying = rules.length === 1 ? rules : rules.filter((rule) => rule.applies(context.path))
      const counts: (RateCount | Promise<RateCount>)[] = []
      let waits = false
      for (const rule of applying) {
        const count = rule.counter.consume(rule.keyOf(context))
        if (count instanceof Promise) waits = true
        counts.push(count)
      }
      if (waits) return Promise.all(counts).then((all) => decide(context, applying, all))
      decide(context, applying, counts as RateCount[])
    },

    onResponse({ response, rateLimit }) {
      if (!response || !rateLimit) return
      response.headers.append("RateLimit-Policy", rateLimit.policy)
      response.headers.append("RateLimit", rateLimit.state)
    },
  }

  function toRule(
    name: string,
    row: Pick<RateLimitConfig, "requests" | "window" | "by"> & { readonly path: string | null },
    applies: Rule["applies"],
  ): Rule {
    return {
      policy: `"${name}";q=${row.requests};w=${toSeconds(row.window)}`,
      name: `"${name}"`,
      applies,
      keyOf: toKeyOf(row.by),
      counter: createCounter(
        row.requests,
        row.window,
        JSON.stringify([row.path, row.by, row.requests, row.window, config.ipv6_prefix]),
      ),
    }
  }

  function toKeyOf(by: string): Rule["keyOf"] {
    if (by === "client") return (context) => clientPrefix(context.clientAddress)
    const header = by.slice("header:".length)
    return (context) => {
      const value = context.requestHeaders.get(header)
      if (value === undefined || value === "" || value.length > MAX_KEY) return clientPrefix(context.clientAddress)
      return `header ${value}`
    }
  }
}

function decide(context: RequestContext, rules: readonly Rule[], counts: readonly RateCount[]): void {
  let policy = ""
  let state = ""
  let retryMs = -1
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i]!
    const { remaining, resetMs, exceeded } = counts[i]!
    const comma = i === 0 ? "" : ", "
    policy += comma + rule.policy
    state += `${comma}${rule.name};r=${remaining};t=${toSeconds(resetMs)}`
    if (exceeded && resetMs > retryMs) retryMs = resetMs
  }
  context.rateLimit = { policy, state }
  if (retryMs === -1) return
  throw new BextError("E_RATE_LIMITED", "too many requests", { headers: [["Retry-After", String(toSeconds(retryMs))]] })
}

/** Rounded up, so that who waits that long finds the window over. */
function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}
