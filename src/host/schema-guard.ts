import { RE2JS } from "re2js"
import { quote } from "./quote.ts"

export type SchemaObject = Readonly<Record<string, unknown>>

/** Something about a schema that its author must change. */
export class SchemaProblem extends Error {
  override readonly name = "SchemaProblem"
}

const MAX_STEPS = 20_000
const MAX_DEPTH = 32
const MAX_PATTERNS = 200
const MAX_PATTERN_LENGTH = 512
/** Size of all patterns together once compiled: counted repetitions are copies, and compiling them takes time. */
const MAX_PROGRAM = 50_000
/** Program size × length of text: what matching costs at most. */
const MAX_PATTERN_WORK = 50_000_000

/** Bounds work that a schema can multiply, for example by referring to one part from many places. */
export class StepCounter {
  #left = MAX_STEPS

  /** @throws {SchemaProblem} */
  count(): void {
    this.#left--
    if (this.#left < 0) throw new SchemaProblem(`evaluating it takes more than ${MAX_STEPS} steps`)
  }
}

export interface HarmlessSchema {
  readonly schema: SchemaObject
  /** The part of the original that a part of `schema` stands for. */
  readonly originals: ReadonlyMap<object, SchemaObject>
}

/** Keywords without a schema inside, passed on as they are. */
const PLAIN = new Set([
  ...["const", "enum", "required", "dependentRequired", "$ref", "$anchor"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"],
  ...["minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties"],
])
const ONE_SCHEMA = new Set([
  ...["items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"],
  ...["not", "if", "then", "else"],
])
const LISTS = new Set(["allOf", "anyOf", "oneOf", "prefixItems"])
const MAPS = new Set(["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"])
/** They lead out of the document, or change what a reference means while it is evaluated. */
const REFUSED = new Set(["$id", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"])
/** Formats the validator checks with simple expressions; other formats are annotations (JSON Schema Validation §7.2.1). */
const FORMATS = new Set(["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])

/**
 * Rebuilds a schema from what is known to be harmless. `pattern` and `patternProperties` are decided here, in linear
 * time, for the `texts` that will be checked: each becomes an expression that lists the ones that match.
 * @throws {SchemaProblem}
 */
export function harmlessSchema(schema: unknown, texts: readonly string[], steps: StepCounter): HarmlessSchema {
  const builder = new Builder(texts, steps)
  const root = isObject(schema) ? rootOf(schema) : schema
  const built = builder.build(root, 0)
  if (typeof built === "boolean") throw new SchemaProblem("expected an object at the top")
  return { schema: built, originals: builder.originals }
}

/** A name for the whole document is common and harmless when nothing refers to it. */
function rootOf(schema: SchemaObject): SchemaObject {
  const { $id: _, $schema: dialect, ...rest } = schema
  if (dialect !== undefined && !/^https:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/.test(String(dialect))) {
    throw new SchemaProblem('expected "$schema": "https://json-schema.org/draft/2020-12/schema"')
  }
  return rest
}

class Builder {
  readonly originals = new Map<object, SchemaObject>()
  readonly #texts: readonly string[]
  readonly #steps: StepCounter
  readonly #textLength: number
  #patterns = 0
  #program = 0
  #work = 0

  constructor(texts: readonly string[], steps: StepCounter) {
    this.#texts = [...new Set(texts)]
    this.#steps = steps
    this.#textLength = this.#texts.reduce((sum, text) => sum + text.length + 1, 0)
  }

  build(schema: unknown, depth: number): SchemaObject | boolean {
    if (typeof schema === "boolean") return schema
    if (!isObject(schema)) throw new SchemaProblem("a schema is an object or a boolean")
    if (depth > MAX_DEPTH) throw new SchemaProblem(`nested more than ${MAX_DEPTH} levels deep`)
    const entries = Object.entries(schema).flatMap(([keyword, value]): [string, unknown][] => {
      if (REFUSED.has(keyword)) throw new SchemaProblem(`${keyword} is not supported; use $ref with "#/$defs/…"`)
      if (keyword === "$ref") checkReference(value)
      if (PLAIN.has(keyword)) return [[keyword, value]]
      if (keyword === "pattern") return [[keyword, this.#matching(String(value))]]
      if (keyword === "format") return FORMATS.has(String(value)) ? [[keyword, value]] : []
      if (ONE_SCHEMA.has(keyword)) return [[keyword, this.build(value, depth + 1)]]
      if (LISTS.has(keyword)) return [[keyword, toList(keyword, value).map((item) => this.build(item, depth + 1))]]
      if (MAPS.has(keyword)) return [[keyword, this.#buildMap(keyword, value, depth)]]
      return []
    })
    const built = this.#counted(Object.fromEntries(entries), schema.type)
    this.originals.set(built, schema)
    return built
  }

  #buildMap(keyword: string, value: unknown, depth: number): SchemaObject {
    if (!isObject(value)) throw new SchemaProblem(`${keyword} is an object`)
    const entries = Object.entries(value).map(([name, inner], at): [string, unknown] => {
      // Two patterns that match the same names must stay two keys: an empty group repeated `at` times changes nothing else.
      const key = keyword === "patternProperties" ? `${this.#matching(name)}(?:){${at}}` : name
      return [key, this.build(inner, depth + 1)]
    })
    return Object.fromEntries(entries)
  }

  /** The validator reads `type` exactly once whenever it applies a schema to a value: the place to count. */
  #counted(built: Record<string, unknown>, type: unknown): SchemaObject {
    const steps = this.#steps
    return Object.defineProperty(built, "type", {
      enumerable: true,
      get() {
        steps.count()
        return type
      },
    })
  }

  /** An expression for exactly those of the known texts that `pattern` matches. */
  #matching(pattern: string): string {
    const shown = quote(pattern)
    this.#patterns++
    if (this.#patterns > MAX_PATTERNS) throw new SchemaProblem(`more than ${MAX_PATTERNS} patterns`)
    if (pattern.length > MAX_PATTERN_LENGTH)
      throw new SchemaProblem(`pattern ${shown} is longer than ${MAX_PATTERN_LENGTH}`)
    const matcher = compile(pattern, shown)
    this.#program += matcher.programSize()
    this.#work += matcher.programSize() * this.#textLength
    if (this.#program > MAX_PROGRAM || this.#work > MAX_PATTERN_WORK)
      throw new SchemaProblem(`pattern ${shown} is too costly`)
    const matching = this.#texts.filter((text) => matcher.matcher(text).find())
    return matching.length === 0 ? "[]" : `^(?:${matching.map(RegExp.escape).join("|")})$`
  }
}

function compile(pattern: string, shown: string): RE2JS {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern))
  } catch (error) {
    const hint = "look-around and back-references cannot be matched in linear time"
    throw new SchemaProblem(`pattern ${shown} cannot be used (${hint}): ${(error as Error).message}`)
  }
}

function checkReference(value: unknown): void {
  if (typeof value === "string" && value.startsWith("#")) return
  throw new SchemaProblem(`$ref ${quote(value)} leads out of the file; use "#/$defs/…"`)
}

function toList(keyword: string, value: unknown): unknown[] {
  if (Array.isArray(value)) return value
  throw new SchemaProblem(`${keyword} is a list`)
}

export function isObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
