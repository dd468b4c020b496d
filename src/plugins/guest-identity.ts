import { PluginError } from "../errors.ts"
import { MAX_CLAIM_LEVELS, nestsTooDeep } from "../message/nests-too-deep.ts"
import type { User } from "../message/request-context.ts"
import type { Json } from "../sandbox/sandbox.ts"

/** No control characters: ids end up in logs and headers. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what an id must not hold
const USER_ID = /^[^\u0000-\u001f\u007f]{1,256}$/
/** As in `[[tenants]]`: it names storage partitions. */
const TENANT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** The user a guest names. @throws {PluginError} `E_GUEST_RESULT_INVALID`. */
export function toUser(plugin: string, value: Json): User | null {
  if (value === null) return null
  if (!isObject(value)) throw invalid(plugin, "user is neither null nor { id, claims }")
  const { id, claims = {} } = value
  if (typeof id !== "string" || !USER_ID.test(id)) {
    throw invalid(plugin, "user.id is not text of 1 to 256 printable characters")
  }
  if (!isObject(claims)) throw invalid(plugin, "user.claims is not an object")
  if (nestsTooDeep(claims)) throw invalid(plugin, `user.claims has over ${MAX_CLAIM_LEVELS} levels`)
  return Object.freeze({ id, claims: Object.freeze(claims) })
}

/** The tenant or site a guest names. @throws {PluginError} `E_GUEST_RESULT_INVALID`. */
export function toTenant(plugin: string, field: string, value: Json): string | null {
  if (value === null || (typeof value === "string" && TENANT_ID.test(value))) return value
  throw invalid(plugin, `${field} is not 1 to 64 of A-Z a-z 0-9 . _ -`)
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function invalid(plugin: string, what: string): PluginError {
  return new PluginError("E_GUEST_RESULT_INVALID", plugin, what)
}
