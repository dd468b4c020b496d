import { createRequire } from "node:module"
import type { parseTOML } from "toml-eslint-parser"

export type Path = readonly (string | number)[]

/** A place in a text. Lines and columns count from 1, in UTF-16 units; `endColumn` is exclusive and on the same line. */
export interface Position {
  readonly line: number
  readonly column: number
  readonly endColumn: number
}

type Program = ReturnType<typeof parseTOML>
type TopLevel = Program["body"][0]
type Table = Exclude<TopLevel["body"][number], { type: "TOMLKeyValue" }>
type KeyValue = Extract<TopLevel["body"][number], { type: "TOMLKeyValue" }>
type Content = KeyValue["value"]
type Location = KeyValue["loc"]

interface Node {
  key: Position | undefined
  value: Position | undefined
  readonly children: Map<string, Node>
}

/** Where every key and value of a TOML document stands. Built only when there is an error to report. */
export class TomlPositions {
  readonly #root: Node = { key: undefined, value: undefined, children: new Map() }

  /** @throws {Error} when this parser, which is not the one that read the document, cannot read it. */
  constructor(text: string) {
    // Loaded here: a document without mistakes needs no positions.
    const { parseTOML } = createRequire(import.meta.url)("toml-eslint-parser") as typeof import("toml-eslint-parser")
    for (const entry of parseTOML(text).body[0].body) {
      if (entry.type === "TOMLKeyValue") this.#addKeyValue(this.#root, entry)
      else this.#addTable(entry)
    }
  }

  /**
   * @param side - The key or the value of an existing field. A missing field has the place of the nearest thing around
   *   it: its table's header or key.
   */
  find(path: Path, side: "key" | "value"): Position | undefined {
    let node = this.#root
    for (const step of path) {
      const child = node.children.get(String(step))
      if (child === undefined) return node.key ?? node.value
      node = child
    }
    return side === "value" ? (node.value ?? node.key) : (node.key ?? node.value)
  }

  #addTable(table: Table): void {
    let node = this.#root
    let place: Position | undefined
    const parts = table.key.keys.values()
    for (const step of table.resolvedKey) {
      node = child(node, String(step))
      // An index of an array of tables has no text of its own: its place is that of the name before it.
      if (typeof step === "string") place = toPosition(parts.next().value!.loc)
      node.key ??= place
    }
    node.key = place
    for (const entry of table.body) this.#addKeyValue(node, entry)
  }

  #addKeyValue(parent: Node, entry: KeyValue): void {
    let node = parent
    for (const part of entry.key.keys) {
      node = child(node, part.type === "TOMLBare" ? part.name : part.value)
      node.key ??= toPosition(part.loc)
    }
    this.#addContent(node, entry.value)
  }

  #addContent(node: Node, content: Content): void {
    node.value = toPosition(content.loc)
    if (content.type === "TOMLArray") {
      content.elements.forEach((element, index) => {
        this.#addContent(child(node, String(index)), element)
      })
    } else if (content.type === "TOMLInlineTable") {
      for (const entry of content.body) this.#addKeyValue(node, entry)
    }
  }
}

function child(node: Node, name: string): Node {
  let found = node.children.get(name)
  if (found === undefined) {
    found = { key: undefined, value: undefined, children: new Map() }
    node.children.set(name, found)
  }
  return found
}

/** Something that goes over several lines is underlined to the end of its first (Infinity, cut when shown). */
function toPosition({ start, end }: Location): Position {
  return {
    line: start.line,
    column: start.column + 1,
    endColumn: end.line === start.line ? end.column + 1 : Number.POSITIVE_INFINITY,
  }
}
