import { writeFileSync } from "node:fs"
import { arch, cpus, platform, release, totalmem } from "node:os"

/** One measured figure, with what it is compared to and what it should be. */
export interface Row {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** The peer of the same run, and how many times its figure this one is. */
  readonly comparedTo?: string
  readonly ratio?: number
  readonly target?: Target
}

/** The figure or the ratio must stay on this side. */
export interface Target {
  readonly of: "value" | "ratio"
  readonly atMost?: number
  readonly atLeast?: number
}

export interface Section {
  readonly title: string
  readonly rows: readonly Row[]
  readonly notes?: readonly string[]
}

export function isMet({ value, ratio, target }: Row): boolean {
  if (target === undefined) return true
  const measured = target.of === "value" ? value : (ratio ?? Number.NaN)
  return measured <= (target.atMost ?? Number.POSITIVE_INFINITY) && measured >= (target.atLeast ?? 0)
}

export function printSection({ title, rows, notes = [] }: Section): void {
  console.log(`\n## ${title}\n`)
  const table = rows.map((row) => [
    row.what,
    `${format(row.value)} ${row.unit}`,
    row.ratio === undefined ? "" : `${format(row.ratio)} x ${row.comparedTo}`,
    describeTarget(row),
  ])
  const head = ["what", "measured", "compared", "target"]
  const widths = head.map((text, column) => Math.max(text.length, ...table.map((cells) => cells[column]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  console.log(line(head))
  console.log(`|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`)
  for (const cells of table) console.log(line(cells))
  for (const note of notes) console.log(`\n${note}`)
}

export function writeResults(file: URL, sections: readonly Section[]): void {
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  }
  writeFileSync(file, `${JSON.stringify({ measuredAt: new Date().toISOString(), machine, sections }, null, 2)}\n`)
}

function describeTarget(row: Row): string {
  if (row.target === undefined) return ""
  const { of, atMost, atLeast } = row.target
  const bound = atMost === undefined ? `>= ${atLeast}` : `<= ${atMost}`
  return `${isMet(row) ? "met" : "MISSED"}: ${of === "ratio" ? `ratio ${bound}` : bound}`
}

function format(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en")
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
