import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { loadManifest } from "../config/load-manifest.ts"
import type { Manifest } from "../config/manifest-schema.ts"

export interface CatalogueEntry {
  readonly name: string
  /** Absolute. */
  readonly folder: string
  readonly manifest: Manifest
}

/** Found from this file: the catalogue comes with bext, wherever a command is run. */
const FOLDER = fileURLToPath(new URL("../../plugins/", import.meta.url))

/**
 * The plugins that come with bext, by name in alphabetical order.
 * @param folder - Tests name another.
 */
export function readCatalogue(folder: string = FOLDER): ReadonlyMap<string, CatalogueEntry> {
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, "plugin.toml")))
  return new Map(
    names.sort().map((name) => {
      const path = join(folder, name)
      return [name, { name, folder: path, manifest: loadManifest(path) }]
    }),
  )
}
