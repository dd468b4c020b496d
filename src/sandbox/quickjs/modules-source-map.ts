import { posix } from "node:path"
import { encodedMappings, originalPositionFor, TraceMap } from "@jridgewell/trace-mapping"

/** Largest map text that is parsed, in UTF-16 units; most of it is usually sourcesContent, which is not kept. */
export const MAX_MAP_LENGTH = 4 * 1024 * 1024
/** Longest `mappings` that is kept: at worst 8 MB once decoded, enough for a bundle of about 300 KB. */
const MAX_MAPPINGS_LENGTH = 128 * 1024
const MAX_SOURCES = 1_000
const MAX_SOURCE_NAME = 200

export interface SourceMapData {
  readonly sources: readonly (string | null)[]
  readonly mappings: string
}

export interface Position {
  readonly source: string
  /** From 1. */
  readonly line: number
  /** From 1. */
  readonly column: number
}

/** The source map of one module: where each place of a bundled file came from. Decoded when first asked. */
export class SourceMap {
  readonly #sources: (string | null)[]
  #mappings: string
  #trace: TraceMap | null = null

  private constructor(sources: (string | null)[], mappings: string) {
    this.#sources = sources
    this.#mappings = mappings
  }

  /**
   * @param text - A version 3 map as JSON. The plugin's author wrote it, so it may be anything.
   * @param folder - Folder of the module inside the plugin, with "/"; sources are named relative to the plugin.
   * @returns null when it is no map, or too large.
   */
  static parse(text: string, folder: string): SourceMap | null {
    if (text.length > MAX_MAP_LENGTH) return null
    try {
      const map: unknown = JSON.parse(text)
      if (!isRecord(map) || map.version !== 3) return null
      const { sources, mappings, sourceRoot } = map
      if (typeof mappings !== "string" || mappings.length > MAX_MAPPINGS_LENGTH) return null
      if (!Array.isArray(sources) || sources.length > MAX_SOURCES) return null
      const root = typeof sourceRoot === "string" ? sourceRoot : ""
      return new SourceMap(
        sources.map((source) => (typeof source === "string" ? toName(folder, root, source) : null)),
        mappings,
      )
    } catch {
      return null
    }
  }

  static fromData({ sources, mappings }: SourceMapData): SourceMap {
    return new SourceMap([...sources], mappings)
  }

  /** The map as plain data. */
  toData(): SourceMapData {
    return { sources: this.#sources, mappings: this.#trace === null ? this.#mappings : encodedMappings(this.#trace) }
  }

  /** @param line - From 1. @param column - From 1. @returns null when the map says nothing about the place. */
  original(line: number, column: number): Position | null {
    try {
      this.#trace ??= new TraceMap({ version: 3, names: [], sources: this.#sources, mappings: this.#mappings })
      this.#mappings = ""
      const found = originalPositionFor(this.#trace, { line, column: column - 1 })
      if (!found.source) return null // a name the map did not give, or an index past its end
      return { source: found.source, line: found.line, column: found.column + 1 }
    } catch {
      return null
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null
}

/** Names are shown in stack traces only; no file is ever opened by them. */
function toName(folder: string, root: string, source: string): string {
  const name = /^[a-z][a-z0-9+.-]*:/i.test(source) ? source : posix.join(folder, root, source)
  return name.replace(/[\p{Cc}()\s]/gu, "_").slice(0, MAX_SOURCE_NAME)
}
