import { dirname, resolve } from "node:path"
import { checkManifest } from "./check-manifest.ts"
import { ConfigError, locate } from "./config-error.ts"
import { type Manifest, manifestSchema } from "./manifest-schema.ts"
import { readToml } from "./read-toml.ts"
import { seal } from "./seal.ts"
import { toProblems } from "./to-problems.ts"

/**
 * The door for plugin.toml: typed, defaulted, deeply frozen. The text is a stranger's.
 * @param options.file - Path of the file, for messages.
 * @throws {ConfigError} `E_PLUGIN_MANIFEST_INVALID` with all problems at once.
 */
export function parseManifest(text: string, options: { file: string }): Manifest {
  const source = { file: options.file, text: text.replace(/^\uFEFF/, "") }
  const input = readToml(source, "E_PLUGIN_MANIFEST_INVALID")
  const result = manifestSchema.safeParse(input)
  const problems = result.success ? checkManifest(result.data) : toProblems(manifestSchema, input, result.error.issues)
  if (problems.length > 0 || !result.success) {
    throw new ConfigError("E_PLUGIN_MANIFEST_INVALID", source.file, locate(source, problems))
  }
  return seal(manifestSchema, result.data, dirname(resolve(options.file)))
}
