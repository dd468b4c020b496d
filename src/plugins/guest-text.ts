import { printable } from "../config/printable.ts"
import { BextError } from "../errors.ts"

/** Longest text of a guest in a log line, UTF-16 units. */
const MAX_LENGTH = 8192

/** Text of which a guest chose parts, safe for a terminal: no control characters but line ends, and it has an end. */
export function printableLines(text: string): string {
  return text.slice(0, MAX_LENGTH).split("\n").map(printable).join("\n")
}

/**
 * The stack of what caused the failure: of what the guest threw, or of the defect of the host. A failure that bext itself
 * raised says all it has to say in its message.
 */
export function guestStack(error: Error): string | undefined {
  const inner = error.cause instanceof Error ? error.cause : error
  if (inner instanceof BextError) return undefined
  return printableLines(guestFrames(inner.stack ?? inner.message))
}

const FRAME = /^ +at /

/** Of a stack that V8 wrote: without the host's functions around the module's, and those that count its fuel. */
function guestFrames(stack: string): string {
  if (!stack.includes("wasm://wasm/")) return stack
  const isGuests = (line: string) => line.includes("wasm://wasm/") && !line.includes("__fuel")
  return stack
    .split("\n")
    .filter((line) => !FRAME.test(line) || isGuests(line))
    .join("\n")
}

/** Takes the plugin's secrets out of an error and what caused it, in place: a guest may throw what it was told. */
export function maskError(error: unknown, mask: (text: string) => string): void {
  for (let at = error; at instanceof Error; at = at.cause) {
    at.message = mask(at.message)
    if (at.stack !== undefined) at.stack = mask(at.stack)
  }
}
