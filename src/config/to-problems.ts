import { z } from "zod"
import { formatPath, type Problem } from "./config-error.ts"
import { nearest } from "./nearest.ts"
import { isTomlDate } from "./read-toml.ts"
import { alternatives, keysOf, kindOf, schemaAt, written } from "./schema-walk.ts"
import type { Path } from "./toml-positions.ts"
import { unknownKey } from "./unknown-key.ts"

/** Turns what the schema found into problems an operator can act on: what was found, what is allowed, the likely typo. */
export function toProblems(schema: z.ZodType, input: unknown, issues: readonly z.core.$ZodIssue[]): Problem[] {
  return issues.flatMap((issue) => toProblem(schema, input, issue, issue.path as Path))
}

function toProblem(schema: z.ZodType, input: unknown, issue: z.core.$ZodIssue, path: Path): Problem[] {
  const found = valueAt(input, path)
  const hidden = kindOf(schemaAt(schema, path)) === "secret"
  const saw = hidden ? "" : `, found ${describe(found)}`
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(schema, path, key))
    case "invalid_key": {
      const inner = issue.issues[0]
      const fix: unknown = inner?.code === "custom" ? inner.params?.fix : undefined
      const what = inner?.message ?? "not a valid name"
      return [{ path, what, fixes: typeof fix === "string" ? [fix] : [], at: "key", hidden }]
    }
    case "invalid_union":
      return fromUnion(schema, input, issue, path, saw)
    case "invalid_value": {
      const what = `expected ${oneOf(issue.values.map((value) => JSON.stringify(value)))}${saw}`
      const meant = typeof found === "string" ? nearest(found, issue.values.map(String)) : undefined
      return [{ path, what, fixes: meant === undefined ? [] : [`did you mean "${meant}"?`] }]
    }
    case "invalid_type":
      if (found === undefined) return [missing(path, issue.expected, schemaAt(schema, path))]
      return [
        {
          path,
          what: `expected ${typeName(issue.expected, schemaAt(schema, path))}${saw}`,
          fixes: typeFixes(schema, path, found),
          hidden,
        },
      ]
    case "too_small":
      return [{ path, what: `expected ${bound(issue.origin, "at least", Number(issue.minimum))}${saw}`, hidden }]
    case "too_big":
      return [{ path, what: `expected ${bound(issue.origin, "at most", Number(issue.maximum))}${saw}`, hidden }]
    default: {
      const params = issue.code === "custom" ? issue.params : undefined
      const fix: unknown = params?.fix
      const hide = hidden || params?.hidden === true
      const what = hide || found === undefined || isTable(found) ? issue.message : issue.message + saw
      return [{ path, what, fixes: typeof fix === "string" ? [fix] : [], hidden: hide }]
    }
  }
}

/** A union's branch that fits the value's type speaks for it; when none does, all types are named. */
function fromUnion(
  schema: z.ZodType,
  input: unknown,
  issue: z.core.$ZodIssueInvalidUnion,
  path: Path,
  saw: string,
): Problem[] {
  const fitting = issue.errors.find((errors) =>
    errors.every((error) => error.path.length > 0 || error.code !== "invalid_type"),
  )
  if (fitting !== undefined) {
    return fitting.flatMap((inner) => toProblem(schema, input, inner, [...path, ...(inner.path as Path)]))
  }
  if (isTomlDate(valueAt(input, path))) {
    return [{ path, what: "dates are not supported here", fixes: ["write the date as text in quotes"] }]
  }
  const expected = issue.errors.flatMap((errors) =>
    errors.map((error) => (error.code === "invalid_type" ? typeName(error.expected) : error.message)),
  )
  return [{ path, what: `expected ${oneOf([...new Set(expected)])}${saw}` }]
}

function missing(path: Path, expected: string, schema: unknown): Problem {
  const key = path.at(-1)
  const inner = written(schema)
  const own = inner instanceof z.ZodType ? exampleOf(inner) : undefined
  const example = own === undefined ? (EXAMPLE[expected] ?? "…") : JSON.stringify(own)
  return { path, what: `missing; expected ${typeName(expected, schema)}`, fixes: [`add: ${key} = ${example}`] }
}

const EXAMPLE: Record<string, string> = { string: '"…"', array: "[…]", boolean: "true", object: "{ … }" }

const BOOLEANS = new Map([
  ["true", true],
  ["yes", true],
  ["on", true],
  ["false", false],
  ["no", false],
  ["off", false],
])

/** A value of the right kind in the wrong quotes or brackets is shown as it should be written. */
function typeFixes(schema: z.ZodType, path: Path, found: unknown): string[] {
  const key = path.at(-1)
  if (typeof key !== "string") return []
  for (const option of alternatives(schemaAt(schema, path))) {
    if (option instanceof z.ZodNumber && typeof found === "string" && /^-?\d+$/.test(found)) {
      return [`write it without quotes: ${key} = ${found}`]
    }
    if (option instanceof z.ZodBoolean && typeof found === "string" && BOOLEANS.has(found.toLowerCase())) {
      return [`write it without quotes: ${key} = ${BOOLEANS.get(found.toLowerCase())}`]
    }
    if (option instanceof z.ZodArray && typeof found === "string") {
      const firstKey = keysOf(option.element)?.[0]
      const entry = firstKey === undefined ? JSON.stringify(found) : `{ ${firstKey} = ${JSON.stringify(found)} }`
      return [`write a list: ${key} = [${entry}]`]
    }
    if (option instanceof z.ZodArray && isTable(found)) return [`write a list of tables: [[${formatPath(path)}]]`]
    if (option instanceof z.ZodString && typeof found === "number") {
      const example = exampleOf(option)
      return [
        typeof example === "string" ? `write text in quotes, such as ${key} = "${example}"` : "write text in quotes",
      ]
    }
  }
  return []
}

function exampleOf(schema: z.ZodType): unknown {
  const examples = schema.meta()?.examples
  return Array.isArray(examples) ? examples[0] : undefined
}

const TYPE_NAMES: Record<string, string> = {
  string: "text in quotes",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a table",
  record: "a table",
}

function typeName(expected: string, schema?: unknown): string {
  const whole = alternatives(schema).some((option) => option instanceof z.ZodNumber && option.isInt)
  return expected === "number" && whole ? "a whole number" : (TYPE_NAMES[expected] ?? expected)
}

function bound(origin: string, how: string, limit: number): string {
  const unit = origin === "string" ? " characters" : origin === "array" ? (limit === 1 ? " entry" : " entries") : ""
  return `${how} ${limit}${unit}`
}

function oneOf(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing"
  if (isTomlDate(value)) return "a date"
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list"
  if (isTable(value)) return "a table"
  if (typeof value === "number") return String(value)
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 79)}…` : text
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isTomlDate(value)
}

function valueAt(input: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, step)
        ? (value as Record<string | number, unknown>)[step]
        : undefined,
    input,
  )
}
