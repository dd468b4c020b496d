import { existsSync, realpathSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { shortName } from "../config/config-error.ts"
import { addTables, type TableLine } from "../config/edit-toml.ts"
import type { Permissions } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { readText } from "../config/read-text.ts"
import { replaceText } from "../config/replace-text.ts"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { effectivePermissions } from "../host/permissions.ts"
import { type CatalogueEntry, readCatalogue } from "../registry/catalogue.ts"
import { type PluginTables, pluginTables } from "../registry/plugin-tables.ts"
import { allowIsolation } from "./allow-isolation.ts"
import { allowPermissions, describeUnmapped } from "./allow-permissions.ts"
import { canAsk, confirm } from "./ask.ts"
import { FILE, writeConfig } from "./init.ts"
import { parseOptions, usageError } from "./parse-options.ts"
import { readConfig } from "./read-config.ts"

const COMMAND = "plugin install"

/** `bext plugin install NAME`: adds a plugin of the catalogue to the configuration, which is checked before it is written. */
export async function pluginInstall(args: readonly string[]): Promise<number> {
  const { options, words } = parseOptions(COMMAND, args)
  const plugin = findInCatalogue(words[0])
  const yes = options.has("yes")
  const file = resolve(String(options.get("config") ?? FILE))
  if (!existsSync(file) && !(await offerConfig(file, yes && !options.has("dry-run")))) return 1
  const before = readText(file, "E_CONFIG_NOT_FOUND")
  const present = readConfig(before, file)
  checkAbsent(plugin, present, file)

  const wall = await allowProgram(plugin, present, options.has("dry-run") ? "silent" : yes ? "yes" : "ask")
  if (wall === null) return 1
  const asked = effectivePermissions(plugin.name, plugin.manifest.permissions, undefined, {}).missing?.fields ?? {}
  if (!options.has("dry-run") && !(await allowPermissions(COMMAND, plugin.name, asked, yes))) return 1
  const added = pluginTables(plugin, asked, wall)
  const after = addTables(before, added.tables)
  const config = readConfig(after, file)
  if (added.toFillIn.length === 0) await load(plugin.name, config, dirname(file))
  if (options.has("dry-run")) {
    process.stdout.write(diff(file, before, after))
    return 0
  }
  replaceText(file, before, after)
  process.stdout.write(report(plugin, file, added, asked))
  return 0
}

function findInCatalogue(name: string | undefined): CatalogueEntry {
  const catalogue = readCatalogue()
  const names = [...catalogue.keys()]
  if (name === undefined) throw usageError(COMMAND, "which plugin?", `there are: ${names.join(", ")}`)
  const found = catalogue.get(name)
  if (found !== undefined) return found
  const meant = nearest(name, names)
  const hint = meant === undefined ? `there are: ${names.join(", ")}` : `did you mean bext plugin install ${meant}?`
  const own = 'a plugin of your own is added by hand: [plugins.NAME] with path = "FOLDER"'
  throw usageError(COMMAND, `no plugin ${JSON.stringify(name)} comes with bext`, `${hint}\n${own}`)
}

/** @returns whether there is a configuration now. */
async function offerConfig(file: string, yes: boolean): Promise<boolean> {
  const folder = dirname(file)
  const isDefault = file === join(folder, FILE) && existsSync(folder)
  if (
    isDefault &&
    (yes || (canAsk() && (await confirm(`There is no ${FILE} here. Write one that fits this folder?`))))
  ) {
    process.stdout.write(`wrote ${FILE}: ${writeConfig(folder).found}\n`)
    return true
  }
  const what = `there is no file ${shortName(file)}`
  throw new BextError("E_CONFIG_NOT_FOUND", isDefault ? `${what}; bext init writes one, --yes does it here` : what)
}

function checkAbsent({ name, folder }: CatalogueEntry, config: Config, file: string): void {
  const installed = config.plugins[name]
  if (installed !== undefined) {
    const state = installed.enabled ? "enabled" : "not enabled: remove enabled = false to use it"
    const where = installed.path === undefined ? "" : ` from ${installed.path}`
    throw usageError(
      COMMAND,
      `${name} is in ${shortName(file)} already${where}, ${state}`,
      "bext plugin list shows all",
    )
  }
  const own = join(dirname(file), "plugins", name)
  // In a checkout of bext they are the same.
  if (existsSync(own) && realpathSync(own) !== realpathSync(folder)) {
    const what = `the folder ${own} of this project has the same name and would be used instead`
    throw usageError(
      COMMAND,
      what,
      `to use it, write [plugins.${name}] into ${shortName(file)}; to use the one of bext, rename the folder`,
    )
  }
}

/** @returns what the plugin's table has to say of its isolation; null: it may not run. */
async function allowProgram(
  { name, manifest }: CatalogueEntry,
  config: Config,
  answer: "ask" | "yes" | "silent",
): Promise<readonly TableLine[] | null> {
  if (manifest.sandbox.type !== "nsjail") return []
  const { probeIsolation } = await import("../create-tiers.ts")
  return allowIsolation(COMMAND, name, config, await probeIsolation(), answer)
}

/** The door of the server: what it would refuse is never written. */
async function load(name: string, config: Config, folder: string): Promise<void> {
  const { checkPlugins } = await import("../check-server.ts")
  const only = { ...config, plugins: { [name]: config.plugins[name]! } }
  for await (const result of checkPlugins(only, { folder, warn: () => {} })) if ("error" in result) throw result.error
}

function report(
  { name, manifest }: CatalogueEntry,
  file: string,
  { toFillIn }: PluginTables,
  { secrets = [] }: Partial<Permissions>,
): string {
  const lines = [`installed ${name} ${manifest.manifest.version}: see [plugins.${name}] in ${shortName(file)}`]
  if (toFillIn.length > 0) {
    lines.push(`before the server can start, fill in [plugins.${name}.config] ${toFillIn.join(", ")}`)
  }
  if (secrets.length > 0) lines.push(describeUnmapped(name, secrets).trimEnd(), "")
  lines.push("next: bext serve, or bext reload when it runs")
  return `${lines.join("\n")}\n`
}

/** A unified diff; `after` is `before` and more. */
function diff(file: string, before: string, after: string): string {
  // A last line without an end is not the same line once something follows.
  const start = before.endsWith("\n") ? before.length : before.lastIndexOf("\n") + 1
  const old = linesOf(before.slice(start))
  const now = linesOf(after.slice(start))
  const above = linesOf(before.slice(0, start)).length
  return [
    `--- ${shortName(file)}`,
    `+++ ${shortName(file)}`,
    `@@ -${old.length === 0 ? above : above + 1},${old.length} +${above + 1},${now.length} @@`,
    ...old.flatMap((line) => [`-${line}`, "\\ No newline at end of file"]),
    ...now.map((line) => `+${line}`),
    "",
  ].join("\n")
}

function linesOf(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n")
}
