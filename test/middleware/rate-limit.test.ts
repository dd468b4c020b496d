import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { WindowCounter } from "../../src/middleware/rate-counter.ts"
import { createRateLimits } from "../../src/middleware/rate-limit.ts"
import { createContext, middlewareConfig, type RequestInit, serve } from "./serve.ts"

type Deps = Parameters<typeof createRateLimits>[1]

function rateLimits(section: object, deps?: Deps) {
  const rest = { auth: {}, tenant: { by: ["header:x-tenant"], unknown: "pass" } }
  const config = middlewareConfig({ rate_limit: { requests: 2, window: "1m", ...section }, ...rest })
  return createRateLimits(config.rate_limit!, deps)
}

function client(section: object, deps?: Deps) {
  const middlewares = rateLimits(section, deps)
  return (init: RequestInit = {}) => serve(middlewares, createContext(init))
}

/** A client, and the clock its windows go by. */
function clockedClient(section: object) {
  const clock = { ms: 0 }
  const createCounter = (requests: number, windowMs: number) =>
    new WindowCounter(requests, windowMs, { now: () => clock.ms })
  return { clock, request: client(section, { createCounter }) }
}

describe("rate-limit", () => {
  it("answers without a promise", () => {
    assert.equal(rateLimits({})[0]!.onRequest!(createContext()), undefined)
  })

  it("tells on every response where the client stands", async () => {
    const { clock, request } = clockedClient({})
    const first = await request()
    assert.equal(first.status, 200)
    assert.equal(first.headers.get("ratelimit-policy"), '"default";q=2;w=60')
    assert.equal(first.headers.get("ratelimit"), '"default";r=1;t=60')
    clock.ms += 20_500
    assert.equal((await request()).headers.get("ratelimit"), '"default";r=0;t=40')
  })

  it("refuses what is over the limit, with the time to wait, until the window ends", async () => {
    const { clock, request } = clockedClient({})
    await request()
    await request()
    clock.ms += 10_000
    const refused = await request()
    assert.deepEqual([refused.status, refused.code], [429, "E_RATE_LIMITED"])
    assert.equal(refused.headers.get("retry-after"), "50")
    assert.equal(refused.headers.get("ratelimit"), '"default";r=0;t=50')
    clock.ms += 49_999
    assert.equal((await request()).headers.get("retry-after"), "1")
    clock.ms += 1
    assert.equal((await request()).headers.get("ratelimit"), '"default";r=1;t=60')
  })

  it("tells IPv4 clients apart by their address", async () => {
    const request = client({ requests: 1 })
    assert.equal((await request({ clientAddress: "192.0.2.1" })).status, 200)
    assert.equal((await request({ clientAddress: "192.0.2.2" })).status, 200)
    assert.equal((await request({ clientAddress: "192.0.2.1" })).status, 429)
  })

  it("counts an IPv6 network as one client, however its addresses are written", async () => {
    const request = client({ requests: 1 })
    assert.equal((await request({ clientAddress: "2001:db8:1:2::1" })).status, 200)
    assert.equal((await request({ clientAddress: "2001:db8:1:2:ffff:ffff:ffff:ffff" })).status, 429)
    assert.equal((await request({ clientAddress: "2001:0DB8:1:2:0:0:0:9" })).status, 429)
    assert.equal((await request({ clientAddress: "2001:db8:1:3::1" })).status, 200)
  })

  it("takes the IPv6 prefix from the configuration, also between two bytes", async () => {
    const request = client({ requests: 1, ipv6_prefix: 60 })
    assert.equal((await request({ clientAddress: "2001:db8:0:10::1" })).status, 200)
    assert.equal((await request({ clientAddress: "2001:db8:0:1f::1" })).status, 429)
    assert.equal((await request({ clientAddress: "2001:db8:0:20::1" })).status, 200)
  })

  it("counts an IPv4-mapped address as the IPv4 address it is", async () => {
    const request = client({ requests: 1 })
    assert.equal((await request({ clientAddress: "192.0.2.1" })).status, 200)
    assert.equal((await request({ clientAddress: "::ffff:192.0.2.1" })).status, 429)
    assert.equal((await request({ clientAddress: "::ffff:192.0.2.2" })).status, 200)
  })

  it("counts by a header when configured, and by client when it is missing, empty or too long", async () => {
    const request = client({ requests: 1, by: "header:x-api-key" })
    const withKey = (key: string) => request({ headers: [["X-Api-Key", key]] })
    assert.equal((await withKey("one")).status, 200)
    assert.equal((await withKey("two")).status, 200)
    assert.equal((await withKey("one")).status, 429)
    assert.equal((await request()).status, 200)
    assert.equal((await request()).status, 429)
    assert.equal((await withKey("")).status, 429)
    assert.equal((await withKey("x".repeat(257))).status, 429)
  })

  it("does not let a header value pass for a client's address", async () => {
    const request = client({ requests: 1, by: "header:x-api-key" })
    await request({ clientAddress: "192.0.2.1" })
    assert.equal((await request({ headers: [["x-api-key", "192.0.2.1"]] })).status, 200)
  })

  it("counts a request against every rule that matches its path", async () => {
    const request = client({ requests: 3, rules: [{ path: "/login", requests: 1, window: "10s" }] })
    const login = await request({ path: "/login" })
    assert.equal(login.headers.get("ratelimit-policy"), '"default";q=3;w=60, "rule-1";q=1;w=10')
    assert.equal(login.headers.get("ratelimit"), '"default";r=2;t=60, "rule-1";r=0;t=10')
    const refused = await request({ path: "/login" })
    assert.equal(refused.status, 429)
    assert.equal(refused.headers.get("retry-after"), "10")
    assert.equal((await request({ path: "/other" })).headers.get("ratelimit"), '"default";r=0;t=60')
    assert.equal((await request({ path: "/other" })).status, 429)
  })

  it("asks to wait for the last of the windows that are used up", async () => {
    const request = client({ requests: 1, rules: [{ path: "/**", requests: 1, window: "10s" }] })
    await request()
    assert.equal((await request()).headers.get("retry-after"), "60")
  })

  it("waits for a counter that answers later", async () => {
    let used = 0
    const createCounter = (requests: number) => ({
      async consume() {
        used++
        return { remaining: Math.max(0, requests - used), resetMs: 5_000, exceeded: used > requests }
      },
    })
    const request = client({ requests: 1 }, { createCounter })
    assert.equal((await request()).headers.get("ratelimit"), '"default";r=0;t=5')
    assert.equal((await request()).status, 429)
  })
})
