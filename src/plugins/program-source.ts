import { existsSync, realpathSync } from "node:fs"
import { dirname, join, sep } from "node:path"
import type { Problem } from "../config/config-error.ts"
import { configError } from "../config/parse-config.ts"
import type { Config } from "../config/schema.ts"
import { PluginError } from "../errors.ts"
import type { ProgramSource } from "../sandbox/sandbox.ts"
import { dataFolder } from "./data-folder.ts"
import type { ProgramLimits } from "./plugin-limits.ts"
import { isInside, type ResolvedPlugin } from "./resolve-plugin.ts"
import { wantedIsolation } from "./wanted-isolation.ts"

export interface ProgramOptions {
  readonly config: Config
  /** Absolute folder of the configuration file. */
  readonly configDir: string
  /** See `LoadPluginOptions`. */
  readonly dataDir?: string
  readonly limits: ProgramLimits
  /** Whether requests or messages of several tenants reach the plugin. */
  readonly severalTenants: boolean
}

/**
 * How the program of a plugin is run: the manifest's word, and the operator's where there is one.
 * @throws {BextError} `E_PLUGIN_MANIFEST_INVALID`; `E_CONFIG_INVALID` for a path that no program may see.
 */
export function toProgramSource(name: string, found: ResolvedPlugin, options: ProgramOptions): ProgramSource {
  const { config, configDir, dataDir = config.state.dir, limits, severalTenants } = options
  const { manifest, sandbox } = found.manifest
  const entry = config.plugins[name]!
  if (found.synthesised) {
    const what = `${found.entry} has no plugin.toml: a program needs one, as all that is in its folder is what it sees`
    throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
  }
  const own = privatePlaces(config)
  const exposed = own.find((place) => isInside(found.folder, place))
  if (exposed !== undefined) {
    const what = `its folder ${found.folder} has ${exposed} in it, which no program may see; give the plugin a folder of its own`
    throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
  }
  if (sandbox.data_dir && severalTenants && sandbox.instance !== "shared") throw sharedData(name)
  checkPaths(name, config, [...own, real(join(configDir, ".bext"))])
  const { dataBytes, ...bounds } = limits
  return {
    interpreter: entry.interpreter ?? sandbox.interpreter ?? null,
    capabilities: manifest.capabilities,
    jails: entry.jails ?? 1,
    minIsolation: wantedIsolation(config, name, found.local),
    data: sandbox.data_dir ? { folder: dataFolder(dataDir, name, found.owner), quotaBytes: dataBytes } : null,
    readOnlyPaths: entry.read_only_paths,
    ...bounds,
  }
}

/** A fresh instance promises that nothing of one tenant is left for the next; a folder that all write to breaks that. */
function sharedData(name: string): PluginError {
  const what =
    "data_dir = true, and requests of several tenants reach it: what it writes to /data for one of them, it can read for all. " +
    'If it keeps them apart itself, its plugin.toml says so: instance = "shared" in [sandbox]. ' +
    "Otherwise let match name a single tenant"
  return new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
}

/** Storage of all plugins, and a socket that obeys whoever can open it. Absolute, links resolved. */
function privatePlaces({ admin: { listen }, state }: Config): string[] {
  const socket = listen.startsWith("unix:") ? [listen.slice("unix:".length)] : []
  return [state.dir, ...socket].map(real)
}

function checkPaths(name: string, config: Config, hidden: readonly string[]): void {
  const problems = config.plugins[name]!.read_only_paths.flatMap((path, index): Problem[] => {
    const at = ["plugins", name, "read_only_paths", index]
    if (!existsSync(path)) return [{ path: at, what: `there is no ${path}` }]
    const seen = real(path)
    const place = hidden.find((place) => isInside(seen, place) || isInside(place, seen))
    return place === undefined ? [] : [{ path: at, what: `no program may see ${place}, which belongs to the server` }]
  })
  if (problems.length > 0) throw configError(config, problems)
}

/** What is not there yet may be made later, in a folder that is. */
function real(path: string): string {
  if (existsSync(path) || path === dirname(path)) return realpathSync(path)
  return join(real(dirname(path)), path.slice(path.lastIndexOf(sep) + 1))
}
