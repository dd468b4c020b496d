import { type ErrorCode, PluginError } from "../../../errors.ts"
import type { LogLevel } from "../../../host/services.ts"
import type { Exchange, Side } from "../../sandbox.ts"
import type { Guest, ImportedFunction } from "../abi.ts"
import type { FieldList } from "./answer.ts"
import type { Handling } from "./handling.ts"
import { parseUri, toUri } from "./uri.ts"
import { WrittenBody } from "./written-body.ts"

/** Bits of `enable_features`. */
const BUFFER_REQUEST = 1
const BUFFER_RESPONSE = 2
const TRAILERS = 4

const LEVELS = new Map<number, LogLevel>([
  [-1, "debug"],
  [0, "info"],
  [1, "warn"],
  [2, "error"],
])
/** Bytes of one message that are looked at; the log cuts it anyway. */
const MAX_MESSAGE_BYTES = 8192

/** Kinds of bodies. */
const REQUEST = 0
const RESPONSE = 1
/** Kinds of headers. */
const SECTIONS = new Map<number, Section>([
  [0, { side: "request", trailing: false }],
  [1, { side: "response", trailing: false }],
  [2, { side: "request", trailing: true }],
  [3, { side: "response", trailing: true }],
])

interface Section {
  readonly side: Side
  /** Behind the content. */
  readonly trailing: boolean
}

const NO_VALUES: readonly string[] = []
/** What a call costs the host, in units of fuel, besides the bytes: see `Guest.charge`. */
const CALL_UNITS = 20
const MESSAGE_UNITS = CALL_UNITS + 500
const LIST_UNITS = CALL_UNITS + 2000
const LOG_UNITS = CALL_UNITS + 10_000
/** For each field of a message that is looked through. */
const FIELD_UNITS = 16

/**
 * The functions of the http-wasm handler ABI for one instance. The ABI has no error results: whatever is refused or makes
 * no sense ends the call, as a trap would. Field values pass as the bytes they are, one character each in strings.
 */
export function handlerFunctions(guest: Guest, handling: Handling): Readonly<Record<string, ImportedFunction>> {
  let config: Uint8Array | null = null
  return {
    // --- Administration

    enable_features() {
      guest.charge(CALL_UNITS)
      return features()
    },
    get_config(buffer: number, limit: number) {
      config ??= Buffer.from(JSON.stringify(guest.services.config))
      return give(config, buffer, limit)
    },
    log(level: number, message: number, length: number) {
      const name = LEVELS.get(level)
      const size = Math.min(length >>> 0, MAX_MESSAGE_BYTES, guest.limits.messageBytes)
      guest.charge(LOG_UNITS + (size >>> 3))
      if (name !== undefined) guest.services.log(name, utf8(guest.memory.view(message, size)))
    },
    log_enabled(level: number) {
      guest.charge(CALL_UNITS)
      return LEVELS.has(level) ? 1 : 0
    },

    // --- Headers and trailers

    get_header_names(kind: number, buffer: number, limit: number) {
      guest.charge(LIST_UNITS)
      return giveList([...new Set(namesOf(kind))], buffer, limit)
    },
    get_header_values(kind: number, name: number, nameLength: number, buffer: number, limit: number) {
      guest.charge(MESSAGE_UNITS)
      return giveList(valuesOf(kind, readName(name, nameLength)), buffer, limit)
    },
    set_header_value(kind: number, name: number, nameLength: number, value: number, valueLength: number) {
      guest.charge(MESSAGE_UNITS)
      const { side, trailing } = changedSection(kind)
      const [key, text] = [readName(name, nameLength), read(value, valueLength)]
      if (isAnswer(side)) answerFields(trailing).set(key, text)
      else if (trailing) guest.exchange.setTrailer(side, key, text)
      else guest.exchange.setHeader(side, key, text)
    },
    add_header_value(kind: number, name: number, nameLength: number, value: number, valueLength: number) {
      guest.charge(MESSAGE_UNITS)
      const { side, trailing } = changedSection(kind)
      const [key, text] = [readName(name, nameLength), read(value, valueLength)]
      if (isAnswer(side)) answerFields(trailing).add(key, text)
      else if (trailing) guest.exchange.appendTrailer(side, key, text)
      else guest.exchange.appendHeader(side, key, text)
    },
    remove_header(kind: number, name: number, nameLength: number) {
      guest.charge(MESSAGE_UNITS)
      const { side, trailing } = changedSection(kind)
      const key = readName(name, nameLength)
      if (isAnswer(side)) answerFields(trailing).remove(key)
      else if (trailing) guest.exchange.removeTrailer(side, key)
      else guest.exchange.removeHeader(side, key)
    },

    // --- Bodies

    read_body(kind: number, buffer: number, limit: number) {
      guest.charge(MESSAGE_UNITS)
      const side = bodySide(kind)
      if (limit === 0) throw refusal("E_GUEST_RESULT_INVALID", "read_body was given a buffer of no bytes")
      // What handle_request writes itself is not to be read.
      if (isAnswer(side)) return pack(1, 0)
      const { bytes, end } = handling.read(side, limit >>> 0)
      guest.charge(bytes.length >>> 3)
      guest.memory.write(buffer, bytes)
      return pack(end ? 1 : 0, bytes.length)
    },
    write_body(kind: number, body: number, length: number) {
      guest.charge(MESSAGE_UNITS)
      const side = bodySide(kind)
      if (isAnswer(side)) {
        handling.answer.body ??= new WrittenBody(guest)
        handling.answer.body.add(body, length)
        return
      }
      if (side !== changedSide()) throw refusal("E_PERMISSION", "the request can be changed in handle_request only")
      if (handling.newBody === null) {
        // Throws when it is not the plugin's to see.
        guest.exchange.body(side)
        handling.newBody = new WrittenBody(guest)
      }
      handling.newBody.add(body, length)
    },

    // --- The request

    get_method(buffer: number, limit: number) {
      return give(latin1Bytes(guest.exchange.method), buffer, limit)
    },
    set_method(method: number, length: number) {
      guest.charge(MESSAGE_UNITS)
      const name = read(method, length)
      if (name !== guest.exchange.method) guest.exchange.setMethod(name)
    },
    get_uri(buffer: number, limit: number) {
      const { path, query } = guest.exchange
      return give(latin1Bytes(toUri(path, query)), buffer, limit)
    },
    set_uri(uri: number, length: number) {
      guest.charge(LIST_UNITS)
      const target = parseUri(read(uri, length))
      if (typeof target === "string") throw refusal("E_PATH_REWRITE", `set_uri: the URI ${target}`)
      const { exchange } = guest
      if (target.path !== exchange.path) exchange.setPath(target.path)
      if (target.query !== exchange.query) exchange.setQuery(target.query)
    },
    get_protocol_version(buffer: number, limit: number) {
      return give(latin1Bytes(guest.exchange.protocolVersion), buffer, limit)
    },
    get_source_addr(buffer: number, limit: number) {
      const { clientAddress, clientPort } = guest.exchange
      const host = clientAddress.includes(":") ? `[${clientAddress}]` : clientAddress
      return give(latin1Bytes(`${host}:${clientPort}`), buffer, limit)
    },

    // --- The response

    get_status_code() {
      guest.charge(CALL_UNITS)
      return isAnswer("response") ? handling.answer.status : guest.exchange.status
    },
    set_status_code(status: number) {
      guest.charge(MESSAGE_UNITS)
      if (isAnswer("response")) handling.answer.status = status >>> 0
      else guest.exchange.setStatus(status >>> 0)
    },
  }

  /** The message that the running call may change. */
  function changedSide(): Side {
    return guest.call.hook === "on_request" ? "request" : "response"
  }

  /** Whether it is the response while there is none: what `handle_request` prepares. */
  function isAnswer(side: Side): boolean {
    return side === "response" && changedSide() === "request"
  }

  function section(kind: number): Section {
    const found = SECTIONS.get(kind)
    if (found === undefined) throw unknownKind("header", kind)
    return found
  }

  /** As `section`, of one that is about to be changed. */
  function changedSection(kind: number): Section {
    const found = section(kind)
    if (!found.trailing || features() & TRAILERS) return found
    throw refusal("E_BODY_NOT_DECLARED", 'enable_features does not grant trailers: they need body = "…" in [sandbox]')
  }

  function features(): number {
    const { services } = guest
    const request = services.granted("request_body") ? BUFFER_REQUEST : 0
    const response = services.granted("response_body") ? BUFFER_RESPONSE : 0
    return request | response | (request | response ? TRAILERS : 0)
  }

  function answerFields(trailing: boolean): FieldList {
    return trailing ? handling.answer.trailers : handling.answer.headers
  }

  /** Trailers that the plugin may see: the others are none, as of a host that knows no trailers. */
  function trailers(side: Side): readonly (readonly [string, string])[] {
    return guest.services.granted(`${side}_body`) ? guest.exchange.trailers(side) : []
  }

  function bodySide(kind: number): Side {
    if (kind === REQUEST) return "request"
    if (kind === RESPONSE) return "response"
    throw unknownKind("body", kind)
  }

  function namesOf(kind: number): readonly string[] {
    const { side, trailing } = section(kind)
    if (isAnswer(side)) return names(answerFields(trailing).fields)
    return names(trailing ? trailers(side) : guest.exchange.headers(side))
  }

  function names(fields: readonly (readonly [name: string, value: string, ...unknown[]])[]): readonly string[] {
    guest.charge(FIELD_UNITS * fields.length)
    return fields.map(([name]) => name)
  }

  function valuesOf(kind: number, name: string): readonly string[] {
    const { side, trailing } = section(kind)
    if (isAnswer(side)) return answerFields(trailing).values(name)
    return trailing ? valuesIn(trailers(side), name) : fieldValues(guest.exchange, side, name)
  }

  function fieldValues(exchange: Exchange, side: Side, name: string): readonly string[] {
    const combined = exchange.header(side, name)
    if (combined === undefined) return NO_VALUES
    // Set-Cookie cannot be combined; anything else without these is a single value.
    if (name !== "set-cookie" && !/[,;]/.test(combined)) return [combined]
    guest.charge(LIST_UNITS)
    return valuesIn(exchange.headers(side), name)
  }

  function valuesIn(fields: readonly (readonly [string, string])[], name: string): readonly string[] {
    guest.charge(FIELD_UNITS * fields.length)
    return fields.filter(([one]) => one === name).map(([, value]) => value)
  }

  // --- What passes the boundary

  function readName(address: number, length: number): string {
    if (length === 0) throw refusal("E_GUEST_RESULT_INVALID", "a header name is empty")
    return read(address, length).toLowerCase()
  }

  function read(address: number, length: number): string {
    const bytes = guest.memory.view(address, length)
    guest.charge(bytes.length >>> 3)
    return latin1(bytes)
  }

  /** Writes a value when it fits. @returns its length in any case. */
  function give(bytes: Uint8Array, buffer: number, limit: number): number {
    guest.charge(CALL_UNITS + (bytes.length >>> 3))
    if (bytes.length <= limit >>> 0) guest.memory.write(buffer, bytes)
    return bytes.length
  }

  /** Writes values, each followed by NUL, when they fit. @returns count << 32 | length in any case. */
  function giveList(values: readonly string[], buffer: number, limit: number): bigint {
    if (values.length === 0) return 0n
    const bytes = latin1Bytes(`${values.join("\0")}\0`)
    guest.charge(bytes.length >>> 3)
    if (bytes.length <= limit >>> 0) guest.memory.write(buffer, bytes)
    return pack(values.length, bytes.length)
  }

  function unknownKind(what: string, kind: number): PluginError {
    return refusal("E_GUEST_RESULT_INVALID", `${kind >>> 0} is no kind of ${what}`)
  }

  function refusal(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, guest.name, what)
  }
}

function pack(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}

function latin1(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("latin1")
}

function utf8(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("utf8")
}

function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, length)
}

function latin1Bytes(text: string): Buffer {
  return Buffer.from(text, "latin1")
}
