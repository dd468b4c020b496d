import { readdirSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Config, PluginConfig } from "../config/schema.ts"
import { type ResolvedPlugin, resolvePlugin } from "../plugins/resolve-plugin.ts"

export interface WatchedPaths {
  /** Files and folders, absolute, some of which may be missing. */
  readonly paths: readonly string[]
  /** Folder of each plugin. */
  readonly folders: ReadonlyMap<string, string>
}

/** What a server is made of: the configuration, the plugins, whether or not they can be loaded, and files that settings name. */
export function watchedPaths(file: string, config: Config): WatchedPaths {
  const plugins = Object.entries(config.plugins).filter(([, { enabled }]) => enabled)
  const sources = plugins.map(([name, entry]) => ({ name, ...sourcesOf(name, entry, dirname(file)) }))
  const { auth } = config.middleware
  const others = [...Object.values(config.errors), auth?.key_file, auth?.jwks_file]
  return {
    paths: [file, ...sources.flatMap(({ paths }) => paths), ...others.filter((path) => path !== undefined)],
    folders: new Map(sources.map(({ name, folder }) => [name, folder])),
  }
}

function sourcesOf(name: string, entry: PluginConfig, project: string): { folder: string; paths: string[] } {
  try {
    const found = resolvePlugin(name, entry, project)
    if (found.manifest.sandbox.type === "wasm") return { folder: found.folder, paths: moduleFiles(found) }
    if (!found.synthesised) return { folder: found.folder, paths: [found.folder] }
    // A single file may import its neighbours; what else lies there is none of its business.
    const neighbours = readdirSync(found.folder).filter((file) => /\.([cm]?[jt]s|json)$/.test(file))
    return { folder: found.folder, paths: neighbours.map((file) => join(found.folder, file)) }
  } catch {
    const folder = entry.path ?? join(project, "plugins", name)
    return { folder, paths: [folder] }
  }
}

/** What else is in the folder of a module is what it is built from, and all that its compiler writes. */
function moduleFiles({ folder, entry, manifest, synthesised }: ResolvedPlugin): string[] {
  if (synthesised) return [entry]
  const { config_schema: schema } = manifest.manifest
  return [entry, join(folder, "plugin.toml"), ...(schema === undefined ? [] : [join(folder, schema)])]
}
