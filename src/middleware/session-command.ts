import { BextError } from "../errors.ts"
import { MAX_CLAIM_LEVELS, nestsTooDeep } from "../message/nests-too-deep.ts"
import { isUserId } from "./user-id.ts"

/** Response header by which the app begins and ends sessions. */
export const COMMAND_HEADER = "x-bext-session"

/** What the app wants of the session. */
export type SessionCommand =
  | { readonly kind: "end"; readonly all: boolean }
  | { readonly kind: "begin"; readonly id: string; readonly claims: Readonly<Record<string, unknown>> }

/** More does not fit into a cookie once sealed. */
const MAX_COMMAND = 4_096
const PRINTABLE_ASCII = /^[ -~]*$/

/**
 * Reads the values of `COMMAND_HEADER`: `end`, `end all`, or JSON with `id` (text or a number) and optionally `claims` (an object), as it
 * is or percent-encoded as a whole.
 * @throws {BextError} `E_SESSION_INVALID`, without a word of the value.
 */
export function parseSessionCommand(values: readonly string[]): SessionCommand {
  const [value] = values
  if (value === undefined || values.length > 1) throw invalid(`is there ${values.length} times`)
  if (value === "end" || value === "end all") return { kind: "end", all: value !== "end" }
  if (value.length > MAX_COMMAND) throw invalid(`has ${value.length} characters, at most ${MAX_COMMAND} fit a cookie`)
  if (!PRINTABLE_ASCII.test(value)) throw invalid("has characters outside of ASCII; percent-encode it")
  const { id, claims = {}, ...others } = parseObject(value)
  const unknown = Object.keys(others)
  if (unknown.length > 0)
    throw invalid(`has unknown keys beside id and claims: ${JSON.stringify(unknown).slice(0, 80)}`)
  const userId = typeof id === "number" ? String(id) : id
  if (!isUserId(userId)) throw invalid("has an id that is not 1 to 255 printable characters or a number")
  if (!isObject(claims)) throw invalid("has claims that are no object")
  if (nestsTooDeep(claims)) throw invalid(`has claims of over ${MAX_CLAIM_LEVELS} levels`)
  return { kind: "begin", id: userId, claims }
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text.startsWith("%") ? decodeURIComponent(text) : text)
  } catch {
    throw invalid('is neither "end" nor JSON')
  }
  if (!isObject(value)) throw invalid('is neither "end" nor a JSON object')
  return value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function invalid(what: string): BextError {
  return new BextError("E_SESSION_INVALID", `the app's ${COMMAND_HEADER} ${what}`)
}
