import { styleText } from "node:util"
import { nearest } from "../config/nearest.ts"
import { ERRORS, type ErrorCode } from "../errors.ts"
import { EXPLANATIONS } from "./explanations.ts"
import { parseOptions, usageError } from "./parse-options.ts"

const BLAME = {
  client: "whoever sent the request",
  guest: "the plugin",
  operator: "the operator: configuration, files or environment",
  host: "bext itself, or the machine it runs on",
} as const

/** `bext explain [CODE]` */
export async function explain(args: readonly string[]): Promise<number> {
  const [word] = parseOptions("explain", args).words
  process.stdout.write(word === undefined ? list() : explanation(toCode(word)))
  return 0
}

function list(): string {
  const codes = Object.keys(ERRORS) as ErrorCode[]
  const width = Math.max(...codes.map((code) => code.length))
  const rows = codes.map((code) => `${code.padEnd(width)}  ${ERRORS[code].hint}`)
  return `${rows.join("\n")}\n\nbext explain CODE says more about one.\n`
}

/** Takes "limit_cpu" and "e-limit-cpu" as well. */
function toCode(word: string): ErrorCode {
  const upper = word.toUpperCase().replaceAll("-", "_")
  const code = upper.startsWith("E_") ? upper : `E_${upper}`
  if (Object.hasOwn(ERRORS, code)) return code as ErrorCode
  const codes = Object.keys(ERRORS)
  const meant = codes.find((known) => known.startsWith(`${code}_`)) ?? nearest(code, codes)
  const hint = meant === undefined ? "bext explain lists all codes" : `did you mean ${meant}?`
  throw usageError("explain", `there is no error code ${JSON.stringify(word)}`, hint)
}

function explanation(code: ErrorCode): string {
  const { status, blame, hint } = ERRORS[code]
  const known = EXPLANATIONS[code]
  const steps = known?.steps ?? [hint]
  return [
    bold(code),
    "",
    ...(known === undefined ? [] : [wrap(known.happened, ""), ""]),
    `Status seen by clients: ${status}`,
    `Who can mend it: ${BLAME[blame]}`,
    "",
    bold("What to do"),
    ...steps.map((step, index) => wrap(step, `  ${index + 1}. `)),
    ...(known === undefined || known.related.length === 0 ? [] : ["", `Related: ${known.related.join(", ")}`]),
    "",
  ].join("\n")
}

const WIDTH = 96

/** Breaks text into lines; further ones are indented as far as `start` is long. */
function wrap(text: string, start: string): string {
  const lines: string[] = []
  let line = start.trimEnd()
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = " ".repeat(start.length) + word
    } else line += (line === "" ? "" : " ") + word
  }
  return [...lines, line].join("\n")
}

function bold(text: string): string {
  return styleText("bold", text, { stream: process.stdout })
}
