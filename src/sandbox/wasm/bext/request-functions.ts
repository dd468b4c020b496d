import type { Side } from "../../sandbox.ts"
import { define } from "./abi-function.ts"
import { type Conversation, READ_UNITS } from "./conversation.ts"
import { joinPairs, splitPairs } from "./pairs.ts"

/** Characters of JSON. Everybody behind the plugin may have to copy it: to another guest, to a lane, into a header. */
const MAX_USER = 64 * 1024
/** Far more than an exchange takes. */
const MAX_FIELDS = 1024

/** Functions about the request of the call and its response. */
export const REQUEST_FUNCTIONS = {
  get_method: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.method)),
  get_path: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.path)),
  get_query: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.query)),
  get_scheme: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.scheme)),
  get_host: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.host)),
  get_client_address: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.clientAddress)),
  get_request_id: define("() -> (i64)", (talk) => talk.newText(talk.guest.exchange.requestId)),
  get_upgrade: define("() -> (i64)", (talk) => talk.newOptionalText(talk.guest.exchange.upgrade)),
  get_tenant_id: define("() -> (i64)", (talk) => talk.newOptionalText(talk.guest.exchange.tenantId)),
  get_site_id: define("() -> (i64)", (talk) => talk.newOptionalText(talk.guest.exchange.siteId)),
  get_user: define(
    "() -> (i64)",
    (talk) => {
      const { user } = talk.guest.exchange
      if (user === null) return 0n
      const json = JSON.stringify(user)
      talk.guest.charge(json.length)
      return talk.newText(json)
    },
    { fuel: 2_000 },
  ),
  get_header: define("(i32 i32 i32) -> (i64)", (talk, side, name, nameLength) =>
    talk.newOptionalText(talk.guest.exchange.header(toSide(talk, side), talk.name(name, nameLength))),
  ),
  get_headers: define(
    "(i32) -> (i64)",
    (talk, side) => {
      const list = joinPairs(talk.guest.exchange.headers(toSide(talk, side)))
      talk.guest.charge(list.length)
      return talk.newText(list)
    },
    { fuel: 2_000 },
  ),
  set_header: define(
    "(i32 i32 i32 i32 i32) -> (i32)",
    (talk, side, name, nameLength, value, valueLength) => {
      const { exchange } = talk.guest
      exchange.setHeader(toSide(talk, side), talk.name(name, nameLength), talk.text(value, valueLength))
      return 0
    },
    { fuel: 500 },
  ),
  append_header: define(
    "(i32 i32 i32 i32 i32) -> (i32)",
    (talk, side, name, nameLength, value, valueLength) => {
      const { exchange } = talk.guest
      exchange.appendHeader(toSide(talk, side), talk.name(name, nameLength), talk.text(value, valueLength))
      return 0
    },
    { fuel: 500 },
  ),
  remove_header: define(
    "(i32 i32 i32) -> (i32)",
    (talk, side, name, nameLength) => {
      talk.guest.exchange.removeHeader(toSide(talk, side), talk.name(name, nameLength))
      return 0
    },
    { fuel: 500 },
  ),
  set_path: define(
    "(i32 i32) -> (i32)",
    (talk, path, length) => {
      talk.guest.exchange.setPath(talk.text(path, length))
      return 0
    },
    { fuel: 2_000 },
  ),
  set_query: define(
    "(i32 i32) -> (i32)",
    (talk, query, length) => {
      talk.guest.exchange.setQuery(talk.text(query, length))
      return 0
    },
    { fuel: 2_000 },
  ),
  set_method: define("(i32 i32) -> (i32)", (talk, method, length) => {
    talk.guest.exchange.setMethod(talk.name(method, length))
    return 0
  }),
  set_tenant_id: define("(i32 i32) -> (i32)", (talk, id, length) => {
    talk.guest.exchange.setIdentity("tenantId", talk.text(id, length) || null)
    return 0
  }),
  set_site_id: define("(i32 i32) -> (i32)", (talk, id, length) => {
    talk.guest.exchange.setIdentity("siteId", talk.text(id, length) || null)
    return 0
  }),
  set_user: define(
    "(i32 i32) -> (i32)",
    (talk, json, length) => {
      const { exchange } = talk.guest
      const text = talk.text(json, length)
      if (text.length > MAX_USER) throw talk.mistake(`set_user: more than ${MAX_USER} characters of JSON`)
      exchange.setIdentity("user", talk.json(text, "set_user"))
      return 0
    },
    { fuel: 2_000 },
  ),
  get_extension: define("(i32 i32) -> (i64)", (talk, key, length) =>
    talk.newOptionalText(talk.guest.exchange.extension(talk.name(key, length))),
  ),
  set_extension: define(
    "(i32 i32 i32 i32) -> (i32)",
    (talk, key, keyLength, value, valueLength) => {
      talk.guest.exchange.setExtension(talk.name(key, keyLength), talk.text(value, valueLength))
      return 0
    },
    { fuel: 1_000 },
  ),
  get_body_size: define("(i32) -> (i32)", (talk, side) => talk.guest.exchange.body(toSide(talk, side)).length),
  read_body: define("(i32 i32 i32 i32) -> (i32)", (talk, side, offset, buffer, bufferLength) => {
    const { guest } = talk
    const body = guest.exchange.body(toSide(talk, side))
    talk.checkRange(buffer, bufferLength)
    const start = offset >>> 0
    const length = Math.min(bufferLength >>> 0, guest.limits.messageBytes, Math.max(body.length - start, 0))
    guest.charge(length >>> 3)
    if (length > 0) guest.memory.write(buffer, body.subarray(start, start + length))
    return length
  }),
  set_body: define(
    "(i32 i32 i32) -> (i32)",
    (talk, side, bytes, length) => {
      talk.guest.exchange.setBody(toSide(talk, side), talk.bytes(bytes, length))
      return 0
    },
    { fuel: 2_000 },
  ),
  get_status: define("() -> (i32)", (talk) => talk.guest.exchange.status),
  set_status: define("(i32) -> (i32)", (talk, status) => {
    talk.guest.exchange.setStatus(status)
    return 0
  }),
  respond: define(
    "(i32 i32 i32 i32 i32) -> (i32)",
    (talk, status, headers, headersLength, body, bodyLength) => {
      const { exchange } = talk.guest
      if (talk.guest.call.hook !== "on_request") throw talk.refused("E_PERMISSION", "respond works in on_request only")
      if (talk.responded) throw talk.mistake("respond: the request was already answered")
      const list = talk.text(headers, headersLength)
      talk.guest.charge(list.length * READ_UNITS)
      const pairs = splitPairs(list, MAX_FIELDS)
      if (pairs === undefined) {
        throw talk.mistake(`respond: headers are name NUL value NUL for each field, at most ${MAX_FIELDS}`)
      }
      exchange.respond(status, pairs, talk.bytes(body, bodyLength))
      talk.responded = true
      return 0
    },
    { fuel: 2_000 },
  ),
  is_leader: define("() -> (i32)", (talk) => (talk.guest.call.leader ? 1 : 0)),
}

function toSide(talk: Conversation, side: number): Side {
  if (side === 0) return "request"
  if (side === 1) return "response"
  throw talk.mistake(`side ${side} is neither 0 (request) nor 1 (response)`)
}
