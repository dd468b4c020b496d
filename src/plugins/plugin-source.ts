import { realpathSync } from "node:fs"
import { join, sep } from "node:path"
import { fingerprint } from "../config/fingerprint.ts"
import { readText } from "../config/read-text.ts"
import { PluginError } from "../errors.ts"
import type { LoadPluginOptions } from "./load-plugin.ts"
import { type ResolvedPlugin, resolvePlugin } from "./resolve-plugin.ts"

/** A plugin as it stands on disk and in the configuration; none of its code was read. */
export interface PluginSource extends ResolvedPlugin {
  /** The JSON Schema of its settings. */
  readonly schema: { readonly file: string; readonly text: string } | null
  /** Of everything that decides how the plugin is loaded, except the files its guest is made of. */
  readonly fingerprint: string
}

/** @throws {BextError} as `resolvePlugin`; `E_PLUGIN_NOT_FOUND` and `E_PLUGIN_MANIFEST_INVALID` for its schema. */
export function readPluginSource(name: string, options: LoadPluginOptions): PluginSource {
  const { config } = options
  const entry = config.plugins[name]!
  const found = resolvePlugin(name, entry, options.configDir)
  const schema = readSchema(name, found)
  const decides = {
    entry,
    found,
    schema,
    ceilings: config.sandbox.ceilings,
    minIsolation: config.sandbox.nsjail.min_isolation,
    allowPrivate: found.manifest.permissions.allowed_urls.length === 0 ? null : config.fetch.allow_private,
    queues: found.manifest.permissions.queues.map((queue) => config.queues[queue] ?? null),
    identityHeaders: config.server.identity_headers,
    tenants: config.middleware.tenant !== undefined,
    grantLocalFolders: options.grantLocalFolders,
  }
  return { ...found, schema, fingerprint: fingerprint(decides) }
}

function readSchema(name: string, { manifest, folder }: ResolvedPlugin): PluginSource["schema"] {
  const path = manifest.manifest.config_schema
  if (path === undefined) return null
  const file = join(folder, path)
  const text = readText(file, "E_PLUGIN_NOT_FOUND")
  if (realpathSync(file).startsWith(folder + sep)) return { file, text }
  throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, `config_schema ${path} leads out of the plugin's folder`)
}
