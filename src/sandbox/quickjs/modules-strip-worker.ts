import { stripTypeScriptTypes } from "node:module"
import { parentPort } from "node:worker_threads"
import type { StripReply } from "./modules-strip.ts"

const port = parentPort!
port.on("message", (code: string) => port.postMessage(strip(code)))

function strip(code: string): StripReply {
  try {
    return { code: stripTypeScriptTypes(code, { mode: "strip" }) }
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      const message = "the TypeScript parser crashed on this file: it nests too deeply or is too large"
      return { message, line: 0, column: 0, broken: true }
    }
    return { message: error.message, ...position(code, error.stack ?? ""), broken: false }
  }
}

/** Node puts ":LINE", source lines and a line of carets under the place ahead of the stack; no carets at the end of the file. */
function position(code: string, stack: string): { line: number; column: number } {
  const header = /^[^\n]*?:(\d+)\n/.exec(stack)
  if (header === null) return { line: 0, column: 0 }
  const line = Number(header[1])
  const text = code.split("\n")[line - 1] ?? ""
  const carets = /\n( *)\^+\n/.exec(stack)
  return { line, column: carets === null ? text.length + 1 : toColumn(text, carets[1]!.length) }
}

/** @param width - Characters before the place, where a tab was shown as spaces up to a multiple of four. */
function toColumn(text: string, width: number): number {
  let shown = 0
  let column = 1
  for (; shown < width && column <= text.length; column++) shown += text[column - 1] === "\t" ? 4 - (shown % 4) : 1
  return column
}
