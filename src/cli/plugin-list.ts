import { existsSync } from "node:fs"
import { dirname, relative, resolve } from "node:path"
import { styleText } from "node:util"
import { shortName } from "../config/config-error.ts"
import { printable } from "../config/printable.ts"
import { readText } from "../config/read-text.ts"
import type { PluginConfig } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { resolvePlugin } from "../plugins/resolve-plugin.ts"
import { type CatalogueEntry, readCatalogue } from "../registry/catalogue.ts"
import { formatJson } from "./format.ts"
import { FILE } from "./init.ts"
import { parseOptions } from "./parse-options.ts"
import { readConfig } from "./read-config.ts"

/** One plugin of the configuration. */
interface Installed {
  readonly name: string
  readonly enabled: boolean
  /** "bext" for one that comes with it, otherwise the folder or file, from that of the configuration. */
  readonly from: string
  readonly version: string
  readonly sandbox: string
  readonly priority: number
  readonly description: string
}

/** Its folder or its manifest is not as it should be. */
interface Broken {
  readonly name: string
  readonly enabled: boolean
  readonly code: string
  readonly error: string
}

/** `bext plugin list`: what the configuration has, and what else comes with bext. Nothing of the plugins runs. */
export async function pluginList(args: readonly string[]): Promise<number> {
  const { options } = parseOptions("plugin list", args)
  const named = options.get("config")
  const file = resolve(String(named ?? FILE))
  const hasConfig = named !== undefined || existsSync(file)
  const config = hasConfig ? readConfig(readText(file, "E_CONFIG_NOT_FOUND"), file).plugins : {}
  const installed = Object.entries(config).map(([name, entry]) => describe(name, entry, dirname(file)))
  const available = [...readCatalogue().values()].filter(({ name }) => !Object.hasOwn(config, name))
  process.stdout.write(
    options.has("json") ? toJson(installed, available) : toText(installed, available, hasConfig ? file : undefined),
  )
  return 0
}

const DEFAULT_PRIORITY = 600

function describe(name: string, entry: PluginConfig, project: string): Installed | Broken {
  const { enabled } = entry
  try {
    const { manifest, owner, folder, entry: code, synthesised } = resolvePlugin(name, entry, project)
    const { version, description, priority } = manifest.manifest
    const suggested = typeof priority === "object" ? priority.middleware : priority
    return {
      name,
      enabled,
      from: owner === "bext" ? "bext" : relative(project, synthesised ? code : folder) || ".",
      version,
      sandbox: manifest.sandbox.type,
      priority: entry.priority ?? suggested ?? DEFAULT_PRIORITY,
      description,
    }
  } catch (error) {
    if (!(error instanceof BextError)) throw error
    return { name, enabled, code: error.code, error: error.message }
  }
}

function toJson(installed: readonly (Installed | Broken)[], available: readonly CatalogueEntry[]): string {
  const others = available.map(({ name, manifest }) => {
    const { version, description } = manifest.manifest
    return { name, version, sandbox: manifest.sandbox.type, description }
  })
  return formatJson({ installed, available: others })
}

function toText(
  installed: readonly (Installed | Broken)[],
  available: readonly CatalogueEntry[],
  file: string | undefined,
): string {
  const rows = installed.map((plugin) => {
    const off = plugin.enabled ? "" : "not enabled"
    if ("error" in plugin) return [plugin.name, "cannot be used", plugin.error.split("\n", 1)[0]!, off]
    const from = plugin.from === "bext" ? "comes with bext" : plugin.from
    return [plugin.name, plugin.version, plugin.sandbox, `priority ${plugin.priority}`, from, off]
  })
  const others = available.map(({ name, manifest }) => [name, manifest.manifest.version, manifest.manifest.description])
  const title = file === undefined ? `Installed: there is no ${FILE} here` : `Installed, in ${shortName(file)}`
  return [
    bold(title),
    ...(rows.length === 0 ? ["  none"] : table(rows)),
    "",
    bold("Comes with bext, not installed"),
    ...(others.length === 0 ? ["  none"] : [...table(others), "", "bext plugin install NAME adds one."]),
    "",
  ].join("\n")
}

function table(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  return rows.map((row) => `  ${row.map((cell, at) => printable(cell).padEnd(widths[at]!)).join("  ")}`.trimEnd())
}

function bold(text: string): string {
  return styleText("bold", text, { stream: process.stdout })
}
