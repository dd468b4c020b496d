import { isAbsolute, relative } from "node:path"
import { BextError, type ErrorCode } from "../errors.ts"
import { printable } from "./printable.ts"
import { type Path, type Position, TomlPositions } from "./toml-positions.ts"

/** One thing that is wrong with one field. */
export interface Problem {
  readonly path: Path
  /** What is wrong, e.g. `unknown key` or `expected a whole number, found "12"`. */
  readonly what: string
  /** What to do about it: the likely typo, the allowed values. One line each. */
  readonly fixes?: readonly string[] | undefined
  /** Which half of the field to point at; default the value. */
  readonly at?: "key" | "value" | undefined
  /** The value may be a secret: it is never shown. */
  readonly hidden?: boolean | undefined
}

/** A problem with its place in the file. `position` is undefined for configuration that did not come from a file. */
export interface LocatedProblem extends Problem {
  readonly position: Position | undefined
  /** The line the problem is on; undefined when there is none or it may show a secret. */
  readonly line: string | undefined
}

/** Where a configuration came from. `text` undefined: made by a program. */
export interface Source {
  readonly file: string
  readonly text: string | undefined
}

/** Every problem of one file at once. `message` is the whole report; `problems` the same in parts. */
export class ConfigError extends BextError {
  override readonly name = "ConfigError"
  readonly file: string
  readonly problems: readonly LocatedProblem[]

  constructor(code: ErrorCode, file: string, problems: readonly LocatedProblem[]) {
    super(code, report(file, problems))
    this.file = file
    this.problems = problems
  }
}

/** A line that gives something called a secret a value other than a reference; it is never shown. */
const LITERAL_SECRET = /(secret|token|passw|credential|api_?key|private_?key)[^=]*=\s*["'](?!env:)/i

/** Finds the place of each problem in the file it came from, and puts them in the order of the file. */
export function locate(source: Source, problems: readonly Problem[]): LocatedProblem[] {
  const { text } = source
  const positions = text === undefined ? undefined : positionsIn(text)
  if (text === undefined || positions === undefined) {
    return problems.map((problem) => ({ ...problem, position: undefined, line: undefined }))
  }
  const located = problems.map((problem) => {
    const position = positions.find(problem.path, problem.at ?? "value") ?? { line: 1, column: 1, endColumn: 1 }
    const line = lineOf(text, position.line)
    return { ...problem, position, line: line !== undefined && LITERAL_SECRET.test(line) ? undefined : line }
  })
  // A line with a literal secret on it is shown for no problem at all, whichever field the problem is about.
  const hiddenLines = new Set(located.filter((problem) => problem.hidden).map((problem) => problem.position.line))
  return located
    .map((problem) => (hiddenLines.has(problem.position.line) ? { ...problem, line: undefined } : problem))
    .sort((a, b) => a.position.line - b.position.line || a.position.column - b.position.column)
}

/** A report without places is better than none. */
function positionsIn(text: string): TomlPositions | undefined {
  try {
    return new TomlPositions(text)
  } catch {
    return undefined
  }
}

/** @param line - Counts from 1. */
export function lineOf(text: string, line: number): string | undefined {
  return text.split("\n", line)[line - 1]?.replace(/\r$/, "")
}

function report(file: string, problems: readonly LocatedProblem[]): string {
  const lines = [countProblems(file, problems), ...problems.map((problem) => formatProblem(file, problem))]
  return [...lines, "every field is described in docs/configuration.md"].join("\n")
}

/** "2 problems in bext.config.toml" */
export function countProblems(file: string, problems: readonly LocatedProblem[]): string {
  return `${problems.length === 1 ? "1 problem" : `${problems.length} problems`} in ${shortName(file)}`
}

/** The path as it is short to read: from the working directory when it is in there. */
export function shortName(file: string): string {
  const fromHere = isAbsolute(file) ? relative(process.cwd(), file) : file
  return printable(fromHere === "" || fromHere.startsWith("..") ? file : fromHere)
}

/** The report for one problem, without colours: where and what, the line, what to do. */
export function formatProblem(file: string, problem: LocatedProblem): string {
  const { position } = problem
  const place = position === undefined ? "" : `${shortName(file)}:${position.line}:${position.column}  `
  const field = formatPath(problem.path)
  const lines = [`${place}${field === "" ? "" : `${field}: `}${printable(problem.what)}`]
  if (position !== undefined && problem.line !== undefined) lines.push(...codeFrame(problem.line, position))
  for (const fix of problem.fixes ?? []) lines.push(`    ${printable(fix)}`)
  return lines.join("\n")
}

/** `plugins.geo.match[0].path`, with quotes only where TOML needs them. */
export function formatPath(path: Path): string {
  let text = ""
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`
    else text += (text === "" ? "" : ".") + (/^[A-Za-z0-9_-]+$/.test(step) ? step : JSON.stringify(step))
  }
  return printable(text)
}

const FRAME_WIDTH = 100

/** The line with its number and a marker below; a long one is cut around the marker. */
export function codeFrame(text: string, position: Position): string[] {
  const start = position.column - 1
  const from = start < FRAME_WIDTH - 20 ? 0 : start - 20
  const end = Math.min(position.endColumn - 1, text.length, from + FRAME_WIDTH)
  const before = (from > 0 ? "… " : "") + printable(text.slice(from, start))
  const marked = printable(text.slice(start, end))
  const after = printable(text.slice(end, from + FRAME_WIDTH)) + (from + FRAME_WIDTH < text.length ? " …" : "")
  const number = String(position.line)
  return [
    `    ${number} | ${before}${marked}${after}`,
    `    ${" ".repeat(number.length)} | ${" ".repeat(before.length)}${"^".repeat(Math.max(1, marked.length))}`,
  ]
}
