import { posix } from "node:path"
import type { PluginError } from "../../errors.ts"
import type { SourceMap } from "./modules-source-map.ts"

/** Written without an extension, these are tried in order, then the same as `index` in a folder of that name. */
export const EXTENSIONS = [".ts", ".mts", ".js", ".mjs", ".json"]
/** TypeScript's habit of naming the output: "./a.js" is found as a.ts. */
const SPELLED_AS_OUTPUT = new Map([
  [".js", ".ts"],
  [".mjs", ".mts"],
])
export interface Module {
  readonly name: string
  /** What the file says. */
  readonly text: string
  /** What the engine runs. */
  readonly code: string
  readonly map: SourceMap | null
}

/** Modules by each path they were looked for under; an error for a path that leads to something unusable. */
export type Found = Map<string, Module | PluginError>

/** The paths inside the plugin a specifier may mean, best first. None for what is not relative or leads outside. */
export function candidates(importer: string, specifier: string): string[] {
  if (!/^\.\.?\//.test(specifier)) return []
  const path = posix.join(posix.dirname(importer), specifier)
  if (path.startsWith("..") && (path.length === 2 || path[2] === "/")) return []
  const extension = posix.extname(path)
  const source = SPELLED_AS_OUTPUT.get(extension)
  return [
    path,
    ...(source === undefined ? [] : [path.slice(0, -extension.length) + source]),
    ...EXTENSIONS.map((added) => path + added),
    ...EXTENSIONS.map((added) => posix.join(path, `index${added}`)),
  ]
}
