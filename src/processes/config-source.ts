import { dirname } from "node:path"
import type { z } from "zod"
import { checkAdminTokens } from "../admin/check-admin-tokens.ts"
import { createConfig, parseConfig } from "../config/parse-config.ts"
import { readText } from "../config/read-text.ts"
import type { Config, configSchema } from "../config/schema.ts"
import type { Env } from "../config/seal.ts"

/**
 * A configuration as it was accepted, as plain data: a process that starts again is given this and never reads the file,
 * which may have been edited to nonsense since.
 */
export type ConfigSource =
  /** `file` is an absolute path. */
  | { readonly kind: "file"; readonly file: string; readonly text: string }
  /** From the command line: an object in the shape of the file. Relative paths count from `folder`. */
  | { readonly kind: "options"; readonly folder: string; readonly input: z.input<typeof configSchema> }

/** @throws {BextError} `E_CONFIG_NOT_FOUND`, `E_FILE_UNREADABLE`. */
export function readConfigSource(file: string): ConfigSource {
  return { kind: "file", file, text: readText(file, "E_CONFIG_NOT_FOUND") }
}

/** The same configuration as it is now. @throws {BextError} as `readConfigSource`. */
export function readAgain(source: ConfigSource): ConfigSource {
  return source.kind === "file" ? readConfigSource(source.file) : source
}

/** @throws {ConfigError} `E_CONFIG_INVALID`, `E_CONFIG_SECRET_MISSING`. */
export function toConfig(source: ConfigSource, env: Env = process.env): Config {
  const config =
    source.kind === "file"
      ? parseConfig(source.text, { file: source.file, env })
      : createConfig(source.input, { folder: source.folder, env })
  // Here, so that a reload with a bad token changes nothing: later it would leave the server without its admin listener.
  checkAdminTokens(config)
  return config
}

/** Where plugins are looked for. */
export function projectFolder(source: ConfigSource): string {
  return source.kind === "file" ? dirname(source.file) : source.folder
}
