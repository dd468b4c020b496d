import { lstatSync, readdirSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, extname, join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { getSystemErrorMessage } from "node:util"
import { loadManifest } from "../config/load-manifest.ts"
import { type Manifest, PROGRAM_FILE } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { parseManifest } from "../config/parse-manifest.ts"
import type { PluginConfig } from "../config/schema.ts"
import { BextError, PluginError } from "../errors.ts"
import type { Tier } from "../sandbox/sandbox.ts"

/** A plugin that was found on disk; none of its code has run. */
export interface ResolvedPlugin {
  readonly manifest: Manifest
  /** No plugin.toml: the manifest was made up, its capabilities follow from what the guest exports. */
  readonly synthesised: boolean
  /** Absolute, symbolic links resolved. */
  readonly folder: string
  /** Absolute, symbolic links resolved, inside `folder`. */
  readonly entry: string
  /** Whose storage the plugin has. */
  readonly owner: string
  /** The folder is part of the project, not something that was installed or came with bext. */
  readonly local: boolean
}

const BUNDLED = fileURLToPath(new URL("../../plugins/", import.meta.url))

/**
 * Finds a plugin: `path` when the configuration has one, else `plugins/NAME` of the project, else the one of that name
 * that comes with bext.
 * @param project - Absolute folder of the configuration file.
 * @throws {BextError} `E_PLUGIN_NOT_FOUND`, `E_PLUGIN_MANIFEST_INVALID`, `E_FILE_UNREADABLE`.
 */
export function resolvePlugin(name: string, config: PluginConfig, project: string): ResolvedPlugin {
  try {
    return findPlugin(name, config, project)
  } catch (error) {
    const { errno, path } = error as NodeJS.ErrnoException
    if (error instanceof BextError || errno === undefined) throw error
    const what = `cannot read ${path}: ${getSystemErrorMessage(errno)}`
    throw new PluginError("E_FILE_UNREADABLE", name, what, { cause: error })
  }
}

function findPlugin(name: string, config: PluginConfig, project: string): ResolvedPlugin {
  if (config.path !== undefined) return fromPath(name, config.path, config.sandbox, project)
  const own = join(project, "plugins", name)
  if (isThere(own)) return fromFolder(name, own, realpathSync(project))
  const bundled = join(BUNDLED, name)
  if (isThere(bundled)) return { ...fromFolder(name, bundled, bundled), owner: "bext", local: false }
  const meant = nearest(name, namesIn(join(project, "plugins"), BUNDLED))
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`
  const what = `there is no ${own}, and no plugin of that name comes with bext${hint}`
  throw new PluginError("E_PLUGIN_NOT_FOUND", name, what)
}

function namesIn(...folders: string[]): string[] {
  return folders.filter(isThere).flatMap((folder) => readdirSync(folder))
}

function fromPath(name: string, path: string, tier: Tier | undefined, project: string): ResolvedPlugin {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) throw new PluginError("E_PLUGIN_NOT_FOUND", name, `there is no ${path}`)
  const root = realpathSync(project)
  if (stats.isDirectory()) return fromFolder(name, path, root)
  // To read a FIFO would wait for somebody to write to it.
  if (!stats.isFile()) throw new PluginError("E_PLUGIN_NOT_FOUND", name, `${path} is neither a folder nor a file`)
  const entry = realpathSync(path)
  const local = isInside(root, entry)
  const folder = manifestFolder(dirname(entry), local ? root : dirname(entry))
  if (folder !== undefined) return { ...withEntry(name, folder, entry), local }
  return {
    manifest: synthesise(name, entry, tier ?? tierOf(entry)),
    synthesised: true,
    folder: dirname(entry),
    entry,
    owner: entry,
    local,
  }
}

function fromFolder(name: string, path: string, root: string): ResolvedPlugin {
  const plugin = withManifest(name, realpathSync(path))
  const entry = findEntry(name, plugin.folder, plugin.manifest)
  return { ...plugin, entry, local: isInside(root, plugin.folder) }
}

function withManifest(name: string, folder: string): Omit<ResolvedPlugin, "entry" | "local"> {
  const manifest = loadManifest(folder)
  if (manifest.manifest.name !== name) {
    const what = `plugin.toml in ${folder} names itself "${manifest.manifest.name}"; write [plugins.${manifest.manifest.name}]`
    throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
  }
  return { manifest, synthesised: false, folder, owner: folder }
}

/** The manifest says the tier, and JavaScript is what it says when it says nothing. */
function withEntry(name: string, folder: string, entry: string): Omit<ResolvedPlugin, "local"> {
  const plugin = withManifest(name, folder)
  if (tierOf(entry) !== "wasm" || plugin.manifest.sandbox.type !== "quickjs") return { ...plugin, entry }
  const what = `${entry} is a WebAssembly module; add [sandbox] type = "wasm" to ${join(folder, "plugin.toml")}`
  throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
}

/** The nearest folder with a plugin.toml, from `folder` up to `root`. */
function manifestFolder(folder: string, root: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    if (isThere(join(at, "plugin.toml"))) return at
    if (at === root || at === dirname(at)) return undefined
  }
}

const ENTRIES: Readonly<Record<Tier, readonly string[]>> = {
  quickjs: ["src/index.ts", "src/index.js", "index.ts", "index.js"],
  wasm: ["plugin.wasm"],
  nsjail: [],
}

function findEntry(name: string, folder: string, { manifest, sandbox }: Manifest): string {
  const candidates = manifest.entry === undefined ? ENTRIES[sandbox.type] : [manifest.entry]
  const found = candidates.map((path) => join(folder, path)).find((path) => isFile(path))
  if (found === undefined) {
    const isModule = sandbox.type === "quickjs" && isFile(join(folder, "plugin.wasm"))
    const unbuilt = sandbox.type === "wasm" ? "build it, or " : ""
    const hint = isModule
      ? 'but a plugin.wasm: add [sandbox] type = "wasm" to plugin.toml'
      : `${unbuilt}name the plugin's code with entry in [manifest]`
    throw new PluginError("E_PLUGIN_NOT_FOUND", name, `${folder} has no ${candidates.join(", ")}; ${hint}`)
  }
  const entry = realpathSync(found)
  if (isInside(folder, entry)) return entry
  const what = `entry ${relative(folder, found)} leads out of the plugin's folder`
  throw new PluginError("E_PLUGIN_MANIFEST_INVALID", name, what)
}

/** A single file asks for nothing and runs in the tier its ending names. */
function synthesise(name: string, file: string, tier: Tier): Manifest {
  const entry = tier === "nsjail" ? `entry = ${JSON.stringify(basename(file))}\n` : ""
  const text = `[manifest]\nname = "${name}"\nversion = "0.0.0"\n${entry}[sandbox]\ntype = "${tier}"\n`
  return parseManifest(text, { file: `${name} (no plugin.toml)` })
}

function tierOf(entry: string): Tier {
  if (PROGRAM_FILE.test(entry)) return "nsjail"
  return extname(entry) === ".wasm" ? "wasm" : "quickjs"
}

/** A link that leads nowhere counts: what it stands for is not replaced by something else. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

/** Both paths absolute and without symbolic links. */
export function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
