import { stripVTControlCharacters } from "node:util"
import { escapeJson } from "../telemetry/escape-controls.ts"

/** JSON for people and programs, with line end; no text in it can move the cursor. */
export function formatJson(value: unknown): string {
  return `${escapeJson(JSON.stringify(value, null, 2))}\n`
}

/** Rows below each other in columns; cells may be coloured. @param right - Columns that are aligned to the right. */
export function formatTable(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => widthOf(row[at] ?? ""))))
  return rows.map((row) => {
    const cells = row.map((cell, at) => {
      const space = " ".repeat(widths[at]! - widthOf(cell))
      return right.has(at) ? space + cell : cell + space
    })
    return `  ${cells.join("  ")}`.trimEnd()
  })
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length
}

/** "312 MB", in steps of 1024. */
export function formatBytes(bytes: number): string {
  let value = bytes
  for (const unit of ["B", "kB", "MB"]) {
    if (value < 1024) return `${toThree(value)} ${unit}`
    value /= 1024
  }
  return `${toThree(value)} GB`
}

/** "0.12 ms", "3.4 s" */
export function formatMs(ms: number): string {
  return ms < 1000 ? `${toThree(ms)} ms` : `${toThree(ms / 1000)} s`
}

/** "3 h 12 min", with the two largest units. */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** "12,345" */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US")
}

/** Three digits that mean something. */
function toThree(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : String(Number(value.toFixed(2)))
}
