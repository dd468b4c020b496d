import { dirname, resolve } from "node:path"
import type { ReloadReport } from "../admin/control.ts"
import { shortName } from "../config/config-error.ts"
import { setKeys } from "../config/edit-toml.ts"
import type { Permissions } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { readText } from "../config/read-text.ts"
import { replaceText } from "../config/replace-text.ts"
import type { Config, PluginConfig } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { effectivePermissions } from "../host/permissions.ts"
import { resolvePlugin } from "../plugins/resolve-plugin.ts"
import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { allowPermissions, describeUnmapped } from "./allow-permissions.ts"
import { describePermissions } from "./describe-permissions.ts"
import { FILE } from "./init.ts"
import { type Parsed, parseOptions, usageError } from "./parse-options.ts"
import { readConfig } from "./read-config.ts"
import { describeReport } from "./reload.ts"

const COMMAND = "plugin grant"

/** `bext plugin grant NAME`: shows what the plugin asks for beyond its grant, asks, writes it, and reloads a server that runs. */
export async function pluginGrant(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(COMMAND, args)
  const file = resolve(String(parsed.options.get("config") ?? FILE))
  const before = readText(file, "E_CONFIG_NOT_FOUND")
  const config = readConfig(before, file)
  const [name, entry] = findEntry(config, parsed.words[0], file)
  const asked = resolvePlugin(name, entry, dirname(file)).manifest.permissions
  const { permissions, missing } = effectivePermissions(name, asked, entry.grant, config.sandbox.ceilings)
  showGranted(name, permissions)
  if (missing === null) {
    process.stdout.write(`${name} asks for nothing that is not decided already\n`)
    return 0
  }
  const wanted = onlyNew(missing.fields, entry.grant)
  if (!(await allowPermissions(COMMAND, name, wanted, parsed.options.has("yes")))) return 1
  const after = setKeys(before, ["plugins", name, "grant"], toToml(missing.fields, wanted))
  readConfig(after, file)
  replaceText(file, before, after)
  process.stdout.write(`wrote [plugins.${name}.grant] into ${shortName(file)}\n`)
  showUnmapped(name, wanted, entry)
  return reloadRunning(parsed)
}

function findEntry({ plugins }: Config, name: string | undefined, file: string): [string, PluginConfig] {
  const names = Object.keys(plugins)
  const all = names.length === 0 ? "it has none" : `it has: ${names.join(", ")}`
  if (name === undefined) throw usageError(COMMAND, "which plugin?", `${shortName(file)}: ${all}`)
  const entry = Object.hasOwn(plugins, name) ? plugins[name] : undefined
  if (entry !== undefined) return [name, entry]
  const meant = nearest(name, names)
  const hint = meant === undefined ? all : `did you mean ${meant}?`
  throw usageError(COMMAND, `${shortName(file)} has no plugin ${JSON.stringify(name)}`, hint)
}

function showGranted(name: string, permissions: Permissions): void {
  const lines = describePermissions(permissions)
  if (lines.length > 0) process.stdout.write(`${name} may already\n${toList(lines)}`)
}

/** Of each field what the grant does not have yet. */
function onlyNew(fields: Partial<Permissions>, grant: PluginConfig["grant"]): Partial<Permissions> {
  const added = Object.entries(fields).flatMap(([field, value]: [string, unknown]): [string, unknown][] => {
    const old: unknown = grant?.[field as keyof Permissions]
    if (!Array.isArray(value)) return old === value ? [] : [[field, value]]
    const items = Array.isArray(old) ? value.filter((item) => !old.includes(item)) : value
    return items.length === 0 ? [] : [[field, items]]
  })
  return Object.fromEntries(added)
}

/** The fields that change, whole. */
function toToml(fields: Partial<Permissions>, wanted: Partial<Permissions>) {
  return Object.fromEntries(Object.keys(wanted).map((field) => [field, fields[field as keyof Permissions]!]))
}

function showUnmapped(name: string, { secrets = [] }: Partial<Permissions>, entry: PluginConfig): void {
  const unmapped = secrets.filter((secret) => !Object.hasOwn(entry.secrets, secret))
  if (unmapped.length > 0) process.stdout.write(describeUnmapped(name, unmapped))
}

/** The grant is written either way; a server that is not running takes it when it starts. */
async function reloadRunning(parsed: Parsed): Promise<number> {
  try {
    const client = new AdminClient(findAdminTarget(COMMAND, parsed))
    process.stdout.write(describeReport(await client.post<ReloadReport>("/v1/reload", {})))
  } catch (error) {
    if (!(error instanceof BextError) || error.code !== "E_ADMIN_UNREACHABLE") throw error
    process.stdout.write("no server with this configuration runs now; it counts when one starts\n")
  }
  return 0
}

function toList(lines: readonly string[]): string {
  return lines.map((line) => `  - ${line}\n`).join("")
}
