import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import type { HookName } from "../../../../src/hooks.ts"
import type { GrantedService } from "../../../../src/host/services.ts"
import { toParams } from "../../../../src/sandbox/jail/messages/call-params.ts"
import type { Json, Side } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"

describe("toParams of a request", () => {
  it("tells all there is to see of the request", () => {
    const exchange = new RecordingExchange("/a")
    exchange.lists.request.append("x-two", "2")
    exchange.extensions.set("other.key", "value")
    assert.deepEqual(requestParams(exchange), {
      method: "GET",
      path: "/a",
      query: "a=1&b=%20",
      scheme: "http",
      host: "example.com:8080",
      client_address: "192.0.2.1",
      request_id: "0123456789abcdef0123456789abcdef",
      upgrade: "websocket",
      user: { id: "ada", claims: {} },
      tenant_id: "t1",
      site_id: null,
      headers: [
        ["x-one", "1"],
        ["x-two", "2"],
      ],
      extensions: { "other.key": "value" },
    })
  })

  it("adds the response, in on_response alone", () => {
    const exchange = new RecordingExchange("/a", "response")
    exchange.lists.response.append("content-type", "text/html")
    exchange.bodies.response = Buffer.from("page")
    const params = requestParams(exchange, "on_response", "response_body")
    const { status, response_headers, response_body, body, path } = params
    assert.deepEqual(
      [status, response_headers, response_body, body, path],
      [200, [["content-type", "text/html"]], { text: "page" }, undefined, "/a"],
    )
    const before = requestParams(exchange, "on_request", "request_body", "response_body")
    assert.deepEqual([before.response_body, before.status, before.response_headers], [undefined, undefined, undefined])
  })

  it("sends the bodies that were declared, as text where they are UTF-8, otherwise as base64", () => {
    const exchange = new RecordingExchange("/")
    assert.equal(requestParams(exchange).body, undefined)
    assert.equal(requestParams(exchange, "on_request", "response_body").body, undefined)
    for (const [bytes, param] of [
      ["", { text: "" }],
      ["é\0\ufeff", { text: "é\0\ufeff" }],
      ["\ufeffa", { text: "\ufeffa" }],
      [[0xff, 0x00], { base64: "/wA=" }],
      [[0xed, 0xa0, 0x80], { base64: "7aCA" }],
    ] as const) {
      exchange.bodies.request = Uint8Array.from(Buffer.from(bytes as string))
      assert.deepEqual(requestParams(exchange, "on_request", "request_body").body, param)
    }
  })

  it("sends 64 KiB of a body, and of a longer one only how long it is", () => {
    const exchange = new RecordingExchange("/")
    exchange.bodies.request = Buffer.alloc(65_536, "x")
    assert.deepEqual(requestParams(exchange, "on_request", "request_body").body, { text: "x".repeat(65_536) })
    exchange.bodies.request = Buffer.alloc(65_537, 255)
    assert.deepEqual(requestParams(exchange, "on_request", "request_body").body, { bytes: 65_537 })
  })

  it("leaves out a body that nobody buffered, and passes on any other failure", () => {
    const unreadable = new UnreadableExchange("E_BODY_NOT_DECLARED")
    assert.equal("body" in requestParams(unreadable, "on_request", "request_body"), false)
    const params = requestParams(unreadable, "on_response", "request_body", "response_body")
    assert.equal("response_body" in params || "body" in params, false)
    const broken = new UnreadableExchange("E_LIMIT_MESSAGE")
    assert.throws(() => requestParams(broken, "on_request", "request_body"), { code: "E_LIMIT_MESSAGE" })
  })

  it("gives names that objects have by themselves no meaning", () => {
    const exchange = new RecordingExchange("/")
    exchange.extensions.set("__proto__", "x")
    assert.equal(JSON.stringify(requestParams(exchange).extensions), '{"__proto__":"x"}')
  })
})

describe("toParams of an event", () => {
  it("names the arguments of each hook", () => {
    const entry = { html: "<p>", headers: [], etag: "e", tags: [], created_at_ms: 1 }
    for (const [hook, params, named] of [
      ["on_server_start", [{ threshold: 80 }], { config: { threshold: 80 } }],
      ["on_server_stop", [], null],
      ["on_reload", [], null],
      ["cleanup", [], null],
      ["on_request_complete", [{ path: "/p" }], { path: "/p" }],
      ["on_queue_message", [{ id: "m1" }], { id: "m1" }],
      ["on_cache_write", ["k", ["a"]], { key: "k", tags: ["a"] }],
      ["on_cache_invalidate", ["/a/*", 2], { pattern: "/a/*", count: 2 }],
      ["transform", ["s", "p", {}], { source: "s", path: "p", context: {} }],
      ["cache_get", ["k"], { key: "k" }],
      ["cache_set", ["k", entry, null], { key: "k", entry, ttl_ms: null }],
      ["cache_delete", ["k"], { key: "k" }],
      ["cache_invalidate_tag", ["t"], { tag: "t" }],
      ["cache_invalidate_path", ["/**"], { path: "/**" }],
      ["cache_is_healthy", [], null],
    ] as const) {
      assert.deepEqual(toParams(event(hook, params), new RecordingServices()), named, hook)
    }
  })
})

/** Grants only these. */
class Granting extends RecordingServices {
  readonly #services: readonly GrantedService[]
  constructor(services: readonly GrantedService[]) {
    super()
    this.#services = services
  }
  override granted(service?: GrantedService): boolean {
    return this.#services.some((granted) => granted === service)
  }
}

class UnreadableExchange extends RecordingExchange {
  readonly #code: "E_BODY_NOT_DECLARED" | "E_LIMIT_MESSAGE"
  constructor(code: "E_BODY_NOT_DECLARED" | "E_LIMIT_MESSAGE") {
    super("/")
    this.#code = code
  }
  override body(side: Side): Uint8Array {
    throw new PluginError(this.#code, "guest", `no ${side} body`)
  }
}

function requestParams(
  exchange: RecordingExchange,
  hook: HookName = "on_request",
  ...granted: GrantedService[]
): { readonly [name: string]: Json } {
  return toParams({ ...request(exchange), hook }, new Granting(granted)) as { readonly [name: string]: Json }
}
