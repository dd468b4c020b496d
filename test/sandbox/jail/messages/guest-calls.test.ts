import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { BextError, type ErrorCode, PluginError } from "../../../../src/errors.ts"
import { errorToJson, type GuestCallContext, runGuestCall } from "../../../../src/sandbox/jail/messages/guest-calls.ts"
import { WrittenBody } from "../../../../src/sandbox/jail/messages/written-body.ts"
import type { Json } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { LIMITS } from "../../../contracts/sandbox-contract.ts"

describe("runGuestCall: storage", () => {
  it("keeps texts and bytes as what they are", async () => {
    const context = contextOf()
    assert.equal(await run("storage.get", { key: "a" }, context), null)
    assert.equal(await run("storage.set", { key: "a", value: "é\0" }, context), null)
    assert.equal(await run("storage.get", { key: "a" }, context), "é\0")
    assert.equal(await run("storage.set", { key: "a", value: { base64: "/wA=" }, ttl_ms: null }, context), null)
    assert.deepEqual(await run("storage.get", { key: "a" }, context), { base64: "/wA=" })
    assert.equal(await run("storage.delete", { key: "a" }, context), true)
    assert.equal(await run("storage.delete", { key: "a" }, context), false)
  })

  it("lists keys, counts, compares, and waits for the disk", async () => {
    const context = contextOf()
    assert.equal(await run("storage.incr", { key: "n" }, context), 1)
    assert.equal(await run("storage.incr", { key: "n", by: -3 }, context), -2)
    assert.equal(await run("storage.cas", { key: "c", expected: null, value: "1" }, context), true)
    assert.equal(await run("storage.cas", { key: "c", value: "2" }, context), false)
    assert.equal(await run("storage.cas", { key: "c", expected: "1", value: "2" }, context), true)
    assert.deepEqual(await run("storage.keys", null, context), ["n", "c"])
    assert.deepEqual(await run("storage.keys", { prefix: "c", limit: 5 }, context), ["c"])
    assert.equal(await run("storage.flush", null, context), null)
  })

  it("belongs to the tenant of the call", async () => {
    const services = new RecordingServices()
    await run("storage.set", { key: "a", value: "x" }, contextOf({ services, tenant: "t1" }))
    assert.equal(await run("storage.get", { key: "a" }, contextOf({ services, tenant: "t2" })), null)
    assert.equal(await run("storage.get", { key: "a" }, contextOf({ services })), null)
    assert.deepEqual([...services.partitions.keys()], ["t1", "t2", null])
  })

  it("refuses parameters of another type before anything happens", async () => {
    for (const [method, params, message] of [
      ["storage.get", null, /^p: storage\.get: there is no key; it is a text \[/],
      ["storage.get", [], /storage\.get: params is not an object/],
      ["storage.get", "key", /params is not an object/],
      ["storage.get", { key: 1 }, /key is not a text/],
      ["storage.get", JSON.parse('{"__proto__":{"key":"a"}}'), /there is no key/],
      ["storage.set", { key: "a" }, /there is no value; it is a text or \{"base64": text\}/],
      ["storage.set", { key: "a", value: null }, /there is no value/],
      ["storage.set", { key: "a", value: 1 }, /value is neither/],
      ["storage.set", { key: "a", value: ["b"] }, /value is neither/],
      ["storage.set", { key: "a", value: { base64: "-_==" } }, /value is not base64/],
      ["storage.set", { key: "a", value: { base64: "AB==" } }, /value is not base64/],
      ["storage.set", { key: "a", value: "b", ttl_ms: "1" }, /ttl_ms is not a number/],
      ["storage.set", { key: "a", value: "b", ttl_ms: Number.POSITIVE_INFINITY }, /ttl_ms is not a number/],
      ["storage.delete", { key: {} }, /key is not a text/],
      ["storage.keys", { prefix: 1 }, /prefix is not a text/],
      ["storage.keys", { limit: 1.5 }, /limit is not a whole number/],
      ["storage.incr", { key: "a", by: 0.5 }, /by is not a whole number/],
      ["storage.incr", { key: "a", by: 2 ** 53 }, /by is not a whole number/],
      ["storage.incr", { key: "a", by: "1" }, /by is not a whole number/],
      ["storage.cas", { key: "a", expected: 1, value: "b" }, /expected is neither/],
    ] as const) {
      const services = new RecordingServices()
      await refuses(method, params as Json, "E_GUEST_RESULT_INVALID", message, contextOf({ services }))
      assert.deepEqual([...services.storage(null).keys("", 10)], [])
    }
  })

  it("refuses values over the limit in both directions", async () => {
    const long = "x".repeat(LIMITS.messageBytes + 1)
    const context = contextOf()
    const base64 = Buffer.from(long).toString("base64")
    await refuses("storage.set", { key: "a", value: long }, "E_LIMIT_MESSAGE", /value has 65537 bytes/)
    await refuses("storage.set", { key: "a", value: { base64 } }, "E_LIMIT_MESSAGE", /value has 65537 bytes/)
    await refuses("storage.get", { key: long }, "E_LIMIT_MESSAGE", /key has 65537 bytes/)
    for (const stored of [long, Buffer.from(long)]) {
      context.services.storage(null).set("long", stored, 0)
      await refuses("storage.get", { key: "long" }, "E_LIMIT_MESSAGE", /the value has 65537 bytes/, context)
    }
  })
})

describe("runGuestCall: fetch", () => {
  it("fetches, and tells the answer as text or base64", async () => {
    const services = new RecordingServices()
    const context = contextOf({ services })
    assert.deepEqual(await run("fetch", { url: "https://a.example/" }, context), {
      url: "https://a.example/",
      status: 203,
      headers: [["x-from", "afar"]],
      body: { text: "fetchéd" },
    })
    const [sent] = services.requests
    assert.deepEqual(sent, { url: "https://a.example/", method: "GET", headers: [], body: null, redirect: "follow" })
    services.respond = async ({ url }) => ({ url, status: 200, headers: [], body: Uint8Array.of(255) })
    const params = { url: "u", method: "post", headers: { "x-a": ["1", "2"] }, body: "é", redirect: "manual" }
    const answer = (await run("fetch", params, context)) as { body: Json }
    assert.deepEqual(answer.body, { base64: "/w==" })
    const [, second] = services.requests
    assert.deepEqual(
      [second?.method, second?.headers, Buffer.from(second?.body ?? []).toString(), second?.redirect],
      [
        "POST",
        [
          ["x-a", "1"],
          ["x-a", "2"],
        ],
        "é",
        "manual",
      ],
    )
    await run("fetch", { url: "u", method: "PUT", body: { base64: "/w==" } }, context)
    assert.deepEqual([...(services.requests[2]?.body ?? [])], [255])
  })

  it("ends with the call it belongs to", async () => {
    const services = new RecordingServices()
    services.respond = (_, signal) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(new PluginError("E_FETCH_FAILED", "p", "x"))),
      )
    const abort = new AbortController()
    const fetching = run("fetch", { url: "u" }, contextOf({ services, signal: abort.signal }))
    abort.abort()
    await assert.rejects(fetching, { code: "E_FETCH_FAILED" })
  })

  it("refuses a request that is not one", async () => {
    for (const [params, message] of [
      [{}, /^p: fetch: there is no url; it is a text \[/],
      [{ url: 7 }, /url is not a text/],
      [{ url: "u", method: "GET /" }, /method is not the name of one/],
      [{ url: "u", method: "" }, /method is not the name of one/],
      [{ url: "u", method: 7 }, /method is not a text/],
      [{ url: "u", headers: "x" }, /headers is not an object/],
      [{ url: "u", headers: [["a", 1]] }, /headers\["a"\] is not a text/],
      [{ url: "u", body: 7 }, /body is neither/],
      [{ url: "u", redirect: "maybe" }, /redirect is none of follow, manual, error/],
    ] as const) {
      const services = new RecordingServices()
      await refuses("fetch", params, "E_GUEST_RESULT_INVALID", message, contextOf({ services }))
      assert.equal(services.requests.length, 0)
    }
  })
})

describe("runGuestCall: queue, secret, metric, log", () => {
  it("pushes any JSON value, under the call's tenant", async () => {
    const services = new RecordingServices()
    const context = contextOf({ services, tenant: "t1" })
    assert.equal(
      await run("queue.push", { queue: "mail", value: { to: "ada" }, key: "k", delay_ms: 5 }, context),
      "message 1",
    )
    assert.equal(await run("queue.push", { queue: "mail", value: null }, context), "message 2")
    assert.deepEqual(services.messages, [
      { queue: "mail", value: '{"to":"ada"}', key: "k", delayMs: 5, tenant: "t1" },
      { queue: "mail", value: "null", key: null, delayMs: 0, tenant: "t1" },
    ])
  })

  it("refuses a push that is not one, and one that was not granted", async () => {
    await refuses("queue.push", { queue: "mail" }, "E_GUEST_RESULT_INVALID", /there is no value/)
    await refuses("queue.push", { value: 1 }, "E_GUEST_RESULT_INVALID", /there is no queue/)
    await refuses("queue.push", { queue: "mail", value: 1, key: 7 }, "E_GUEST_RESULT_INVALID", /key is not a text/)
    await refuses("queue.push", { queue: "mail", value: 1, delay_ms: "5" }, "E_GUEST_RESULT_INVALID", /delay_ms/)
    await refuses("queue.push", { queue: "other", value: 1 }, "E_PERMISSION", /other was not granted/)
  })

  it("tells a secret that was granted", async () => {
    assert.equal(await run("secret", { name: "KEY" }), "s3cret")
    await refuses("secret", { name: "OTHER" }, "E_PERMISSION", /OTHER was not granted/)
    await refuses("secret", {}, "E_GUEST_RESULT_INVALID", /there is no name/)
  })

  it("records samples, tags as text", async () => {
    const services = new RecordingServices()
    const context = contextOf({ services })
    assert.equal(await run("metric", { name: "hits", value: 2, tags: { path: "/", n: 7, ok: true } }, context), null)
    await run("metric", { name: "hits", value: 0.5 }, context)
    await run("metric", { name: "hits", value: 1, tags: JSON.parse('{"__proto__":"x"}') }, context)
    assert.deepEqual(services.metrics.slice(0, 2), [
      ["hits", 2, { path: "/", n: "7", ok: "true" }],
      ["hits", 0.5, {}],
    ])
    assert.equal(JSON.stringify(services.metrics[2]), '["hits",1,{"__proto__":"x"}]')
    for (const params of [
      { name: "hits" },
      { name: "hits", value: "1" },
      { name: "hits", value: Number.NaN },
      { name: 1, value: 1 },
      { name: "hits", value: 1, tags: [] },
      { name: "hits", value: 1, tags: { a: null } },
      { name: "hits", value: 1, tags: { a: {} } },
    ]) {
      await refuses("metric", params, "E_GUEST_RESULT_INVALID", /^p: metric: /)
    }
  })

  it("logs under one of four levels, info for any other", async () => {
    const services = new RecordingServices()
    const context = contextOf({ services })
    for (const level of ["debug", "warn", "error", "critical", "__proto__", null, undefined]) {
      await run("log", { message: "m", ...(level !== undefined && { level }) }, context)
    }
    assert.deepEqual(services.lines, ["debug m", "warn m", "error m", "info m", "info m", "info m", "info m"])
    await refuses("log", { message: 7 }, "E_GUEST_RESULT_INVALID", /message is not a text/)
    await refuses("log", { message: "m", level: 7 }, "E_GUEST_RESULT_INVALID", /level is not a text/)
  })
})

describe("runGuestCall: bodies", () => {
  it("reads pieces of a body, and nothing behind its end", async () => {
    const exchange = new RecordingExchange("/")
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))
    exchange.bodies.request = body
    const context = contextOf({ exchange })
    const read = async (offset: number, length: number) => {
      const piece = (await run("body.read", { side: "request", offset, length }, context)) as { base64: string }
      return Buffer.from(piece.base64, "base64")
    }
    assert.deepEqual(await read(0, 262_144), body.subarray(0, 262_144))
    assert.deepEqual(await read(262_144, 262_144), body.subarray(262_144))
    assert.equal((await read(300_000, 10)).length, 0)
    assert.equal((await read(Number.MAX_SAFE_INTEGER, 262_144)).length, 0)
    assert.equal((await read(5, 0)).length, 0)
  })

  it("refuses pieces that are none", async () => {
    const context = contextOf({ exchange: new RecordingExchange("/") })
    for (const [params, message] of [
      [{ offset: 0, length: 1 }, /side is none of request, response/],
      [{ side: "both", offset: 0, length: 1 }, /side is none of/],
      [{ side: "request", length: 1 }, /there is no offset/],
      [{ side: "request", offset: 0 }, /there is no length/],
      [{ side: "request", offset: -1, length: 1 }, /offset is below 0/],
      [{ side: "request", offset: 0, length: -1 }, /length is not 0 to 262144/],
      [{ side: "request", offset: 0, length: 262_145 }, /length is not 0 to 262144/],
      [{ side: "request", offset: 0.5, length: 1 }, /offset is not a whole number/],
      [{ side: "request", offset: "0", length: 1 }, /offset is not a whole number/],
      [{ side: "request", offset: 0, length: 2 ** 53 }, /length is not a whole number/],
    ] as const) {
      await refuses("body.read", params, "E_GUEST_RESULT_INVALID", message, context)
    }
  })

  it("needs a call with a request", async () => {
    const params = { side: "request", offset: 0, length: 1 }
    await refuses("body.read", params, "E_GUEST_RESULT_INVALID", /^p: body\.read: needs call, /)
    await refuses("body.write", { text: "x" }, "E_GUEST_RESULT_INVALID", /^p: body\.write: needs call, /)
  })

  it("collects what is written, up to the limit", async () => {
    const written = new WrittenBody("p", 10)
    const context = contextOf({ exchange: new RecordingExchange("/"), written })
    assert.ok(isUntouched(written))
    assert.equal(await run("body.write", { text: "" }, context), null)
    assert.equal(written.bytes?.length, 0)
    await run("body.write", { text: "é" }, context)
    await run("body.write", { base64: "/w==" }, context)
    await run("body.write", { text: "1234567" }, context)
    assert.deepEqual(Buffer.from(written.bytes ?? []), Buffer.from([0xc3, 0xa9, 0xff, ...Buffer.from("1234567")]))
    await refuses("body.write", { text: "8" }, "E_LIMIT_MESSAGE", /^p: body\.write: more than 10 bytes \[/, context)
    assert.equal(written.bytes?.length, 10)
  })

  it("refuses to write what is neither text nor base64, or both", async () => {
    const written = new WrittenBody("p", 10)
    const context = contextOf({ exchange: new RecordingExchange("/"), written })
    for (const params of [null, {}, { text: 7 }, { base64: "x" }, { base64: 7 }, { text: "a", base64: "AA==" }]) {
      await refuses("body.write", params, "E_GUEST_RESULT_INVALID", /^p: body\.write: /, context)
    }
    assert.ok(isUntouched(written))
  })
})

describe("runGuestCall: methods", () => {
  it("refuses methods that there are not, and names the one that was meant", async () => {
    await refuses(
      "storage.gett",
      null,
      "E_GUEST_PROTOCOL",
      /^p: the host has no method "storage\.gett"; did it mean storage\.get\?/,
    )
    for (const method of [
      "",
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "storage",
      "x".repeat(100_000),
    ]) {
      await refuses(method, {}, "E_GUEST_PROTOCOL", /^p: the host has no method .{2,200}$/)
    }
  })
})

describe("errorToJson", () => {
  it("tells a refusal, without the plugin's name and with the code once", () => {
    const refusal = new PluginError("E_STORAGE_KEY", "p", 'not a storage key: "a/b"', { cause: new Error("secret") })
    assert.deepEqual(errorToJson(refusal), { code: "E_STORAGE_KEY", message: 'not a storage key: "a/b"' })
  })

  it("tells nothing of what goes wrong inside the host", () => {
    const host = { code: "E_INTERNAL", message: "an error of the host" }
    for (const error of [
      new TypeError("cannot read /etc/bext/key"),
      new BextError("E_FILE_UNREADABLE", "/etc/bext/key"),
      new PluginError("E_INTERNAL", "p", "at /srv/bext/host.ts:7"),
      "text",
      null,
      undefined,
    ]) {
      assert.deepEqual(errorToJson(error), host)
    }
  })

  it("cuts long messages", () => {
    assert.equal(errorToJson(new PluginError("E_PERMISSION", "p", "x".repeat(100_000))).message.length, 2000)
  })
})

function isUntouched({ bytes }: WrittenBody): boolean {
  return bytes === null
}

function contextOf(parts: Partial<GuestCallContext> = {}): GuestCallContext {
  return {
    plugin: "p",
    services: new RecordingServices(),
    tenant: null,
    exchange: null,
    written: null,
    signal: new AbortController().signal,
    limits: LIMITS,
    ...parts,
  }
}

async function run(method: string, params: Json, context = contextOf()): Promise<Json> {
  return runGuestCall({ method, params, id: 1, call: null }, context)
}

async function refuses(
  method: string,
  params: Json,
  code: ErrorCode,
  message: RegExp,
  context?: GuestCallContext,
): Promise<void> {
  await assert.rejects(run(method, params, context), { name: "PluginError", code, message })
}
