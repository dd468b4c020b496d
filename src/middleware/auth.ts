import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose"
import { LRUCache } from "lru-cache"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { MAX_CLAIM_LEVELS, nestsTooDeep } from "../message/nests-too-deep.ts"
import type { RequestContext, User } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { deepFreeze } from "./deep-freeze.ts"
import { bearerToken, cookieToken } from "./find-token.ts"
import { KeySet } from "./key-set.ts"
import { isUserId } from "./user-id.ts"
import { createVerificationKey, type VerificationKey } from "./verification-key.ts"

export type AuthConfig = NonNullable<Config["middleware"]["auth"]>

export interface AuthDeps {
  /** The value of `config.secret`, when there is one. */
  readonly secret?: string | undefined
  /** Told when keys could not be read again. */
  readonly warn: (message: string) => void
  /** Epoch milliseconds; the system's clock by default. */
  readonly now?: () => number
}

/** A token and whom it stands for, until then. */
interface Verified {
  readonly user: User
  readonly untilMs: number
  readonly keyVersion: number
}

const MAX_TOKEN = 8_192
/** Characters of remembered tokens, each counted with what its claims and its entry take beside it. */
const MAX_REMEMBERED = 16 * 1024 * 1024
const ENTRY_SIZE = 1_024

/** Three parts of base64url, none empty: a signed token in compact form (RFC 7515 §7.1), never an unsigned one. */
const SIGNED_TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/

/**
 * Sets `context.user` from a signed JSON Web Token (RFC 7519) in `Authorization: Bearer` or the configured cookie.
 *
 * - Without credentials the request goes on without a user; the authorisation gate decides what that may reach.
 * - A bearer token that is not valid is `E_UNAUTHENTICATED`, and the client learns no reason. So that an expired cookie
 *   does not lock its owner out of the login page, one that is not valid counts as none.
 * - A token needs an `exp`; its algorithm must be one of those configured.
 * - A token that was verified is remembered until it expires or the keys change, and then costs a lookup.
 * @throws {BextError} `E_CONFIG_INVALID`, `E_FILE_UNREADABLE`.
 */
export function createAuth(config: AuthConfig, deps: AuthDeps): Middleware {
  const now = deps.now ?? Date.now
  const key = createVerificationKey(config, { secret: deps.secret, warn: deps.warn, now })
  const keySet = key instanceof KeySet ? key : undefined
  const leewaySeconds = config.leeway / 1000
  const verified = new LRUCache<string, Verified>({
    maxSize: MAX_REMEMBERED,
    sizeCalculation: (_, token) => token.length + ENTRY_SIZE,
  })

  return {
    name: "auth",
    priority: 300,
    kind: "built-in",
    onRequest(context) {
      const nowMs = now()
      keySet?.poll(nowMs)
      const bearer = bearerToken(context.requestHeaders)
      if (bearer !== null) return authenticate(context, bearer, nowMs)
      const cookie = config.cookie === undefined ? null : cookieToken(context.requestHeaders, config.cookie)
      if (cookie !== null) return authenticateIfValid(context, cookie, nowMs)
    },
  }

  function authenticate(context: RequestContext, token: string, nowMs: number): void | Promise<void> {
    const known = verified.get(token)
    if (known !== undefined && nowMs < known.untilMs && known.keyVersion === keyVersion()) {
      context.user = known.user
      return
    }
    if (token.length > MAX_TOKEN || !SIGNED_TOKEN.test(token)) throw rejected("not a signed token")
    return verify(token).then((user) => {
      context.user = user
    })
  }

  function authenticateIfValid(context: RequestContext, token: string, nowMs: number): void | Promise<void> {
    try {
      return authenticate(context, token, nowMs)?.catch(ignoreRejected)
    } catch (error) {
      ignoreRejected(error)
    }
  }

  async function verify(token: string): Promise<User> {
    const version = keyVersion()
    const claims = await verifyClaims(token)
    const user = toUser(claims, config.user_claim)
    const untilMs = (claims.exp! + leewaySeconds) * 1000
    verified.set(token, { user, untilMs, keyVersion: version })
    return user
  }

  async function verifyClaims(token: string): Promise<JWTPayload> {
    const options = toVerifyOptions(config, leewaySeconds, now())
    try {
      return await checkSignature(token, key, options)
    } catch (error) {
      throw error instanceof BextError ? error : rejected(describe(error))
    }
  }

  function keyVersion(): number {
    return keySet?.version ?? 0
  }
}

/** Tries every key that suits when a token without `kid` leaves the choice. */
async function checkSignature(token: string, key: VerificationKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  if (!(key instanceof KeySet)) return (await jwtVerify(token, key, options)).payload
  try {
    return (await jwtVerify(token, key.resolve, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const candidate of error) {
      try {
        return (await jwtVerify(token, candidate, options)).payload
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

function toVerifyOptions(config: AuthConfig, clockTolerance: number, nowMs: number): JWTVerifyOptions {
  const options: JWTVerifyOptions = {
    algorithms: [...config.algorithms],
    requiredClaims: ["exp"],
    clockTolerance,
    currentDate: new Date(nowMs),
  }
  if (config.issuer !== undefined) options.issuer = config.issuer
  if (config.audience !== undefined) options.audience = [config.audience].flat()
  return options
}

/** The user is shared by every request with this token, so nothing in it can be changed. */
function toUser(claims: JWTPayload, userClaim: string): User {
  const claim = Object.hasOwn(claims, userClaim) ? claims[userClaim] : undefined
  const id = typeof claim === "number" ? String(claim) : claim
  if (!isUserId(id)) throw rejected(`claim ${userClaim} is no user id`)
  if (nestsTooDeep(claims)) throw rejected(`its claims have over ${MAX_CLAIM_LEVELS} levels`)
  return Object.freeze({ id, claims: deepFreeze(claims) })
}

/** The library's messages quote the token and its errors carry the claims, neither of which belongs into a log. */
function describe(error: unknown): string {
  if (error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired) {
    return `${error.code} (${error.claim})`
  }
  if (error instanceof errors.JOSEError) return error.code
  return error instanceof Error ? error.message : "unknown"
}

/** Source: RFC 6750 §3.1. */
function rejected(why: string): BextError {
  return new BextError("E_UNAUTHENTICATED", `token refused: ${why}`, {
    headers: [["WWW-Authenticate", 'Bearer error="invalid_token"']],
  })
}

function ignoreRejected(error: unknown): void {
  if (!(error instanceof BextError) || error.code !== "E_UNAUTHENTICATED") throw error
}
