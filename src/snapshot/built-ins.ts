import { fingerprint } from "../config/fingerprint.ts"
import type { Config } from "../config/schema.ts"
import { createAuth } from "../middleware/auth.ts"
import { createCors } from "../middleware/cors.ts"
import { createMemoryCounter, type RateCounter } from "../middleware/rate-counter.ts"
import { createRateLimit } from "../middleware/rate-limit.ts"
import { createResponseTracing } from "../middleware/server-timing.ts"
import { createTenantResolver } from "../middleware/tenant.ts"
import { createTracing } from "../middleware/tracing.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { stampOf } from "../plugins/file-stamps.ts"

/** The built-in middleware of one snapshot. */
export interface BuiltIns {
  readonly list: readonly Middleware[]
  /** By the fingerprint of what each was made of. */
  readonly made: ReadonlyMap<string, Middleware>
  /** By what each rate rule says. */
  readonly counters: ReadonlyMap<string, RateCounter>
}

/**
 * Makes the built-in middleware of a configuration. What `previous` made of the same settings goes on as it is, with its
 * counters, key sets and remembered tokens.
 * @throws {BextError} `E_CONFIG_INVALID`, `E_FILE_UNREADABLE`.
 */
export function createBuiltIns(
  config: Config,
  previous: BuiltIns | undefined,
  warn: (message: string) => void,
): BuiltIns {
  const { cors, rate_limit, auth, tenant } = config.middleware
  const { tenants } = config
  // Key sets are read again by themselves; a single key is not.
  const key = auth?.key_file === undefined ? null : stampOf(auth.key_file)
  const made = new Map<string, Middleware>()
  const reuse = (settings: object, make: () => Middleware): Middleware => {
    const key = fingerprint(settings)
    const middleware = previous?.made.get(key) ?? make()
    made.set(key, middleware)
    return middleware
  }
  const counters = new Map<string, RateCounter>()
  const createCounter = (requests: number, windowMs: number, id: string): RateCounter => {
    // Two rules that say the same count each for itself.
    let key = id
    while (counters.has(key)) key += "+"
    const counter = previous?.counters.get(key) ?? createMemoryCounter(requests, windowMs)
    counters.set(key, counter)
    return counter
  }
  const list = [
    ...(cors === undefined ? [] : [reuse({ cors }, () => createCors(cors))]),
    ...(rate_limit === undefined ? [] : [createRateLimit(rate_limit, { createCounter })]),
    ...(auth === undefined
      ? []
      : [reuse({ auth, key }, () => createAuth(auth, { secret: auth.secret?.reveal(), warn }))]),
    ...(tenant === undefined ? [] : [reuse({ tenant, tenants }, () => createTenantResolver(tenant, { tenants }))]),
    createTracing(),
    createResponseTracing(),
  ]
  return { list, made, counters }
}
