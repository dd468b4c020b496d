import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { NewTable, TableLine } from "../config/edit-toml.ts"
import type { Permissions } from "../config/manifest-schema.ts"
import { type TomlValue, toTomlKey } from "../config/toml-value.ts"
import { applyDefaults } from "../host/schema-defaults.ts"
import { isObject, type SchemaObject, StepCounter } from "../host/schema-guard.ts"
import type { CatalogueEntry } from "./catalogue.ts"

export interface PluginTables {
  readonly tables: readonly NewTable[]
  /** Settings the plugin cannot be without, and whose value nobody but the operator knows. */
  readonly toFillIn: readonly string[]
}

/**
 * What the configuration says of a plugin that was just installed: its sandbox, its settings as they are by default with
 * what they mean, those without a default as comments, what it was granted.
 * @param granted - Empty: no grant is written.
 * @param more - Lines of the plugin's own table.
 */
export function pluginTables(
  plugin: CatalogueEntry,
  granted: Readonly<Partial<Permissions>>,
  more: readonly TableLine[] = [],
): PluginTables {
  const { name, manifest } = plugin
  const settings = describeSettings(plugin)
  const path = ["plugins", name]
  const grant = Object.entries(granted).map(([key, value]) => ({ key, value: value as TomlValue }))
  return {
    tables: [
      { path, lines: [{ key: "sandbox", value: manifest.sandbox.type }, ...more] },
      ...(settings.lines.length === 0 ? [] : [{ path: [...path, "config"], lines: settings.lines }]),
      ...(grant.length === 0 ? [] : [{ path: [...path, "grant"], lines: grant }]),
    ],
    toFillIn: settings.toFillIn,
  }
}

function describeSettings({ folder, manifest }: CatalogueEntry): { lines: TableLine[]; toFillIn: string[] } {
  const file = manifest.manifest.config_schema
  if (file === undefined) return { lines: [], toFillIn: [] }
  const schema = JSON.parse(readFileSync(join(folder, file), "utf8")) as SchemaObject
  const defaults = applyDefaults(schema, {}, new StepCounter()) as Readonly<Record<string, unknown>>
  const required = Array.isArray(schema.required) ? schema.required.map(String) : []
  const toFillIn = required.filter((key) => !Object.hasOwn(defaults, key))
  const properties = isObject(schema.properties) ? Object.keys(schema.properties) : []
  const lines = [...new Set([...properties, ...Object.keys(defaults), ...toFillIn])].flatMap((key): TableLine[] => {
    const { description, type } = propertyOf(schema, key)
    const comment = typeof description === "string" ? [{ comment: wrap(description) }] : []
    const value = withoutNull(defaults[key])
    if (value !== undefined) return [...comment, { key, value }]
    const must = toFillIn.includes(key) ? "Fill this in: the plugin does not load without it.\n" : ""
    return [...comment, { comment: `${must}${toTomlKey(key)} = ${exampleOf(type)}` }]
  })
  return { lines, toFillIn }
}

function propertyOf({ properties }: SchemaObject, key: string): SchemaObject {
  const property = isObject(properties) ? properties[key] : undefined
  return isObject(property) ? property : {}
}

/** TOML has no null: a default of it is what is not written. */
function withoutNull(value: unknown): TomlValue | undefined {
  if (value === null || value === undefined) return undefined
  if (Array.isArray(value)) return value.map(withoutNull).filter((item) => item !== undefined)
  if (typeof value !== "object") return value as TomlValue
  const fields = Object.entries(value).map(([key, inner]) => [key, withoutNull(inner)] as const)
  return Object.fromEntries(fields.filter((field): field is [string, TomlValue] => field[1] !== undefined))
}

const EXAMPLES: Readonly<Record<string, string>> = {
  integer: "0",
  number: "0.0",
  boolean: "false",
  array: "[]",
  object: "{}",
}

function exampleOf(type: unknown): string {
  return EXAMPLES[String(type)] ?? '""'
}

const WIDTH = 100

function wrap(text: string): string {
  const lines = [""]
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)!
    if (line !== "" && line.length + word.length >= WIDTH) lines.push(word)
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`
  }
  return lines.join("\n")
}
