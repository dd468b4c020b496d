import { parse, TomlDate, TomlError } from "smol-toml"
import type { ErrorCode } from "../errors.ts"
import { ConfigError, lineOf, type Source } from "./config-error.ts"

const MAX_CHARACTERS = 1024 * 1024
/** Far deeper than any field of ours; what follows may recurse. */
const MAX_DEPTH = 64

/** Keys whose line is not repeated in an error: the value may be a secret. */
const LOOKS_SECRET = /secret|token|password|passwd|api_?key|private/i

/**
 * The value of a TOML 1.1 document. Dates stay `TomlDate` objects, which no field of ours takes.
 * @throws {ConfigError} with `code`, at the place of the first syntax error.
 */
export function readToml(source: Source & { text: string }, code: ErrorCode): Record<string, unknown> {
  if (source.text.length > MAX_CHARACTERS) {
    throw plainError(source, code, `the file has ${source.text.length} characters; the most is ${MAX_CHARACTERS}`)
  }
  try {
    const value = parse(source.text)
    if (isDeeperThan(value, MAX_DEPTH))
      throw plainError(source, code, `more than ${MAX_DEPTH} tables inside each other`)
    return value
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw syntaxError(error, source, code)
  }
}

function plainError(source: Source, code: ErrorCode, what: string): ConfigError {
  return new ConfigError(code, source.file, [{ path: [], what, position: undefined, line: undefined }])
}

/** Level by level instead of by recursion: the text may be made to exhaust the stack. */
function isDeeperThan(value: unknown, depth: number): boolean {
  let level = [value]
  for (let i = 0; level.length > 0; i++) {
    if (i > depth) return true
    level = level.flatMap((inner) => (typeof inner === "object" && inner !== null ? Object.values(inner) : []))
  }
  return false
}

export function isTomlDate(value: unknown): boolean {
  return value instanceof TomlDate
}

function syntaxError(error: TomlError, source: Source & { text: string }, code: ErrorCode): ConfigError {
  const text = lineOf(source.text, error.line) ?? ""
  const position = { line: error.line, column: error.column, endColumn: error.column + 1 }
  const what = error.message.split("\n", 1)[0]!.replace(/^Invalid TOML document: /, "")
  const problem = {
    path: [],
    what: `not valid TOML: ${what}`,
    fixes: fixesFor(what, text),
    position,
    line: LOOKS_SECRET.test(text) ? undefined : text,
  }
  return new ConfigError(code, source.file, [problem])
}

function fixesFor(what: string, line: string): string[] {
  const sandboxTable = /^\s*\[\s*plugins\s*\.\s*([^\]]+?)\s*\.\s*sandbox\s*\]/.exec(line)
  if (sandboxTable !== null && what.includes("redefine")) {
    return [
      `plugins.${sandboxTable[1]}.sandbox is already a string, and TOML does not let one key be a string and a table`,
      `write [plugins.${sandboxTable[1]}.limits] here instead`,
    ]
  }
  if (what.includes("redefine"))
    return ["each key and each [table] may appear once; use [[table]] for a list of tables"]
  const bareValue = /^\s*[A-Za-z0-9_.-]+\s*=\s*([A-Za-z][^\s"'#]*)\s*(#.*)?$/.exec(line)
  if (bareValue !== null && !LOOKS_SECRET.test(line)) return [`text needs quotes: "${bareValue[1]}"`]
  if (/^\s*[A-Za-z0-9_.-]+\s*:/.test(line)) return ['TOML separates key and value by "="']
  return []
}
