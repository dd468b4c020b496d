import { configError } from "../config/parse-config.ts"
import type { Config } from "../config/schema.ts"
import type { Secret } from "../config/secret.ts"

const LEAST_TOKEN = 16

/**
 * What the values of the tokens must be like; the configuration's door sees their names alone.
 * @throws {ConfigError} `E_CONFIG_INVALID`: too short, not fit for a header, or both the same.
 */
export function checkAdminTokens(config: Config): void {
  const { token, metrics_token } = config.admin
  const problems = [
    ...checkLength("token", token),
    ...checkLength("metrics_token", metrics_token),
    ...(token !== undefined && token.reveal() === metrics_token?.reveal()
      ? [{ path: ["admin", "metrics_token"], what: "metrics_token is the same as token; it would do everything" }]
      : []),
  ]
  if (problems.length > 0) throw configError(config, problems)
}

function checkLength(field: string, token: Secret | undefined) {
  const value = token?.reveal()
  if (value === undefined) return []
  const path = ["admin", field]
  if (!/^[\x21-\x7e]+$/.test(value)) return [{ path, what: `the value of ${token} has characters no header can carry` }]
  if (value.length >= LEAST_TOKEN) return []
  const what = `the value of ${token} has ${value.length} characters; expected at least ${LEAST_TOKEN}`
  return [{ path, what, fixes: ["a good one: openssl rand -hex 32"] }]
}
