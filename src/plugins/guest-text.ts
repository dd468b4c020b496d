import { printable } from "../config/printable.ts"
import { BextError, ERRORS } from "../errors.ts"

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
  const stack = inner.stack ?? inner.message
  const isGuests = error instanceof BextError && ERRORS[error.code].blame === "guest"
  const shown = isGuests ? withoutHost(stack) : stack
  return shown === undefined ? undefined : printableLines(shown)
}

const FRAME = /^ +at /
/** Of bext and Node, and what counts the fuel of a module: V8 has them all on one stack. */
const HOST_FRAME = /^ +at .*(?:\bfile:\/\/|\bnode:|__fuel)/

/** @returns undefined when the stack was the host's alone. */
function withoutHost(stack: string): string | undefined {
  const lines = stack.split("\n")
  const kept = lines.filter((line) => !HOST_FRAME.test(line))
  if (kept.length < lines.length && !kept.some((line) => FRAME.test(line))) return undefined
  return kept.join("\n")
}

/** Takes the plugin's secrets out of an error and what caused it, in place: a guest may throw what it was told. */
export function maskError(error: unknown, mask: (text: string) => string): void {
  for (let at = error; at instanceof Error; at = at.cause) {
    at.message = mask(at.message)
    if (at.stack !== undefined) at.stack = mask(at.stack)
  }
}
