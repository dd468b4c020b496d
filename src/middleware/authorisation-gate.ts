import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import type { RequestContext, User } from "../message/request-context.ts"
import type { AuthConfig } from "./auth.ts"

type ClaimValue = string | number | boolean

/**
 * Decides, on the final path, whether this request may reach the app. Runs after the whole stack, so that no rewrite can
 * step around it. Every path needs a user unless it is public; a path with rules needs the claims of each of them, also
 * when it is public.
 * @returns A function that throws `E_UNAUTHENTICATED` or `E_FORBIDDEN`, each with its challenge (RFC 6750 §3).
 */
export function createAuthorisationGate(config: AuthConfig): (context: RequestContext) => void {
  const publicPaths = config.public.map((pattern) => compileGlob(pattern))
  const rules = config.rules.map((row) => ({ matches: compileGlob(row.path), claims: Object.entries(row.claims) }))

  return ({ path, user }) => {
    let open = publicPaths.some((matches) => matches(path))
    for (const rule of rules) {
      if (!rule.matches(path)) continue
      open = false
      if (user !== null && !rule.claims.every(([name, value]) => hasClaim(user, name, value))) throw forbidden()
    }
    if (user === null && !open) throw unauthenticated()
  }
}

/** A claim that is a list must contain the value; `scope` is a list separated by spaces (RFC 8693 §4.2). */
function hasClaim(user: User, name: string, value: ClaimValue): boolean {
  if (!Object.hasOwn(user.claims, name)) return false
  const claim = user.claims[name]
  if (Array.isArray(claim)) return claim.includes(value)
  if (name === "scope" && typeof claim === "string") return claim.split(" ").includes(String(value))
  return claim === value
}

function unauthenticated(): BextError {
  return new BextError("E_UNAUTHENTICATED", "this path needs a user", {
    headers: [["WWW-Authenticate", 'Bearer realm="bext"']],
  })
}

function forbidden(): BextError {
  return new BextError("E_FORBIDDEN", "the user lacks a claim that this path needs", {
    headers: [["WWW-Authenticate", 'Bearer error="insufficient_scope"']],
  })
}
