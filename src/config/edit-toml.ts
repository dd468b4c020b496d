import { createRequire } from "node:module"
import { isDeepStrictEqual } from "node:util"
import type { parseTOML } from "toml-eslint-parser"
import { BextError } from "../errors.ts"
import { formatPath } from "./config-error.ts"
import { isTomlDate, readToml } from "./read-toml.ts"
import { type TomlValue, toTomlKey, toTomlValue } from "./toml-value.ts"

export interface NewTable {
  /** The words of its header. */
  readonly path: readonly string[]
  readonly lines: readonly TableLine[]
}

export type TableLine = { readonly key: string; readonly value: TomlValue } | { readonly comment: string }

/**
 * A TOML document with further tables. Nothing else changes: every character of `text` is in the result, in order. Tables
 * of the second level (`[plugins.NAME]`) are put at the end, deeper ones behind the others of their parent.
 * @param tables - Related ones; they are put next to each other.
 * @throws {BextError} `E_CONFIG_EDIT` with what to do by hand when TOML allows no such header here (one is there already,
 *   or the parent is an inline table), `E_CONFIG_INVALID` when `text` is not TOML.
 */
export function addTables(text: string, tables: readonly NewTable[]): string {
  const document = new Document(text)
  const { before, after, offset } = document.placeFor(tables[0]!.path)
  const block = tables.map((table) => render(table, document.lineEnd)).join(document.lineEnd)
  const changes = tables.flatMap(({ path, lines }) => {
    const settings = lines.flatMap((line) => ("key" in line ? [{ path: [...path, line.key], value: line.value }] : []))
    return [{ path, value: document.tableAt(path) ?? {} }, ...settings]
  })
  return document.edit([{ start: offset, end: offset, text: before + block + after }], changes, block)
}

/**
 * A TOML document in which a table has these values: those of keys that are there are replaced where they stand, others are
 * added below them, comments stay. Lists that only grow keep what they have. The table is added when it is missing.
 * @throws as `addTables`.
 */
export function setKeys(text: string, path: readonly string[], values: Readonly<Record<string, TomlValue>>): string {
  const document = new Document(text)
  const entries = Object.entries(values)
  const home = document.homeOf(path)
  if (home === undefined) return addTables(text, [{ path, lines: entries.map(([key, value]) => ({ key, value })) }])
  const missing: [string, TomlValue][] = []
  const edits: Edit[] = []
  for (const [key, value] of entries) {
    const entry = document.entry([...path, key])
    if (entry === undefined) missing.push([key, value])
    else edits.push(...replacement(entry, plain(document.valueAt(entry.path)), value))
  }
  if (missing.length > 0) edits.push(home.add(missing))
  const changes = entries.map(([key, value]) => ({ path: [...path, key], value }))
  return document.edit(edits, changes, render({ path, lines: entries.map(([key, value]) => ({ key, value })) }, "\n"))
}

function render({ path, lines }: NewTable, lineEnd: string): string {
  const rows = lines.flatMap((line) =>
    "key" in line
      ? [`${toTomlKey(line.key)} = ${toTomlValue(line.value)}`]
      : line.comment.split("\n").map((row) => `# ${row}`.trimEnd()),
  )
  return [`[${path.map(toTomlKey).join(".")}]`, ...rows, ""].join(lineEnd)
}

function replacement({ node }: Entry, old: unknown, value: TomlValue): Edit[] {
  if (isDeepStrictEqual(old, value)) return []
  const content = node.value
  const last = content.type === "TOMLArray" ? content.elements.at(-1) : undefined
  if (last !== undefined && Array.isArray(old) && Array.isArray(value)) {
    if (isDeepStrictEqual(old, value.slice(0, old.length))) {
      const added = value.slice(old.length).map((item: TomlValue) => `, ${toTomlValue(item)}`)
      return [{ start: last.range[1], end: last.range[1], text: added.join("") }]
    }
  }
  return [{ start: content.range[0], end: content.range[1], text: toTomlValue(value) }]
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

type TopLevel = ReturnType<typeof parseTOML>["body"][0]["body"][number]
type Table = Exclude<TopLevel, { type: "TOMLKeyValue" }>
type KeyValue = Extract<TopLevel, { type: "TOMLKeyValue" }>
type InlineTable = Extract<KeyValue["value"], { type: "TOMLInlineTable" }>

/** One `key = value`, in a table or in braces. */
interface Entry {
  readonly path: readonly string[]
  readonly node: KeyValue
}

/** Where further keys of a table are written. */
interface Home {
  add(values: readonly (readonly [string, TomlValue])[]): Edit
}

class Document {
  readonly lineEnd: string
  readonly #bom: string
  readonly #text: string
  readonly #value: Record<string, unknown>
  readonly #tables: Table[] = []
  readonly #entries: Entry[] = []

  constructor(text: string) {
    this.#bom = text.startsWith("\uFEFF") ? "\uFEFF" : ""
    this.#text = text.slice(this.#bom.length)
    this.lineEnd = /\r?\n/.exec(this.#text)?.[0] ?? "\n"
    this.#value = readToml({ file: "the configuration", text: this.#text }, "E_CONFIG_INVALID")
    for (const node of parseNodes(this.#text)) {
      if (node.type === "TOMLKeyValue") this.#addEntry([], node)
      else {
        this.#tables.push(node)
        for (const entry of node.body) this.#addEntry(node.resolvedKey.map(String), entry)
      }
    }
  }

  #addEntry(parent: readonly string[], node: KeyValue): void {
    const path = [...parent, ...node.key.keys.map((part) => (part.type === "TOMLBare" ? part.name : part.value))]
    this.#entries.push({ path, node })
    if (node.value.type === "TOMLInlineTable") for (const inner of node.value.body) this.#addEntry(path, inner)
  }

  entry(path: readonly string[]): Entry | undefined {
    return this.#entries.find((entry) => isDeepStrictEqual(entry.path, path))
  }

  valueAt(path: readonly string[]): unknown {
    return path.reduce<unknown>((value, step) => (value as Record<string, unknown>)[step], this.#value)
  }

  tableAt(path: readonly string[]): TomlValue | undefined {
    const value = path.reduce<unknown>((inner, step) => (isTable(inner) ? inner[step] : undefined), this.#value)
    return isTable(value) ? (value as TomlValue) : undefined
  }

  /** Where a new header may stand, and what keeps it apart from its neighbours. */
  placeFor(path: readonly string[]): { offset: number; before: string; after: string } {
    const parent = path.slice(0, -1)
    const last = parent.length < 2 ? -1 : this.#tables.findLastIndex((table) => startsWith(table.resolvedKey, parent))
    const next = last === -1 ? undefined : this.#tables[last + 1]
    const offset = next === undefined ? this.#text.length : this.#commentsAbove(next.range[0])
    const above = this.#text.slice(0, offset)
    const ended = above === "" || above.endsWith("\n") ? "" : this.lineEnd
    const apart = above.trim() === "" || /\n[ \t]*\r?\n[ \t]*$/.test(above) ? "" : this.lineEnd
    return { offset, before: ended + apart, after: next === undefined ? "" : this.lineEnd }
  }

  /** Comments without an empty line between them and a header belong to it. @returns the start of the first one's line. */
  #commentsAbove(header: number): number {
    let start = this.#lineStart(header)
    while (start > 0) {
      const above = this.#lineStart(start - 1)
      if (!/^[ \t]*#/.test(this.#text.slice(above, start))) break
      start = above
    }
    return start
  }

  homeOf(path: readonly string[]): Home | undefined {
    const table = this.#tables.find(({ kind, resolvedKey }) => kind === "standard" && same(resolvedKey, path))
    if (table !== undefined) return { add: (values) => this.#addLines(table.body.at(-1) ?? table.key, [], values) }
    const value = this.entry(path)?.node.value
    if (value?.type === "TOMLInlineTable") return { add: (values) => addInline(value, values) }
    const dotted = this.#entries.findLast((entry) => entry.path.length > path.length && startsWith(entry.path, path))
    if (dotted === undefined || dotted.node.parent.type === "TOMLInlineTable") return undefined
    const written = dotted.node.key.keys.length - (dotted.path.length - path.length)
    if (written <= 0) return undefined
    return { add: (values) => this.#addLines(dotted.node, path.slice(-written), values) }
  }

  /** Lines below a node, as far to the right as it. */
  #addLines(
    node: { readonly range: readonly [number, number] },
    prefix: readonly string[],
    values: readonly (readonly [string, TomlValue])[],
  ): Edit {
    const indent = /^[ \t]*/.exec(this.#text.slice(this.#lineStart(node.range[0])))![0]
    const lines = values.map(
      ([key, value]) => `${indent}${[...prefix, key].map(toTomlKey).join(".")} = ${toTomlValue(value)}`,
    )
    const end = this.#text.indexOf("\n", node.range[1])
    const text = lines.map((line) => line + this.lineEnd).join("")
    if (end !== -1) return { start: end + 1, end: end + 1, text }
    return { start: this.#text.length, end: this.#text.length, text: this.lineEnd + text }
  }

  #lineStart(offset: number): number {
    return this.#text.lastIndexOf("\n", offset - 1) + 1
  }

  /**
   * Applies edits, and reads the result: whatever was overlooked above, it has to be the old value with the changes.
   * @param byHand - What the person may write instead.
   */
  edit(
    edits: readonly Edit[],
    changes: readonly { path: readonly string[]; value: TomlValue }[],
    byHand: string,
  ): string {
    let text = this.#text
    for (const { start, end, text: inserted } of edits.toSorted((a, b) => b.start - a.start)) {
      text = text.slice(0, start) + inserted + text.slice(end)
    }
    const expected = changes.reduce<unknown>(
      (value, change) => withValue(value, change.path, change.value),
      this.#value,
    )
    if (!isDeepStrictEqual(plain(parsed(text)), plain(expected))) throw this.#cannot(changes[0]!.path, byHand)
    return this.#bom + text
  }

  #cannot(path: readonly string[], byHand: string): BextError {
    const prefixes = path.map((_, index) => path.slice(0, index + 1))
    const entry = prefixes.map((prefix) => this.entry(prefix)).find((found) => found !== undefined)
    const table = prefixes.map((prefix) => this.#tables.find(({ resolvedKey }) => same(resolvedKey, prefix))).at(-1)
    const lines = byHand.trimEnd().replaceAll("\r", "")
    const what =
      entry !== undefined
        ? `${formatPath(entry.path)} is written as one value in line ${entry.node.loc.start.line}, which no table can add to; make it a table with a header of its own, or write there what these lines say:`
        : table !== undefined
          ? `[${formatPath(path)}] is there already, in line ${table.loc.start.line}; change it by hand to:`
          : "this file is written in a way that cannot be added to safely; write by hand:"
    return new BextError("E_CONFIG_EDIT", `${what}\n\n${lines}\n`)
  }
}

/** @throws {BextError} `E_CONFIG_EDIT`: this parser, which is not the one that reads configurations, cannot read it. */
function parseNodes(text: string): readonly TopLevel[] {
  // Loaded here: only commands that edit need it.
  const { parseTOML } = createRequire(import.meta.url)("toml-eslint-parser") as typeof import("toml-eslint-parser")
  try {
    return parseTOML(text).body[0].body
  } catch (error) {
    throw new BextError("E_CONFIG_EDIT", "this file cannot be edited by a program; change it by hand", { cause: error })
  }
}

function addInline(table: InlineTable, values: readonly (readonly [string, TomlValue])[]): Edit {
  const text = values.map(([key, value]) => `${toTomlKey(key)} = ${toTomlValue(value)}`).join(", ")
  const last = table.body.at(-1)
  if (last !== undefined) return { start: last.range[1], end: last.range[1], text: `, ${text}` }
  return { start: table.range[0] + 1, end: table.range[1] - 1, text: ` ${text} ` }
}

function parsed(text: string): unknown {
  try {
    return readToml({ file: "the configuration", text }, "E_CONFIG_INVALID")
  } catch {
    return undefined
  }
}

function withValue(target: unknown, [step, ...rest]: readonly string[], value: TomlValue): unknown {
  if (step === undefined) return value
  // A number, a list or nothing at all: no document with a table here can be equal to this.
  const fields = isTable(target) ? target : {}
  return { ...fields, [step]: withValue(fields[step], rest, value) }
}

/** The TOML parser's tables have no prototype, ours do. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (!isTable(value) || isTomlDate(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function startsWith(path: readonly (string | number)[], prefix: readonly string[]): boolean {
  return path.length >= prefix.length && same(path.slice(0, prefix.length), prefix)
}

function same(path: readonly (string | number)[], other: readonly string[]): boolean {
  return path.length === other.length && path.every((step, index) => step === other[index])
}
