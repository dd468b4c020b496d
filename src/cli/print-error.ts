import { inspect, styleText } from "node:util"
import { ConfigError, countProblems, formatProblem, type LocatedProblem } from "../config/config-error.ts"
import { printable } from "../config/printable.ts"
import { BextError, ERRORS } from "../errors.ts"

/** Writes to standard error what went wrong, where, and what to do. Stacks are for defects of bext, or BEXT_DEBUG=1. */
export function printError(error: unknown): void {
  process.stderr.write(`${describeError(error)}\n`)
  if (process.env.BEXT_DEBUG === "1" && error instanceof BextError) process.stderr.write(`\n${inspect(error)}\n`)
}

function describeError(error: unknown): string {
  if (error instanceof ConfigError) return describeProblems(error)
  if (error instanceof BextError) return describeFailure(error)
  return `${title("E_INTERNAL")} bext itself failed; this is a defect of it\n${inspect(error)}`
}

/** More than anybody reads at once; the mistakes further down often follow from these. */
const MOST_PROBLEMS = 30

function describeProblems(error: ConfigError): string {
  const rest = error.problems.length - MOST_PROBLEMS
  return [
    `${title(error.code)} ${countProblems(error.file, error.problems)}`,
    ...error.problems.slice(0, MOST_PROBLEMS).map((problem) => indent(colourProblem(error.file, problem))),
    ...(rest > 0 ? [`  … and ${rest} more`] : []),
    more(error),
  ].join("\n\n")
}

/** "file:line:column  field: what" in bold, what to do in green. */
function colourProblem(file: string, problem: LocatedProblem): string {
  const [first, ...rest] = formatProblem(file, problem).split("\n")
  const frame = problem.line === undefined || problem.position === undefined ? 0 : 2
  return [
    style("bold", first!),
    ...rest.slice(0, frame).map((line) => style("dim", line)),
    ...rest.slice(frame).map((line) => style("green", line)),
  ].join("\n")
}

function describeFailure(error: BextError): string {
  const [first, ...rest] = withoutCode(error).split("\n").map(printable)
  const lines = [`${title(error.code)} ${first}`, ...rest.map((line) => `  ${line}`.trimEnd())]
  if (error.code === "E_USAGE") return lines.join("\n")
  return [...lines, "", `  ${style("green", `what to do: ${ERRORS[error.code].hint}`)}`, more(error)].join("\n")
}

/** The code is in the title. Lines above the last may have codes of their own. */
function withoutCode({ message, code }: BextError): string {
  const suffix = ` [${code}]`
  return (message.endsWith(suffix) ? message.slice(0, -suffix.length) : message).trimEnd()
}

function more({ code }: BextError): string {
  return `  ${style("dim", `more: bext explain ${code}`)}`
}

function title(code: string): string {
  return style("red", `error ${code}:`)
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ")
}

function style(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stderr })
}
