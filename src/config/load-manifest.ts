import { existsSync, lstatSync } from "node:fs"
import { basename, join } from "node:path"
import { BextError } from "../errors.ts"
import type { Manifest } from "./manifest-schema.ts"
import { parseManifest } from "./parse-manifest.ts"
import { readText } from "./read-text.ts"

/** Other names people give the manifest; the first is one that older documentation uses. */
const OTHER_NAMES = ["bext.plugin.toml", "bext-plugin.toml", "plugin.config.toml", "Plugin.toml", "manifest.toml"]

/**
 * Reads and checks the plugin.toml of a plugin's folder.
 * @throws {BextError} `E_PLUGIN_NOT_FOUND` (with a hint when the file has another name), `E_FILE_UNREADABLE`, and as
 *   `parseManifest`.
 */
export function loadManifest(folder: string): Manifest {
  const file = join(folder, "plugin.toml")
  const other = OTHER_NAMES.find((name) => !existsSync(file) && existsSync(join(folder, name)))
  if (other !== undefined) {
    throw new BextError("E_PLUGIN_NOT_FOUND", `${folder} has a ${other}; the manifest is called plugin.toml: rename it`)
  }
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) {
    const what = `there is no file ${file}; write one:\n\n${smallest(basename(folder))}`
    throw new BextError("E_PLUGIN_NOT_FOUND", what)
  }
  return parseManifest(readText(file, "E_PLUGIN_NOT_FOUND"), { file })
}

function smallest(name: string): string {
  return `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]`
}
