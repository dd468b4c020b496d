import type { Config } from "../config/schema.ts"
import { Secret } from "../config/secret.ts"
import type { Json } from "../sandbox/sandbox.ts"

/** Names under which plugins keep what nobody else should see; their settings are free text. */
const SECRET_NAME = /secret|token|passw|credential|api_?key|private_?key/i

/** User and password of a URL. Source: RFC 3986 §3.2.1. */
const URL_CREDENTIALS = /(?<=:\/\/)[^/?#\s]*@/g

const MASK = "***"

/**
 * The configuration for people to look at. Secrets show where they come from ("env:NAME"), never their value; what a
 * plugin's own settings hold under a name that sounds like a secret, or as credentials of a URL, is masked.
 */
export function toPublicConfig(config: Config): Json {
  const plugins = Object.entries(config.plugins).map(([name, plugin]) => [
    name,
    { ...plugin, config: masked(plugin.config, false) },
  ])
  return plain({ ...config, plugins: Object.fromEntries(plugins) })
}

function plain(value: unknown): Json {
  if (value instanceof Secret) return String(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value as Json
  const present = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(present.map(([key, inner]) => [key, plain(inner)]))
}

function masked(value: unknown, isSecret: boolean): unknown {
  if (Array.isArray(value)) return value.map((inner) => masked(inner, isSecret))
  if (typeof value !== "object" || value === null) return isSecret && value !== null ? MASK : withoutCredentials(value)
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, masked(inner, isSecret || SECRET_NAME.test(key))]),
  )
}

function withoutCredentials(value: unknown): unknown {
  return typeof value === "string" ? value.replace(URL_CREDENTIALS, `${MASK}@`) : value
}
