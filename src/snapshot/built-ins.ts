import { fingerprint } from "../config/fingerprint.ts"
import type { Config } from "../config/schema.ts"
import type { Handler } from "../handlers/handler.ts"
import { createAuth } from "../middleware/auth.ts"
import { createCors } from "../middleware/cors.ts"
import type { RateCounters } from "../middleware/rate-counters.ts"
import { createRateLimits } from "../middleware/rate-limit.ts"
import { createResponseTracing } from "../middleware/server-timing.ts"
import { createSessions } from "../middleware/session.ts"
import type { SessionRevocations } from "../middleware/session-revocations.ts"
import { createTenantResolver } from "../middleware/tenant.ts"
import { createTracing } from "../middleware/tracing.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { stampOf } from "../plugins/file-stamps.ts"

/** The built-in middleware of one snapshot. */
export interface BuiltIns {
  readonly list: readonly Middleware[]
  /** By the fingerprint of what each was made of. */
  readonly made: ReadonlyMap<string, unknown>
  /** Puts around the router what has to see its responses before anything else. */
  wrap(router: Handler): Handler
}

/** What the built-in middleware of every snapshot shares. */
export interface BuiltInParts {
  readonly rateCounters: RateCounters
  readonly revocations: SessionRevocations
  readonly warn: (message: string) => void
}

/**
 * Makes the built-in middleware of a configuration. What `previous` made of the same settings goes on as it is, with its
 * counters, key sets and remembered tokens.
 * @throws {BextError} `E_CONFIG_INVALID`, `E_FILE_UNREADABLE`.
 */
export function createBuiltIns(
  config: Config,
  previous: BuiltIns | undefined,
  { rateCounters, revocations, warn }: BuiltInParts,
): BuiltIns {
  const { cors, rate_limit, auth, session, tenant } = config.middleware
  const { tenants } = config
  // Key sets are read again by themselves; a single key is not.
  const key = auth?.key_file === undefined ? null : stampOf(auth.key_file)
  const parts = new ReusedParts(previous?.made)
  const createCounter = rateCounters.create.bind(rateCounters)
  const sessions = session && parts.get({ session, cors }, () => createSessions(session, cors, { revocations, warn }))
  const list = [
    ...(cors === undefined ? [] : [parts.get({ cors }, () => createCors(cors))]),
    ...(rate_limit === undefined ? [] : createRateLimits(rate_limit, { createCounter })),
    ...(auth === undefined || auth.algorithms.length === 0
      ? []
      : [parts.get({ auth, key }, () => createAuth(auth, { secret: auth.secret?.reveal(), warn }))]),
    ...(sessions === undefined ? [] : sessions.middlewares),
    ...(tenant === undefined ? [] : [parts.get({ tenant, tenants }, () => createTenantResolver(tenant, { tenants }))]),
    createTracing(),
    createResponseTracing(),
  ]
  return { list, made: parts.made, wrap: (router) => sessions?.wrap(router) ?? router }
}

/** Parts by the settings they are made of. A class, as a closure over the previous ones would keep them all in memory. */
class ReusedParts {
  readonly made = new Map<string, unknown>()
  readonly #previous: ReadonlyMap<string, unknown> | undefined

  constructor(previous: ReadonlyMap<string, unknown> | undefined) {
    this.#previous = previous
  }

  get<T>(settings: object, make: () => T): T {
    const key = fingerprint(settings)
    const part = (this.#previous?.get(key) as T | undefined) ?? make()
    this.made.set(key, part)
    return part
  }
}
