import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { toLineBytes } from "../../../../src/sandbox/jail/messages/line-bytes.ts"
import { toCallLine, toLine, toResultLine } from "../../../../src/sandbox/jail/messages/write-line.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, LIMITS, request } from "../../../contracts/sandbox-contract.ts"

const services = new RecordingServices()

describe("toLine", () => {
  it("writes one line, whatever is in the texts", () => {
    const params = { text: "a\n\r\u2028\u0085\0b" }
    const line = toLine({ method: "cancel", params })
    assert.equal(line.indexOf("\n"), line.length - 1)
    assert.deepEqual(JSON.parse(line), { method: "cancel", params })
  })

  it("escapes half surrogate pairs: each line is UTF-8", () => {
    const line = toLine({ method: "result", params: { value: "\ud83d" }, id: "\udc00" })
    assert.ok(line.isWellFormed())
    assert.deepEqual(JSON.parse(line), { method: "result", params: { value: "\ud83d" }, id: "\udc00" })
  })
})

describe("toCallLine", () => {
  it("calls a hook by its name in camelCase, with an id where there is one", () => {
    const call = event("on_cache_write", ["k", ["t"]])
    const params = { key: "k", tags: ["t"] }
    assert.deepEqual(JSON.parse(toCallLine("p", call, 7, services, LIMITS)), { method: "onCacheWrite", params, id: 7 })
    assert.deepEqual(JSON.parse(toCallLine("p", call, null, services, LIMITS)), { method: "onCacheWrite", params })
  })

  it("begins each line with the method, for programs that cannot read JSON", () => {
    const line = toCallLine("p", request(new RecordingExchange("/")), 7, services, LIMITS)
    assert.match(line, /^\{"method":"onRequest","params":\{.*\},"id":7\}\n$/)
    assert.match(toResultLine(7, { value: 1 }, LIMITS), /^\{"method":"result","params":/)
  })

  it("refuses events that are longer than the largest message, in bytes", () => {
    const source = (text: string) => toCallLine("p", event("transform", [text, "", {}]), 1, services, LIMITS)
    const room = LIMITS.messageBytes - (source("").length - 1)
    const fitting = "é".repeat(room / 2) + "x".repeat(room % 2)
    assert.equal(Buffer.byteLength(source(fitting)), LIMITS.messageBytes + 1)
    const tooLong = `${fitting}x`
    assert.throws(() => source(tooLong), {
      message: "p: transform: its line would have more than 65536 bytes [E_LIMIT_MESSAGE]",
    })
  })

  it("sends a request that fits into a line, and refuses a longer one", () => {
    const exchange = new RecordingExchange("/")
    exchange.extensions.set("other.key", "\0".repeat(20_000))
    assert.ok(toCallLine("p", request(exchange), 1, services, LIMITS).length > LIMITS.messageBytes)
    exchange.extensions.set("other.key", "\0".repeat(30_000))
    assert.throws(() => toCallLine("p", request(exchange), 1, services, LIMITS), { code: "E_LIMIT_MESSAGE" })
  })

  it("has room for the largest bodies that are sent along, however they have to be written, at the default limit", () => {
    const exchange = new RecordingExchange("/", "response")
    exchange.bodies.request = Buffer.alloc(65_536, 1)
    exchange.bodies.response = Buffer.alloc(65_536, 1)
    exchange.lists.request.append("x-much", '"'.repeat(65_536))
    exchange.lists.response.append("x-much", '"'.repeat(65_536))
    const call = { ...request(exchange), hook: "on_response" } as const
    assert.ok(toCallLine("p", call, 1, services, { ...LIMITS, messageBytes: 1024 * 1024 }))
  })
})

describe("toResultLine", () => {
  it("answers a call of the program under its id", () => {
    assert.equal(toResultLine("a", { value: null }, LIMITS), '{"method":"result","params":{"value":null},"id":"a"}\n')
  })

  it("refuses in its place what is too long for a line", () => {
    const line = toResultLine(7, { value: "\0".repeat(toLineBytes(LIMITS) / 6) }, LIMITS)
    const { method, params, id } = JSON.parse(line)
    assert.deepEqual([method, params.value, params.error.code, id], ["result", undefined, "E_LIMIT_MESSAGE", 7])
  })
})

describe("toLineBytes", () => {
  it("has room for the largest value in base64", () => {
    const { messageBytes } = LIMITS
    const base64 = Buffer.alloc(messageBytes).toString("base64")
    assert.equal(toLineBytes(LIMITS), base64.length + 65_536)
  })
})
