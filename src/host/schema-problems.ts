import type { OutputUnit } from "@cfworker/json-schema"
import { nearest } from "../config/nearest.ts"
import { printable } from "../config/printable.ts"
import type { Json } from "../sandbox/sandbox.ts"
import type { ConfigProblem } from "./config-schema.ts"
import { decodePointer, resolveReference } from "./schema-defaults.ts"
import { type HarmlessSchema, isObject, type SchemaObject } from "./schema-guard.ts"

const MAX_PROBLEMS = 20
/** Say no more than the errors of the schemas inside them. */
const WRAPPERS = new Set([
  ...["$ref", "allOf", "properties", "patternProperties", "additionalProperties", "unevaluatedProperties"],
  ...["items", "prefixItems", "unevaluatedItems", "dependentSchemas", "then", "else", "if"],
])
/** Say more than the errors inside: why each of the alternatives failed confuses. */
const ALTERNATIVES = new Set(["anyOf", "oneOf", "not", "contains", "propertyNames"])

/** Turns the validator's output into one sentence for each field that is wrong. */
export function describeProblems(
  errors: readonly OutputUnit[],
  harmless: HarmlessSchema,
  value: Json,
): ConfigProblem[] {
  const alternatives = errors
    .filter(({ keyword }) => ALTERNATIVES.has(keyword))
    .map((unit) => `${unit.keywordLocation}/`)
  const seen = new Set<string>()
  const problems: ConfigProblem[] = []
  for (const unit of errors) {
    if (WRAPPERS.has(unit.keyword) || alternatives.some((prefix) => unit.keywordLocation.startsWith(prefix))) continue
    const problem = describe(unit, harmless, value)
    const key = `${problem.path} ${problem.message}`
    if (seen.has(key) || problems.length === MAX_PROBLEMS) continue
    seen.add(key)
    problems.push(problem)
  }
  return problems
}

function describe(unit: OutputUnit, harmless: HarmlessSchema, value: Json): ConfigProblem {
  const steps = decodePointer(unit.instanceLocation)
  const path = toPointer(steps)
  const schema = schemaAt(unit.keywordLocation, harmless)
  const found = valueAt(value, steps)
  switch (unit.keyword) {
    case "false":
      return { path, message: unknownField(steps.at(-1) ?? "", schema) }
    case "required": {
      const name = /"(.*)"/s.exec(unit.error)?.[1] ?? ""
      return { path: toPointer([...steps, name]), message: "is missing and required" }
    }
    case "type":
      return { path, message: `expected ${[schema?.type].flat().join(" or ")}, found ${typeName(found)}` }
    case "enum":
      return {
        path,
        message: `expected one of ${[schema?.enum as Json[]].flat().map(show).join(", ")}; found ${show(found)}`,
      }
    case "const":
      return { path, message: `expected ${show(schema?.const as Json)}, found ${show(found)}` }
    case "pattern":
      return { path, message: `expected text that matches ${show(schema?.pattern as Json)}, found ${show(found)}` }
    case "format":
      return { path, message: `expected a text in the format ${show(schema?.format as Json)}, found ${show(found)}` }
    case "anyOf":
    case "oneOf":
      return { path, message: `${show(found)} fits none of the allowed forms, or more than one` }
    default:
      return { path, message: printable(unit.error) }
  }
}

function unknownField(name: string, schema: SchemaObject | undefined): string {
  const allowed = isObject(schema?.properties) ? Object.keys(schema.properties) : []
  const typo = nearest(name, allowed)
  const list = allowed.length === 0 ? "" : `; allowed: ${allowed.map(printable).join(", ")}`
  return `unknown setting${typo === undefined ? "" : `; did you mean ${printable(typo)}?`}${list}`
}

/** The original of the schema a keyword belongs to; for a schema that is `false`, of the one around it. */
function schemaAt(keywordLocation: string, { schema, originals }: HarmlessSchema): SchemaObject | undefined {
  let part: unknown = schema
  let owner: SchemaObject | undefined
  for (const step of ["", ...decodePointer(keywordLocation)]) {
    if (step === "$ref" && isObject(part)) part = resolveReference(schema, String(part.$ref))
    else if (step !== "" && typeof part === "object" && part !== null) part = (part as SchemaObject)[step]
    if (isObject(part)) owner = originals.get(part) ?? owner
  }
  return owner
}

function valueAt(value: Json, steps: readonly string[]): Json {
  let part: Json = value
  for (const step of steps) {
    if (typeof part !== "object" || part === null || !Object.hasOwn(part, step)) return null
    part = (part as { readonly [key: string]: Json })[step]!
  }
  return part
}

function toPointer(steps: readonly string[]): string {
  return steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("")
}

function typeName(value: Json): string {
  if (value === null) return "null"
  return Array.isArray(value) ? "array" : typeof value
}

function show(value: Json): string {
  const text = JSON.stringify(value) ?? "nothing"
  return printable(text.length > 80 ? `${text.slice(0, 79)}…` : text)
}
