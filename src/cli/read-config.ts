import { parseConfig } from "../config/parse-config.ts"
import type { Config } from "../config/schema.ts"

/**
 * The configuration as the server would read it, for commands that only look at it or change it: the variables that its
 * secrets come from are the server's and may be missing here.
 * @throws {ConfigError} as `parseConfig`, but never `E_CONFIG_SECRET_MISSING`.
 */
export function readConfig(text: string, file: string): Config {
  return parseConfig(text, { file, env: LENIENT_ENV })
}

/** Has a value for every name but PORT, which is the server's alone. */
export const LENIENT_ENV = new Proxy<Record<string, string | undefined>>(
  {},
  { get: (_, name) => (name === "PORT" ? undefined : process.env[String(name)] || "not set in this shell") },
)
