import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { Json } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { OUT, runSteps, type Step } from "./run-steps.ts"

const [INVALID, PERMISSION, MESSAGE, FORBIDDEN, STATUS] = [-2, -3, -4, -5, -7]

describe("functions that read the request", () => {
  it("give what the exchange has, and none for what is not there", async () => {
    const names = ["method", "path", "query", "scheme", "host", "client_address", "request_id", "upgrade"]
    names.push("tenant_id", "site_id", "user")
    const run = await runSteps(names.map((name) => [`get_${name}`]))
    assert.deepEqual(
      names.map((_, i) => run.text(i)),
      [
        "GET",
        "/path",
        "a=1&b=%20",
        "http",
        "example.com:8080",
        "192.0.2.1",
        "0123456789abcdef0123456789abcdef",
        "websocket",
        "t1",
        undefined,
        '{"id":"ada","claims":{}}',
      ],
    )
  })

  it("give an empty text an address", async () => {
    const run = await runSteps([["get_path"]], { exchange: new RecordingExchange("") })
    assert.equal(run.text(0), "")
    assert.notEqual(run.results[0], 0n)
  })

  it("give text that is not ASCII, short and long, as UTF-8", async () => {
    for (const path of ["/ä€😀", "/ä€😀".repeat(100), `/${"a".repeat(1000)}`, "\ud800"]) {
      const run = await runSteps([["get_path"]], { exchange: new RecordingExchange(path) })
      assert.equal(run.text(0), path.toWellFormed())
    }
  })

  it("give headers by name, in any case, of both sides", async () => {
    const exchange = new RecordingExchange("/")
    exchange.lists.response.set("x-two", "zwöi")
    const steps: Step[] = [
      ["get_header", 0, "x-one"],
      ["get_header", 0, "X-ONE"],
      ["get_header", 0, "x-two"],
      ["get_header", 1, "x-two"],
      ["get_header", 0, ""],
      ["get_header", 0, "x".repeat(300)],
    ]
    const run = await runSteps(steps, { exchange })
    assert.deepEqual(
      steps.map((_, i) => run.text(i)),
      ["1", "1", undefined, "zwöi", undefined, undefined],
    )
  })

  it("list headers as pairs with NUL behind each part", async () => {
    const exchange = new RecordingExchange("/")
    exchange.lists.request.append("x-one", "2")
    exchange.lists.request.append("x-empty", "")
    const run = await runSteps(
      [
        ["get_headers", 0],
        ["get_headers", 1],
      ],
      { exchange },
    )
    assert.equal(run.text(0), "x-one\x001\0x-one\x002\0x-empty\0\0")
    assert.equal(run.text(1), "")
  })

  it("know two sides", async () => {
    const run = await runSteps([
      ["get_header", 2, "x-one"],
      ["get_headers", -1],
      ["get_body_size", 2_147_483_647],
      ["last_error"],
    ])
    assert.deepEqual([run.text(0), run.text(1), run.results[2]], [INVALID, INVALID, BigInt(INVALID)])
    assert.match(String(run.text(3)), /^E_GUEST_RESULT_INVALID: side 2147483647 is neither 0 \(request\) nor 1/)
  })

  it("read the body in chunks, as far as it goes", async () => {
    const exchange = new RecordingExchange("/")
    exchange.bodies.request = Buffer.from("0123456789")
    const run = await runSteps(
      [
        ["get_body_size", 0],
        ["read_body", 0, 0, OUT, 4],
        ["read_body", 0, 4, OUT + 4, 100],
        ["read_body", 0, 10, OUT, 100],
        ["read_body", 0, -1, OUT, 100],
        ["read_body", 0, 0, OUT, 0],
        ["get_body_size", 1],
      ],
      { exchange },
    )
    assert.deepEqual(run.results, [10n, 4n, 6n, 0n, 0n, 0n, 0n])
    assert.equal(run.memory.toString("latin1", OUT, OUT + 11), "0123456789\0")
  })

  it("write at most one message of a body at a time", async () => {
    const exchange = new RecordingExchange("/")
    exchange.bodies.request = Buffer.alloc(200_000, "x")
    const allocator = `(func (export "bext_alloc") (param i32) (result i32) (i32.const 0))
      (func $grow (drop (memory.grow (i32.const 4)))) (start $grow)`
    const run = await runSteps([["read_body", 0, 0, 65_536, 200_000]], { exchange, allocator })
    assert.deepEqual(run.results, [65_536n])
  })

  it("never write a body beside the memory, whatever its length", async () => {
    for (const [buffer, length] of [
      [65_535, 2],
      [-1, 4],
      [-2_147_483_648, 1],
      [OUT, -1],
      [65_536, 1],
    ] as const) {
      await assert.rejects(runSteps([["read_body", 0, 0, buffer, length]]), { code: "E_GUEST_TRAPPED" })
    }
  })
})

describe("functions that change the request", () => {
  it("set, append and remove headers on both sides", async () => {
    const { exchange, results } = await runSteps([
      ["set_header", 0, "x-one", "uno"],
      ["append_header", 0, "x-two", "zwei"],
      ["append_header", 0, "x-two", "deux"],
      ["set_header", 0, "x-gone", "soon"],
      ["remove_header", 0, "x-gone"],
      ["set_header", 1, "x-answer", "ä"],
    ])
    assert.deepEqual(results, [0n, 0n, 0n, 0n, 0n, 0n])
    assert.deepEqual(exchange.headers("request"), [
      ["x-one", "uno"],
      ["x-two", "zwei"],
      ["x-two", "deux"],
    ])
    assert.deepEqual(exchange.headers("response"), [["x-answer", "ä"]])
  })

  it("are refused by number, remember why, and change nothing", async () => {
    const { exchange, results, text } = await runSteps([
      ["set_header", 0, "host", "evil"],
      ["last_error"],
      ["set_header", 0, "x-one", Buffer.from([0xff])],
      ["last_error"],
      ["set_header", 0, Buffer.from([0xc3]), "x"],
      ["set_user", '{"id":"eve"}'],
      ["set_tenant_id", "t2"],
      ["set_site_id", ""],
    ])
    assert.deepEqual([results[0], results[2], results[4]], [FORBIDDEN, INVALID, INVALID].map(BigInt))
    assert.equal(text(1), "E_HEADER_FORBIDDEN: host is not yours")
    assert.match(String(text(3)), /^E_GUEST_RESULT_INVALID: .*UTF-8/)
    assert.deepEqual(results.slice(5), [PERMISSION, PERMISSION, PERMISSION].map(BigInt))
    assert.deepEqual(exchange.headers("request"), [["x-one", "1"]])
  })

  it("set path, extensions, body and identity", async () => {
    const exchange = new ForgivingExchange("/")
    const { results, text } = await runSteps(
      [
        ["set_path", "/neu"],
        ["set_extension", "key", "välue"],
        ["get_extension", "guest.key"],
        ["get_extension", "guest.other"],
        ["set_body", 0, Buffer.from([0, 255])],
        ["set_user", '{"id":"bo"}'],
        ["set_user", "null"],
        ["set_tenant_id", "t2"],
        ["set_tenant_id", ""],
        ["set_site_id", "s"],
      ],
      { exchange },
    )
    assert.deepEqual([...results.slice(0, 2), ...results.slice(4)], new Array(8).fill(0n))
    assert.deepEqual([text(2), text(3)], ["välue", undefined])
    assert.equal(exchange.path, "/neu")
    assert.deepEqual([...exchange.bodies.request], [0, 255])
    assert.deepEqual(exchange.identities, [
      ["user", { id: "bo" }],
      ["user", null],
      ["tenantId", "t2"],
      ["tenantId", null],
      ["siteId", "s"],
    ])
  })

  it("take a user that is JSON of at most 65,536 characters", async () => {
    const exchange = new ForgivingExchange("/")
    const run = await runSteps([["set_user", "{"], ["set_user", ""], ["last_error"]], { exchange })
    assert.deepEqual(run.results.slice(0, 2), [INVALID, INVALID].map(BigInt))
    assert.equal(run.text(2), "E_GUEST_RESULT_INVALID: set_user: expected JSON")
    const grown = `(func (export "bext_alloc") (param i32) (result i32) (i32.const 32768))
      (func $grow (drop (memory.grow (i32.const 4)))
        (memory.fill (i32.const 65536) (i32.const 32) (i32.const 70000))) (start $grow)`
    const options = { exchange, allocator: grown, limits: { messageBytes: 100_000 } }
    const long = await runSteps([["set_user", 65_536, 65_537], ["last_error"]], options)
    assert.equal(long.text(1), "E_GUEST_RESULT_INVALID: set_user: more than 65536 characters of JSON")
    assert.deepEqual(exchange.identities, [])
  })

  it("keep a copy of a body: what the guest does to its memory later does not change it", async () => {
    const { exchange } = await runSteps([
      ["set_body", 0, 0, 4],
      ["random", 0, 4],
      ["random", 4, 16],
    ])
    assert.deepEqual([...exchange.bodies.request], [0, 0, 0, 0])
  })

  it("change the status in on_response", async () => {
    const exchange = new RecordingExchange("/", "response")
    const run = await runSteps([["get_status"], ["set_status", 404], ["get_status"]], { exchange, hook: "on_response" })
    assert.deepEqual(run.results, [200n, 0n, 404n])
  })
})

describe("respond", () => {
  it("answers with status, headers and body", async () => {
    const headers = "content-type\0text/plain\0x-empty\0\0"
    const { exchange, results } = await runSteps([["respond", 201, headers, "da"]], { returns: 1 })
    assert.deepEqual(results, [0n])
    assert.equal(exchange.text, "da")
    assert.deepEqual(exchange.answer?.headers, [
      ["content-type", "text/plain"],
      ["x-empty", ""],
    ])
  })

  it("refuses a second one, and the first stands", async () => {
    const steps: Step[] = [
      ["respond", 200, "", "first"],
      ["respond", 200, "", "second"],
    ]
    const { exchange, results } = await runSteps(steps, { returns: 1 })
    assert.deepEqual(results, [0n, BigInt(INVALID)])
    assert.equal(exchange.text, "first")
  })

  it("may be tried again after a refusal", async () => {
    const steps: Step[] = [
      ["respond", 99, "", ""],
      ["respond", -1, "", ""],
      ["respond", 200, "a", ""],
      ["respond", 200, "a\0b", ""],
      ["respond", 200, "a\0b\0c\0", ""],
      ["respond", 200, "a\0".repeat(2 * 1025), ""],
      ["respond", 200, Buffer.from([0xff, 0, 0]), ""],
      ["respond", 200, "", "now"],
    ]
    const { exchange, results } = await runSteps(steps, { returns: 1 })
    assert.deepEqual(
      results,
      [STATUS, STATUS, INVALID, INVALID, INVALID, INVALID, INVALID, 0].map((code) => BigInt(code)),
    )
    assert.equal(exchange.text, "now")
  })

  it("refuses a list of 2^31 bytes as what it is: outside the memory, or too long", async () => {
    const steps: Step[] = [["respond", 200, 0, -2_147_483_648, 0, 0]]
    await assert.rejects(runSteps(steps, { returns: 1 }), { code: "E_GUEST_TRAPPED" })
    const allocator = `(func (export "bext_alloc") (param i32) (result i32) (i32.const 0))
      (func $grow (drop (memory.grow (i32.const 2)))) (start $grow)`
    const { results } = await runSteps([["respond", 200, 0, 65_537, 0, 0]], { allocator })
    assert.deepEqual(results, [BigInt(MESSAGE)])
  })

  it("is refused in on_response", async () => {
    const exchange = new RecordingExchange("/", "response")
    const { results } = await runSteps([["respond", 200, "", ""]], { exchange, hook: "on_response" })
    assert.deepEqual([results[0], exchange.answer], [BigInt(PERMISSION), null])
  })

  it("has to go with the result 1, and 1 with it", async () => {
    const respond: Step = ["respond", 200, "", ""]
    for (const [steps, returns, message] of [
      [[respond], 0, /on_request returned 0 after it called respond; expected 1/],
      [[respond], 2, /on_request returned 2 after it called respond; expected 1/],
      [[["respond", 99, "", ""]], 1, /on_request returned 1, but did not call respond/],
      [[], 1, /on_request returned 1, but did not call respond/],
      [[], 2, /on_request returned 2; expected 0, 1 or a negative number/],
      [[], 2_147_483_647, /returned 2147483647;/],
    ] as [Step[], number, RegExp][]) {
      await assert.rejects(runSteps(steps, { returns }), { code: "E_GUEST_RESULT_INVALID", message })
    }
    const exchange = new RecordingExchange("/", "response")
    await assert.rejects(runSteps([], { returns: 1, hook: "on_response", exchange }), {
      code: "E_GUEST_RESULT_INVALID",
      message: /on_response returned 1; expected 0 or a negative number/,
    })
  })
})

describe("hooks without a request", () => {
  it("are refused everything about one, and know who leads", async () => {
    const names = ["method", "path", "query", "scheme", "host", "client_address", "request_id", "upgrade"]
    names.push("tenant_id", "site_id", "user")
    const steps: Step[] = [
      ...names.map((name): Step => [`get_${name}`]),
      ["get_header", 0, "a"],
      ["get_headers", 0],
      ["get_extension", "a.b"],
      ["get_body_size", 0],
      ["read_body", 0, 0, OUT, 4],
      ["get_status"],
      ["set_status", 200],
      ["set_header", 0, "a", "b"],
      ["append_header", 0, "a", "b"],
      ["remove_header", 0, "a"],
      ["set_path", "/"],
      ["set_user", "null"],
      ["set_tenant_id", "t"],
      ["set_site_id", "t"],
      ["set_extension", "a", "b"],
      ["set_body", 0, ""],
      ["respond", 200, "", ""],
      ["is_leader"],
    ]
    const run = await runSteps(steps, { hook: "on_request_complete" })
    const codes = run.results.map((result) => BigInt.asIntN(32, result ?? 0n))
    assert.deepEqual(codes, [...new Array(steps.length - 1).fill(BigInt(PERMISSION)), 1n])
  })
})

/** One that takes an identity. */
class ForgivingExchange extends RecordingExchange {
  readonly identities: [string, Json][] = []
  override setIdentity(field = "", value: Json = null): void {
    this.identities.push([field, value])
  }
}
