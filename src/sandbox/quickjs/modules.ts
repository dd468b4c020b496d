import { realpath } from "node:fs/promises"
import { type PlainError, PluginError } from "../../errors.ts"
import type { GuestSource } from "../sandbox.ts"
import { LoadedModules } from "./modules-loaded.ts"
import { readModules } from "./modules-read.ts"
import type { SourceMapData } from "./modules-source-map.ts"

/** The modules of one plugin, read and ready to run. Everything here is a look-up: no file is opened after loading. */
export interface GuestModules {
  /** Name of the entry. Names are paths relative to the plugin folder, with "/". */
  readonly entry: string
  /**
   * @param importer - Name of the importing module.
   * @param specifier - Relative path, as written in the source.
   * @returns The imported module's name.
   * @throws {PluginError} `E_PLUGIN_LOAD_FAILED` with the importer's line and column.
   */
  resolve(importer: string, specifier: string): string
  /**
   * @param name - As `resolve` gave it.
   * @returns Its JavaScript, every line and column where the author wrote it.
   * @throws {PluginError} `E_PLUGIN_LOAD_FAILED`.
   */
  load(name: string): string
  /** Whether the word occurs anywhere in the plugin's sources, strings and comments included. @param word - An identifier. */
  mentions(word: string): boolean
  /** Rewrites the places in a guest's stack trace by the source maps of bundled modules. Never throws. */
  mapStack(stack: string): string
  /** All of it as plain data: files may have changed on disk since. */
  toData(): ModulesData
}

export interface ModulesData {
  readonly entry: string
  /** By each path they were looked for under. */
  readonly found: readonly (readonly [path: string, module: ModuleData | { readonly error: PlainError }])[]
}

export interface ModuleData {
  readonly name: string
  readonly text: string
  readonly code: string
  readonly map: SourceMapData | null
}

/**
 * Reads the entry and every module it can reach. A module is reachable when a string literal of a reachable module, written
 * without escapes, starts with "./" or "../" and leads to it; that covers static imports and `import("./literal.ts")`. A
 * file that cannot be used (outside the folder, not UTF-8, an `enum`) is an error only if it is really imported.
 * @throws {PluginError} `E_PLUGIN_LOAD_FAILED` when the entry itself cannot be used.
 */
export async function loadGuestModules(source: GuestSource): Promise<GuestModules> {
  const { name, folder } = source
  const root = await realpath(folder).catch((cause) => {
    throw new PluginError("E_PLUGIN_LOAD_FAILED", name, `the folder ${JSON.stringify(folder)} cannot be read`, {
      cause,
    })
  })
  const { entry, found } = await readModules(name, root, source.entry, source.noteFile)
  return new LoadedModules(name, entry, found)
}
