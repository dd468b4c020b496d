import { z } from "zod"
import { alternatives, written } from "../src/config/schema-walk.ts"

interface Row {
  readonly field: string
  readonly type: string
  readonly fallback: string
  readonly description: string
}

/** A table of every field of a schema, one for each section: name, type, default, what it is for. */
export function fieldTable(schema: z.ZodType): string {
  const sections = new Map<string, Row[]>()
  collect(schema, [], sections)
  return [...sections].map(([section, rows]) => toMarkdown(section, rows)).join("\n")
}

function collect(schema: unknown, path: readonly string[], sections: Map<string, Row[]>): void {
  for (const table of alternatives(schema)) {
    if (!(table instanceof z.ZodObject)) continue
    const name = sectionName(path)
    const rows = sections.get(name) ?? []
    const inner: (() => void)[] = []
    for (const [key, field] of Object.entries(table.shape)) {
      const next = nestedTable(field)
      if (next !== undefined) inner.push(() => collect(next.schema, [...path, key, ...next.steps], sections))
      if (next === undefined || alternatives(field).length > 1) rows.push(toRow(key, field))
    }
    if (rows.length > 0) sections.set(name, rows)
    for (const visit of inner) visit()
  }
}

/** The table with fixed keys inside a field: the field itself, the values of a record, the rows of a list. */
function nestedTable(field: unknown): { schema: unknown; steps: string[] } | undefined {
  for (const option of alternatives(field)) {
    if (option instanceof z.ZodObject) return { schema: option, steps: [] }
    const [element, steps] =
      option instanceof z.ZodRecord
        ? [option.valueType, ["NAME"]]
        : option instanceof z.ZodArray
          ? [option.element, ["[]"]]
          : []
    if (element !== undefined && written(element) instanceof z.ZodObject) return { schema: element, steps: steps ?? [] }
  }
  return undefined
}

function sectionName(path: readonly string[]): string {
  if (path.at(-1) === "[]") return `[[${path.slice(0, -1).join(".")}]]`
  return path.length === 0 ? "" : `[${path.join(".")}]`
}

function toRow(key: string, field: z.core.$ZodType): Row {
  return { field: key, type: typeOf(field), fallback: fallbackOf(field), description: descriptionOf(field) }
}

function typeOf(field: unknown): string {
  return alternatives(field)
    .map((option) => {
      if (option instanceof z.ZodEnum) return option.options.map((value) => code(value)).join(", ")
      if (option instanceof z.ZodLiteral) return [...option.values].map(code).join(", ")
      if (option instanceof z.ZodNumber) return numberType(option)
      if (option instanceof z.ZodBoolean) return "true or false"
      if (option instanceof z.ZodArray) return `list of ${typeOf(option.element)}`
      if (option instanceof z.ZodRecord) return "table"
      if (option instanceof z.ZodObject) return "table"
      return textType(option)
    })
    .join(" or ")
}

function numberType({ minValue, maxValue, isInt }: z.ZodNumber): string {
  const bounded = maxValue !== null && maxValue < Number.MAX_SAFE_INTEGER
  const range = bounded ? ` ${minValue} to ${maxValue}` : minValue !== null && minValue >= 0 ? ` from ${minValue}` : ""
  return (isInt ? "whole number" : "number") + range
}

function textType(option: unknown): string {
  const examples = option instanceof z.ZodType ? option.meta()?.examples : undefined
  return Array.isArray(examples) ? `text such as ${code(examples[0])}` : "text"
}

function fallbackOf(field: unknown): string {
  if (field instanceof z.ZodDefault || field instanceof z.ZodPrefault) return code(field.def.defaultValue)
  return field instanceof z.ZodOptional ? "" : "required"
}

function descriptionOf(field: z.core.$ZodType): string {
  return field instanceof z.ZodType ? (field.description ?? "") : ""
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``
}

function toMarkdown(section: string, rows: readonly Row[]): string {
  const cells = rows.map(({ field, type, fallback, description }) =>
    [`\`${field}\``, type, fallback, description].map((cell) => cell.replaceAll("|", "\\|")).join(" | "),
  )
  return [
    section === "" ? "### Outside every table" : `### \`${section}\``,
    "",
    "| field | value | default | |",
    "|---|---|---|---|",
    ...cells.map((row) => `| ${row} |`),
    "",
  ].join("\n")
}
