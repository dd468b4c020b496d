import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { RequestContext } from "../../src/message/request-context.ts"
import { WindowCounter } from "../../src/middleware/rate-counter.ts"
import { RateCounters } from "../../src/middleware/rate-counters.ts"
import { createRateLimits } from "../../src/middleware/rate-limit.ts"
import { createContext, middlewareConfig, type RequestInit, serve } from "./serve.ts"

type Deps = Parameters<typeof createRateLimits>[1]

function rateLimits(section: object, deps?: Deps) {
  const session = { secrets: ["env:SESSION_KEY"], login_paths: ["/login"] }
  const rest = { session, tenant: { by: ["header:x-tenant"], unknown: "pass" } }
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

describe("rate-limit by user, claim and tenant", () => {
  const ada = { id: "ada", claims: { org: "acme", plan: 7 } }
  const grace = { id: "grace", claims: { org: "acme", plan: "7" } }

  it("runs at 450, behind authentication and the tenant resolver, and at 200 only when a rule needs it", () => {
    const where = (section: object) => rateLimits(section).map(({ name, priority }) => `${name} ${priority}`)
    assert.deepEqual(where({}), ["rate-limit 200"])
    assert.deepEqual(where({ by: "user" }), ["rate-limit-identity 450"])
    const rules = [{ path: "/**", requests: 1, window: "1m", by: "tenant" }]
    assert.deepEqual(where({ rules }), ["rate-limit 200", "rate-limit-identity 450"])
  })

  it("counts each user, whatever the address", async () => {
    const request = client({ requests: 1, by: "user" })
    assert.equal((await request({ user: ada, clientAddress: "192.0.2.1" })).status, 200)
    assert.equal((await request({ user: ada, clientAddress: "192.0.2.2" })).status, 429)
    assert.equal((await request({ user: grace, clientAddress: "192.0.2.2" })).status, 200)
  })

  it("counts everybody with the same claim together, and tells a number from a text", async () => {
    const byOrg = client({ requests: 1, by: "claim:org" })
    assert.deepEqual([(await byOrg({ user: ada })).status, (await byOrg({ user: grace })).status], [200, 429])
    const byPlan = client({ requests: 1, by: "claim:plan" })
    assert.deepEqual([(await byPlan({ user: ada })).status, (await byPlan({ user: grace })).status], [200, 200])
  })

  it("counts each tenant", async () => {
    const resolver = {
      name: "tenant",
      priority: 400,
      kind: "built-in" as const,
      onRequest(context: RequestContext) {
        context.tenantId = context.requestHeaders.get("x-tenant") ?? null
      },
    }
    const limits = rateLimits({ requests: 1, by: "tenant" })
    const request = (...names: string[]) => {
      const headers = names.map((name): [string, string] => ["X-Tenant", name])
      return serve([...limits, resolver], createContext({ headers }))
    }
    assert.deepEqual([(await request("a")).status, (await request("a")).status], [200, 429])
    assert.deepEqual([(await request("b")).status, (await request()).status, (await request()).status], [200, 200, 429])
  })

  it("counts by client when there is no such user, claim or tenant, or it is no short text or number", async () => {
    for (const org of [undefined, null, "", {}, ["acme"], "x".repeat(300)]) {
      const request = client({ requests: 1, by: "claim:org" })
      const user = { id: "ada", claims: org === undefined ? {} : { org } }
      assert.equal((await request({ user })).status, 200)
      assert.equal((await request({ user: null })).status, 429, JSON.stringify(org))
      assert.equal((await request({ user, clientAddress: "192.0.2.9" })).status, 200)
    }
  })

  it("never looks a claim up in the prototype", async () => {
    const request = client({ requests: 1, by: "claim:constructor" })
    assert.equal((await request({ user: ada, clientAddress: "192.0.2.1" })).status, 200)
    assert.equal((await request({ user: ada, clientAddress: "192.0.2.2" })).status, 200)
  })

  it("does not let an id or a claim pass for a client's address, or for each other", async () => {
    const request = client({ requests: 1, by: "user" })
    await request({ clientAddress: "192.0.2.1" })
    assert.equal((await request({ user: { id: "192.0.2.1", claims: {} } })).status, 200)
  })

  it("tells in one list where the client stands by all rules, refused or not", async () => {
    const rules = [
      { path: "/**", requests: 1, window: "10s", by: "user" },
      { path: "/login", requests: 9, window: "1m" },
    ]
    const { request } = clockedClient({ requests: 5, rules })
    const first = await request({ user: ada, path: "/login" })
    assert.equal(first.headers.get("ratelimit-policy"), '"default";q=5;w=60, "rule-2";q=9;w=60, "rule-1";q=1;w=10')
    assert.equal(first.headers.get("ratelimit"), '"default";r=4;t=60, "rule-2";r=8;t=60, "rule-1";r=0;t=10')
    assert.equal(first.headers.getAll("ratelimit").length, 1)
    const refused = await request({ user: ada })
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "10"])
    assert.equal(refused.headers.get("ratelimit"), '"default";r=3;t=60, "rule-1";r=0;t=10')
  })

  it("counts each of two rules that say the same for itself, and all of them after a reload", async () => {
    using counters = new RateCounters(undefined, { now: () => 0 })
    const createCounter = counters.create.bind(counters)
    const rule = { path: "/**", requests: 3, window: "1m" }
    const before = client({ requests: 9, rules: [rule, rule] }, { createCounter })
    assert.match((await before()).headers.get("ratelimit")!, /"rule-1";r=2;t=60, "rule-2";r=2;/)
    const other = { path: "/other", requests: 1, window: "1m" }
    const after = client({ requests: 9, rules: [other, rule, rule] }, { createCounter })
    assert.match((await after()).headers.get("ratelimit")!, /"default";r=7;.*"rule-2";r=1;t=60, "rule-3";r=1;/)
    assert.match((await before()).headers.get("ratelimit")!, /"default";r=6;/)
  })
})
