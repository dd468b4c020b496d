import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"
import { loadBext } from "./bext-guest.ts"
import { guestOf, runSteps, type Step } from "./run-steps.ts"

const [INVALID, PERMISSION, MESSAGE, FETCH_FAILED] = [-2, -3, -4, -16]

describe("queue_push", () => {
  it("pushes JSON with a key and a delay, and gives the message's id", async () => {
    const { text, services } = await runSteps(
      [
        ["queue_push", "mail", '{"to":"ada"}', "ada", 1000n],
        ["queue_push", "mail", "1", "", 0n],
        ["queue_push", "mail", "1", -1, 0, 0n],
      ],
      { call: { tenant: "t1" } },
    )
    assert.deepEqual([text(0), text(1), text(2)], ["message 1", "message 2", "message 3"])
    assert.deepEqual(services.messages, [
      { queue: "mail", value: '{"to":"ada"}', key: "ada", delayMs: 1000, tenant: "t1" },
      { queue: "mail", value: "1", key: null, delayMs: 0, tenant: "t1" },
      { queue: "mail", value: "1", key: null, delayMs: 0, tenant: "t1" },
    ])
  })

  it("gives refusals back", async () => {
    const { text } = await runSteps([
      ["queue_push", "other", "1", "", 0n],
      ["last_error"],
      ["queue_push", "mail", Buffer.from([0xff]), "", 0n],
    ])
    assert.deepEqual([text(0), text(1), text(2)], [PERMISSION, "E_PERMISSION: other was not granted", INVALID])
  })
})

describe("http_fetch", () => {
  it("fetches what the JSON says, and keeps the body for http_fetch_body", async () => {
    const ask = { url: "https://example.com/ä", method: "post", headers: [["a", "b"]], body: "öut", redirect: "manual" }
    const run = await runSteps([
      ["http_fetch_body"],
      ["http_fetch", JSON.stringify(ask)],
      ["http_fetch_body"],
      ["http_fetch_body"],
    ])
    assert.equal(run.text(0), undefined)
    assert.deepEqual(JSON.parse(String(run.text(1))), {
      url: "https://example.com/ä",
      status: 203,
      headers: [["x-from", "afar"]],
    })
    assert.deepEqual([run.text(2), run.text(3)], ["fetchéd", "fetchéd"])
    const [sent] = run.services.requests
    assert.deepEqual({ ...sent, body: Buffer.from(sent?.body ?? []).toString() }, { ...ask, method: "POST" })
  })

  it("has defaults, and takes bodies in base64", async () => {
    const { services } = await runSteps([
      ["http_fetch", '{"url":"u"}'],
      ["http_fetch", '{"url":"u","method":"PUT","body_base64":"AP8="}'],
      ["http_fetch", '{"url":"u","method":"PUT","body_base64":""}'],
    ])
    assert.deepEqual(services.requests[0], { url: "u", method: "GET", headers: [], body: null, redirect: "follow" })
    assert.deepEqual(
      services.requests.slice(1).map(({ body }) => [...(body ?? [])]),
      [[0, 255], []],
    )
  })

  for (const [what, json] of [
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["no URL", "{}"],
    ["a URL that is no text", '{"url":1}'],
    ["an unknown field", '{"url":"u","header":[]}'],
    ["a field of every object", '{"url":"u","__proto__":{}}'],
    ["a method with spaces", '{"url":"u","method":"GET /"}'],
    ["an empty method", '{"url":"u","method":""}'],
    ["a long method", `{"url":"u","method":"${"A".repeat(33)}"}`],
    ["headers as an object", '{"url":"u","headers":{"a":"b"}}'],
    ["headers that are no pairs", '{"url":"u","headers":[["a"]]}'],
    ["headers that are no texts", '{"url":"u","headers":[["a",1]]}'],
    ["a body that is no text", '{"url":"u","body":{}}'],
    ["two bodies", '{"url":"u","body":"a","body_base64":"YQ=="}'],
    ["base64 without padding", '{"url":"u","body_base64":"YQ"}'],
    ["base64 of another alphabet", '{"url":"u","body_base64":"-_-_"}'],
    ["an unknown redirect", '{"url":"u","redirect":"maybe"}'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { text, services } = await runSteps([["http_fetch", json], ["last_error"]])
      assert.equal(text(0), INVALID)
      assert.match(String(text(1)), /^E_GUEST_RESULT_INVALID: http_fetch: /)
      assert.deepEqual(services.requests, [])
    })
  }

  it("gives refusals back, and forgets the body of the fetch before", async () => {
    const services = new RecordingServices()
    const { respond } = services
    services.respond = async (asked, signal) => {
      if (asked.url === "bad") throw new PluginError("E_FETCH_FAILED", "guest", "refused")
      return respond(asked, signal)
    }
    const steps: Step[] = [
      ["http_fetch", '{"url":"good"}'],
      ["http_fetch", '{"url":"bad"}'],
      ["http_fetch_body"],
      ["last_error"],
      ["http_fetch", '{"url":"good"}'],
      ["http_fetch", "{}"],
      ["http_fetch_body"],
    ]
    const { text } = await runSteps(steps, { services })
    assert.deepEqual([text(1), text(2), text(3)], [FETCH_FAILED, undefined, "E_FETCH_FAILED: refused"])
    assert.deepEqual([text(5), text(6)], [INVALID, "fetchéd"])
  })

  it("refuses an answer that is too large for the guest", async () => {
    const services = new RecordingServices()
    const headers: [string, string][] = [["a", "x".repeat(70_000)]]
    services.respond = async ({ url }) => ({ url, status: 200, headers, body: Buffer.alloc(70_000) })
    const { text } = await runSteps([["http_fetch", '{"url":"u"}'], ["http_fetch_body"]], { services })
    assert.deepEqual([text(0), text(1)], [MESSAGE, MESSAGE])
  })

  it("ends the call when the host fails, not the plugin's request", async () => {
    const services = new RecordingServices()
    services.respond = async () => {
      throw new TypeError("a bug")
    }
    await assert.rejects(runSteps([["http_fetch", '{"url":"u"}']], { services }), { code: "E_INTERNAL" })
  })

  it("does not keep the body beyond its call", async () => {
    const guest = guestOf([["http_fetch_body"], ["http_fetch", '{"url":"u"}'], ["http_fetch_body"]], {})
    const services = new RecordingServices()
    await using sandbox = await loadBext(guest, { services })
    for (let i = 0; i < 2; i++) {
      await sandbox.call(request(new RecordingExchange("/")))
      const memory = Buffer.from(services.storage(null).get("memory") as Uint8Array)
      assert.equal(memory.readBigInt64LE(24_576), 0n)
    }
  })
})

describe("waiting functions of which nothing was granted", () => {
  it("are refused at once, in a guest that is entered plainly", async () => {
    const services = new UngrantedServices()
    const steps: Step[] = [
      ["http_fetch", '{"url":"u"}'],
      ["last_error"],
      ["queue_push", "mail", "1", "", 0n],
      ["last_error"],
    ]
    await using sandbox = await loadBext(guestOf(steps, {}), { services })
    assert.equal(sandbox.call(request(new RecordingExchange("/"))), undefined)
    const { text } = await runSteps(steps, { services })
    assert.deepEqual([text(0), text(2)], [PERMISSION, PERMISSION])
    assert.equal(text(1), "E_PERMISSION: http_fetch: no URL was granted")
    assert.equal(text(3), "E_PERMISSION: queue_push: no queue was granted")
    assert.deepEqual([services.requests, services.messages], [[], []])
  })

  it("are refused at once, in a guest that may wait elsewhere", async () => {
    const services = new UngrantedServices()
    const { text } = await runSteps([["storage_flush"], ["http_fetch", '{"url":"u"}']], { services })
    assert.equal(text(1), PERMISSION)
  })
})

describe("waiting functions in an allocator", () => {
  it("end the call before anything happens", async () => {
    const allocator = `(func (export "bext_alloc") (param i32) (result i32)
      (drop (call $queue_push (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 0)))
      (i32.const 32768))
      (data (i32.const 0) "mail1")
      (func (export "on_reload") (param i32 i32) (result i32)
        (drop (call $queue_push (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 0)))
        (i32.const 0))`
    const services = new RecordingServices()
    await using sandbox = await loadBext(guestOf([["get_path"], ["queue_push", "", "", "", 0n]], { allocator }), {
      services,
    })
    await assert.rejects(async () => sandbox.call(request(new RecordingExchange("/"))), { code: "E_GUEST_TRAPPED" })
    await assert.rejects(async () => sandbox.call(event("on_reload", [])), { code: "E_GUEST_TRAPPED" })
    assert.deepEqual(services.messages, [])
  })
})

class UngrantedServices extends RecordingServices {
  override granted(): boolean {
    return false
  }
}
