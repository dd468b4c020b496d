import type { Json } from "../sandbox/sandbox.ts"
import { quote } from "./quote.ts"
import { isObject, type SchemaObject, SchemaProblem, type StepCounter } from "./schema-guard.ts"

const MAX_DEPTH = 64

/**
 * A copy of `value` with the defaults of missing fields. Looks where a schema applies for certain: `properties`,
 * `items`, `allOf` and `$ref`, not the branches of anyOf, oneOf and if.
 */
export function applyDefaults(schema: SchemaObject, value: Json, steps: StepCounter): Json {
  const visit = (part: unknown, target: Json, depth: number): Json => {
    steps.count()
    if (depth > MAX_DEPTH) throw new SchemaProblem(`defaults nest more than ${MAX_DEPTH} levels deep`)
    if (!isObject(part)) return target
    let result = target
    if (typeof part.$ref === "string") result = visit(resolveReference(schema, part.$ref), result, depth + 1)
    if (Array.isArray(part.allOf)) for (const inner of part.allOf) result = visit(inner, result, depth + 1)
    if (Array.isArray(result)) return result.map((item) => visit(part.items, item, depth + 1))
    if (!isPlain(result) || !isObject(part.properties)) return result
    const fields = new Map(Object.entries(result))
    for (const [name, inner] of Object.entries(part.properties)) {
      const present = fields.has(name) ? fields.get(name) : defaultOf(schema, inner)
      if (present !== undefined) fields.set(name, visit(inner, present, depth + 1))
    }
    return Object.fromEntries(fields)
  }
  return visit(schema, copy(value), 0)
}

/** The subschema a local reference means. @throws {SchemaProblem} when there is none. */
export function resolveReference(root: SchemaObject, reference: string): unknown {
  if (reference === "#") return root
  const missing = new SchemaProblem(`$ref ${quote(reference)} leads nowhere`)
  if (!reference.startsWith("#/")) return findAnchor(root, reference.slice(1)) ?? fail(missing)
  let part: unknown = root
  for (const step of decodePointer(reference.slice(1))) {
    if (typeof part !== "object" || part === null || !Object.hasOwn(part, step)) throw missing
    part = (part as SchemaObject)[step]
  }
  return part
}

/** The steps of a JSON pointer in a URI fragment (RFC 6901 §6). */
export function decodePointer(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"))
}

function findAnchor(part: unknown, anchor: string): SchemaObject | undefined {
  if (typeof part !== "object" || part === null) return undefined
  if ((part as SchemaObject).$anchor === anchor) return part as SchemaObject
  for (const inner of Object.values(part)) {
    const found = findAnchor(inner, anchor)
    if (found !== undefined) return found
  }
  return undefined
}

function defaultOf(root: SchemaObject, schema: unknown): Json | undefined {
  if (!isObject(schema)) return undefined
  if (schema.default !== undefined) return copy(schema.default as Json)
  const target = typeof schema.$ref === "string" ? resolveReference(root, schema.$ref) : undefined
  return isObject(target) && target.default !== undefined ? copy(target.default as Json) : undefined
}

/** Plain objects and arrays, whatever the original was made of; a field called `__proto__` stays a field. */
function copy(value: Json): Json {
  if (Array.isArray(value)) return value.map(copy)
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copy(inner)]))
}

function isPlain(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function fail(error: Error): never {
  throw error
}
