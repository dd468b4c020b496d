import { createHash } from "node:crypto"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import { createClientPrefix } from "../message/client-prefix.ts"
import type { RequestContext, User } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { type CreateRateCounter, type RateCount, type RateCounter, WindowCounter } from "./rate-counter.ts"

export type RateLimitConfig = NonNullable<Config["middleware"]["rate_limit"]>

export interface RateLimitDeps {
  /** In this process's memory by default. */
  readonly createCounter?: CreateRateCounter
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

type Row = Pick<RateLimitConfig, "requests" | "window" | "by"> & { readonly path?: string }

/** Longer values are not worth remembering; such a request counts for its client. */
const MAX_KEY = 256

/**
 * Limits how many requests a client, user or tenant may make in a window: one rule for all paths and further ones for some. A
 * request counts against each rule that applies, also when it is refused. Every response tells the client where it stands in
 * `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10); over a limit the answer is
 * `E_RATE_LIMITED` with Retry-After.
 * @returns A middleware at 200 for what the request itself tells, one at 450 for what authentication and the tenant resolver
 *   found out, or only the one of them that has rules.
 */
export function createRateLimits(config: RateLimitConfig, deps: RateLimitDeps = {}): readonly Middleware[] {
  const createCounter = deps.createCounter ?? ((requests, windowMs) => new WindowCounter(requests, windowMs))
  const clientPrefix = createClientPrefix(config.ipv6_prefix)
  const clientOf = (context: RequestContext) => clientPrefix(context.clientAddress)
  const rows: readonly (readonly [string, Row])[] = [
    ["default", { requests: config.requests, window: config.window, by: config.by }],
    ...config.rules.map((row, index) => [`rule-${index + 1}`, row] as const),
  ]
  const ids = new Set<string>()
  const rulesOf = (late: boolean) => rows.filter(([, { by }]) => isLate(by) === late).map((row) => toRule(...row))
  const [early, late] = [rulesOf(false), rulesOf(true)]
  // The one that runs first sees the response last, when both have counted.
  const middlewares: Middleware[] = []
  if (early.length > 0) middlewares.push({ ...count("rate-limit", 200, early), onResponse: tell })
  if (late.length > 0) middlewares.push(count("rate-limit-identity", 450, late))
  if (early.length === 0) middlewares[0] = { ...middlewares[0]!, onResponse: tell }
  return middlewares

  function toRule(name: string, row: Row): Rule {
    return {
      policy: `"${name}";q=${row.requests};w=${toSeconds(row.window)}`,
      name: `"${name}"`,
      applies: row.path === undefined ? () => true : compileGlob(row.path),
      keyOf: toKeyOf(row.by, clientOf),
      counter: createCounter(row.requests, row.window, newId(row)),
    }
  }

  /** Two rules that say the same count each for itself. */
  function newId(row: Row): string {
    let id = toId(row, config.ipv6_prefix)
    while (ids.has(id)) id += "+"
    ids.add(id)
    return id
  }
}

/** What is known only behind authentication and the tenant resolver. */
function isLate(by: string): boolean {
  return by === "user" || by === "tenant" || by.startsWith("claim:")
}

/** Equal for rules that say the same, also in other processes and after a reload; short, as it goes with every message. */
function toId({ requests, window, by, path = "" }: Row, ipv6Prefix: number): string {
  const said = JSON.stringify([path, by, requests, window, ipv6Prefix])
  return createHash("sha256").update(said).digest("base64url").slice(0, 22)
}

/** A request without what it should be counted by counts for its client. A prefix keeps values from passing for addresses. */
function toKeyOf(by: string, clientOf: Rule["keyOf"]): Rule["keyOf"] {
  if (by === "client") return clientOf
  const [kind, name] = by.split(/:(.*)/s, 2) as [string, string?]
  const read = toReader(kind, name ?? "")
  return (context) => {
    const value = read(context)
    return value === undefined || value === "" || value.length > MAX_KEY ? clientOf(context) : `${kind} ${value}`
  }
}

function toReader(kind: string, name: string): (context: RequestContext) => string | undefined {
  switch (kind) {
    case "header":
      return ({ requestHeaders }) => requestHeaders.get(name)
    case "user":
      return ({ user }) => user?.id
    case "tenant":
      return ({ tenantId }) => tenantId ?? undefined
    default:
      return ({ user }) => (user === null ? undefined : claimOf(user, name))
  }
}

/** Texts and numbers; the type is part of the value, as it is for the authorisation gate. */
function claimOf({ claims }: User, name: string): string | undefined {
  const claim = Object.hasOwn(claims, name) ? claims[name] : undefined
  if (typeof claim === "string") return claim === "" ? undefined : `text ${claim}`
  return typeof claim === "number" || typeof claim === "boolean" ? String(claim) : undefined
}

function count(name: string, priority: number, rules: readonly Rule[]): Middleware {
  const everywhere = rules.length === 1 && rules[0]!.name === '"default"'
  return {
    name,
    priority,
    kind: "built-in",

    onRequest(context): void | Promise<void> {
      const applying = everywhere ? rules : rules.filter((rule) => rule.applies(context.path))
      const counts: (RateCount | Promise<RateCount>)[] = []
      let waits = false
      for (const rule of applying) {
        const counted = rule.counter.consume(rule.keyOf(context))
        if (counted instanceof Promise) waits = true
        counts.push(counted)
      }
      if (waits) return Promise.all(counts).then((all) => decide(context, applying, all))
      decide(context, applying, counts as RateCount[])
    },
  }
}

function decide(context: RequestContext, rules: readonly Rule[], counts: readonly RateCount[]): void {
  if (rules.length === 0) return
  let policy = ""
  let state = ""
  let retryMs = -1
  if (context.rateLimit) {
    policy = `${context.rateLimit.policy}, `
    state = `${context.rateLimit.state}, `
  }
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

function tell({ response, rateLimit }: RequestContext): void {
  if (!response || !rateLimit) return
  response.headers.append("RateLimit-Policy", rateLimit.policy)
  response.headers.append("RateLimit", rateLimit.state)
}

/** Rounded up, so that who waits that long finds the window over. */
function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}
