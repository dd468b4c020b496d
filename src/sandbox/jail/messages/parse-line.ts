import { isUtf8 } from "node:buffer"
import type { Json } from "../../sandbox.ts"
import type { Answer, FromGuest, GuestCall } from "../protocol.ts"
import { findExcess } from "./find-excess.ts"
import { ProtocolFault } from "./protocol-fault.ts"

/** Characters of the id of a program's call. */
const MAX_ID_LENGTH = 64

type Fields = Answer["fields"]

/**
 * What a program says in version 1, with all types checked but those of the fields of an answer.
 * @param line - Without its end; at most as long as a line may be.
 * @returns An answer whose `id` is null when it had none.
 * @throws {ProtocolFault}
 */
export function parseLine(line: Buffer): FromGuest {
  const fields = parseObject(line)
  if (isCall(fields)) return { call: toCall(fields, line) }
  return { answer: { id: toCallId(fields.id, "id", line), error: toError(fields.error), fields } }
}

/**
 * The answer of a program in version 0. Its `id` is null, whatever it wrote.
 * @throws {ProtocolFault}
 */
export function parseAnswer0(line: Buffer): Answer {
  if (isBlank(line)) return OK
  const fields = parseObject(line)
  return { id: null, error: toError(fields.error), fields }
}

const OK: Answer = { id: null, error: null, fields: { ok: true } }

function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false
  return true
}

/** An object of which only own properties count: `JSON.parse` makes "__proto__" one of them, which nobody asks for. */
function parseObject(line: Buffer): Fields {
  if (!isUtf8(line)) throw new ProtocolFault("it wrote a line that is not UTF-8", line)
  const excess = findExcess(line)
  if (excess !== null) throw new ProtocolFault(`it wrote ${excess}`, line)
  let value: Json
  try {
    value = JSON.parse(line.toString())
  } catch {
    throw new ProtocolFault("it wrote a line that is not JSON", line)
  }
  if (isObject(value)) return value
  throw new ProtocolFault("it wrote a line that is not a JSON object", line)
}

function isObject(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** An answer may have a field `method` as well: that of the request. */
function isCall(fields: Fields): boolean {
  return fields.method !== undefined && fields.ok === undefined && fields.error === undefined
}

function toCall(fields: Fields, line: Buffer): GuestCall {
  const { method, params = null, id = null } = fields
  if (typeof method !== "string") throw new ProtocolFault("it wrote a call whose method is not a text", line)
  if (!isGuestId(id)) throw new ProtocolFault("it wrote a call whose id is no whole number and no short text", line)
  return { method, params, id, call: toCallId(fields.call, "call", line) }
}

function isGuestId(id: Json): id is number | string | null {
  return id === null || (typeof id === "string" ? id.length <= MAX_ID_LENGTH : Number.isSafeInteger(id))
}

/** The id of a call of the host. */
function toCallId(id: Json | undefined, name: string, line: Buffer): number | null {
  if (id === undefined || id === null) return null
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return id
  throw new ProtocolFault(`it wrote a line whose ${name} is not one that the host gives`, line)
}

/** Anything but nothing is a failure. */
function toError(error: Json | undefined): Answer["error"] {
  if (error === undefined || error === null) return null
  if (typeof error === "string") return { message: error, code: null }
  if (!isObject(error) || typeof error.message !== "string") return { message: JSON.stringify(error), code: null }
  const { message, code = null } = error
  return { message, code: typeof code === "string" ? code : null }
}
