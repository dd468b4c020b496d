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
    return { message: error.message, ...position(error.stack ?? ""), broken: false }
  }
}

/** Node puts ":LINE", source lines and a line of carets under the place ahead of the stack; the line above the carets is LINE. */
function position(stack: string): { line: number; column: number } {
  const header = /^[^\n]*?:(\d+)\n/.exec(stack)
  const carets = /\n( *)\^+\n/.exec(stack)
  return { line: header ? Number(header[1]) : 0, column: carets ? carets[1]!.length + 1 : 0 }
}
