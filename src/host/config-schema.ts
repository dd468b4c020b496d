import { dereference, type Schema, type ValidationResult, validate } from "@cfworker/json-schema"
import { printable } from "../config/printable.ts"
import { PluginError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"
import { applyDefaults } from "./schema-defaults.ts"
import { harmlessSchema, type SchemaObject, SchemaProblem, StepCounter } from "./schema-guard.ts"
import { describeProblems } from "./schema-problems.ts"

const MAX_SCHEMA_BYTES = 65_536
const MAX_CONFIG_LENGTH = 262_144

export interface ConfigProblem {
  /** JSON pointer (RFC 6901) of the field, "" for the whole section. */
  readonly path: string
  readonly message: string
}

export type ConfigCheck =
  | { readonly ok: true; readonly value: Json }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] }

export interface ConfigSchema {
  /** Adds the schema's defaults and checks the whole. @returns the value, deeply frozen, or everything wrong with it. */
  check(value: Json): ConfigCheck
}

/**
 * Reads the JSON Schema (2020-12) of a plugin's settings. A schema is a stranger's code as much as the plugin is: it is
 * interpreted, never compiled; its patterns run in linear time; its size, depth and work are capped.
 * @param file - For messages.
 * @throws {PluginError} `E_PLUGIN_MANIFEST_INVALID`, from `check` too when the schema turns out to be unusable.
 */
export function compileConfigSchema(plugin: string, file: string, text: string): ConfigSchema {
  const invalid = (what: string, cause?: unknown) =>
    new PluginError("E_PLUGIN_MANIFEST_INVALID", plugin, `${file}: ${printable(what)}`, { cause })
  if (Buffer.byteLength(text) > MAX_SCHEMA_BYTES) throw invalid(`larger than ${MAX_SCHEMA_BYTES} bytes`)
  let schema: unknown
  try {
    schema = JSON.parse(text)
    harmlessSchema(schema, [], new StepCounter())
  } catch (error) {
    throw invalid(`not a usable JSON Schema: ${(error as Error).message}`, error)
  }
  return {
    check(value) {
      try {
        return checkConfig(schema as SchemaObject, value)
      } catch (error) {
        const what = error instanceof SchemaProblem ? error.message : "it cannot be evaluated"
        throw invalid(`not a usable JSON Schema: ${what}`, error)
      }
    },
  }
}

function checkConfig(schema: SchemaObject, value: Json): ConfigCheck {
  const completed = applyDefaults(schema, value, new StepCounter())
  if (JSON.stringify(completed).length > MAX_CONFIG_LENGTH) {
    const message = `longer than ${MAX_CONFIG_LENGTH} characters together with the defaults`
    return { ok: false, problems: [{ path: "", message }] }
  }
  const harmless = harmlessSchema(schema, textsOf(completed), new StepCounter())
  const result = evaluate(harmless.schema, completed)
  if (result.valid) return { ok: true, value: freeze(completed) }
  return { ok: false, problems: describeProblems(result.errors, harmless, completed) }
}

function evaluate(schema: SchemaObject, value: Json): ValidationResult {
  const lookup = dereference(schema as Schema)
  return validate(value, schema as Schema, "2020-12", lookup, false)
}

/** Every text in a value, names of fields included: all that a pattern can be asked about. */
function textsOf(value: Json): string[] {
  if (typeof value === "string") return [value]
  if (typeof value !== "object" || value === null) return []
  if (Array.isArray(value)) return value.flatMap(textsOf)
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsOf(inner)])
}

function freeze(value: Json): Json {
  if (typeof value !== "object" || value === null) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
