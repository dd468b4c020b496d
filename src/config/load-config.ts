import { parseConfig } from "./parse-config.ts"
import { readText } from "./read-text.ts"
import type { Config } from "./schema.ts"
import type { Env } from "./seal.ts"

/**
 * Reads and checks bext.config.toml.
 * @throws {BextError} `E_CONFIG_NOT_FOUND`, `E_FILE_UNREADABLE`, and as `parseConfig`.
 */
export function loadConfig(file: string, env: Env = process.env): Config {
  return parseConfig(readText(file, "E_CONFIG_NOT_FOUND"), { file, env })
}
