import { createRequire } from "node:module"
import { fuelOnOtherTier, programOnOtherTier } from "./check-config.ts"
import type { Problem } from "./config-error.ts"
import type { Manifest } from "./manifest-schema.ts"
import { configError } from "./parse-config.ts"
import type { Config } from "./schema.ts"

/**
 * Checks a plugin's entry in the configuration against its manifest: what either of them could not see alone.
 * @throws {ConfigError} `E_CONFIG_INVALID` with all problems, at their places in the configuration file.
 */
export function checkPlugin(config: Config, name: string, manifest: Manifest): void {
  const plugin = config.plugins[name]
  if (plugin === undefined) throw new RangeError(`no plugin ${name} in the configuration`)
  const base = ["plugins", name]
  const tier = manifest.sandbox.type
  const problems: Problem[] = []
  if (plugin.sandbox !== undefined && plugin.sandbox !== tier) {
    const what = `the plugin is made for ${tier}, not ${plugin.sandbox}`
    problems.push({ path: [...base, "sandbox"], what, fixes: [`write "${tier}", or remove the line`] })
  }
  if (plugin.sandbox === undefined && tier !== "wasm") problems.push(...fuelOnOtherTier(name, plugin.fuel, tier))
  if (plugin.sandbox === undefined) problems.push(...programOnOtherTier(name, plugin, tier))
  if (tier === "nsjail" && plugin.limits.data_quota_mb !== undefined && !manifest.sandbox.data_dir) {
    const what = "the plugin has no folder for data: data_dir is not set in its plugin.toml"
    problems.push({ path: [...base, "limits", "data_quota_mb"], what, fixes: ["remove it"], at: "key" })
  }
  if (manifest.manifest.security && plugin.on_error === "open") {
    const what = "others rely on this plugin for protection (security = true in plugin.toml), so it cannot be skipped"
    problems.push({ path: [...base, "on_error"], what, fixes: ['write "closed", or remove the line'] })
  }
  if (plugin.version !== undefined && !satisfies(manifest.manifest.version, plugin.version)) {
    const what = `the plugin's version is ${manifest.manifest.version}; this asks for ${JSON.stringify(plugin.version)}`
    problems.push({ path: [...base, "version"], what })
  }
  if (problems.length > 0) throw configError(config, problems)
}

function satisfies(version: string, range: string): boolean {
  // Loaded only for a configuration that names a version.
  const { satisfies } = createRequire(import.meta.url)("semver") as typeof import("semver")
  return satisfies(version, range, { includePrerelease: true })
}
