import assert from "node:assert/strict"
import { test } from "node:test"
import { Breaker, type QuarantineStatus } from "../../src/plugins/breaker.ts"

function createBreaker() {
  const tripped: QuarantineStatus[] = []
  let recovered = 0
  const breaker = new Breaker({
    tripped: (status) => tripped.push(status),
    recovered: () => recovered++,
  })
  return { breaker, tripped, recovered: () => recovered }
}

/** `count` failures, spread over so many clients. */
function fail(breaker: Breaker, count: number, clients: number, nowMs = 0): void {
  for (let i = 0; i < count; i++) breaker.failed("on_request", "E_GUEST_THREW", `192.0.2.${i % clients}`, nowMs)
}

function succeed(breaker: Breaker, count: number, nowMs = 0): void {
  for (let i = 0; i < count; i++) breaker.succeeded("on_request", nowMs)
}

test("a plugin is taken out of service when half of fifty calls from five clients failed", () => {
  const { breaker, tripped } = createBreaker()
  succeed(breaker, 25)
  fail(breaker, 24, 5)
  assert.equal(tripped.length, 0)
  fail(breaker, 1, 1)
  assert.equal(breaker.status?.by, "breaker")
  assert.equal(breaker.status?.code, "E_GUEST_THREW")
  assert.match(tripped[0]!.reason, /^on_request: 25 of 50 calls failed, for 5 clients$/)
})

test("one crafted request, repeated, takes no plugin out of service", () => {
  const { breaker } = createBreaker()
  for (let i = 0; i < 10_000; i++) breaker.failed("on_request", "E_LIMIT_CPU", "192.0.2.1", i / 100)
  assert.equal(breaker.status, null)
})

test("the many addresses of one IPv6 site are one client", () => {
  const { breaker } = createBreaker()
  for (let i = 0; i < 1000; i++) breaker.failed("on_request", "E_GUEST_THREW", `2001:db8::${i.toString(16)}`, 0)
  assert.equal(breaker.status, null)
})

test("four clients that fail do not outvote the others, however often they try", () => {
  const { breaker } = createBreaker()
  fail(breaker, 10_000, 4)
  assert.equal(breaker.status, null)
})

test("failures of five clients that repeat themselves count only so far against many successes", () => {
  const { breaker } = createBreaker()
  succeed(breaker, 60)
  fail(breaker, 10_000, 5)
  assert.equal(breaker.status, null)
})

test("what is not the guest's doing does not count", () => {
  const { breaker } = createBreaker()
  for (let i = 0; i < 100; i++) {
    for (const code of ["E_STATE_UNAVAILABLE", "E_OVERLOADED", "E_INSTANCE_RESET", "E_BODY_TOO_LARGE"] as const) {
      breaker.failed("on_request", code, `192.0.2.${i}`, 0)
    }
  }
  assert.equal(breaker.status, null)
})

test("a hook that always fails is noticed beside another that always succeeds", () => {
  const { breaker } = createBreaker()
  for (let i = 0; i < 60; i++) {
    breaker.succeeded("on_request", 0)
    breaker.failed("on_response", "E_GUEST_THREW", `192.0.2.${i}`, 0)
  }
  assert.match(breaker.status!.reason, /^on_response: /)
})

test("failures are forgotten after a while", () => {
  const { breaker } = createBreaker()
  fail(breaker, 40, 8, 0)
  fail(breaker, 40, 8, 30_000)
  assert.equal(breaker.status, null)
  fail(breaker, 10, 8, 35_000)
  assert.notEqual(breaker.status, null)
})

test("in quarantine one probe at a time is let through, later after every one that failed", () => {
  const { breaker, recovered } = createBreaker()
  fail(breaker, 50, 5)
  assert.equal(breaker.probe("198.51.100.1", 500), null)
  const first = breaker.probe("198.51.100.1", 1000)
  assert.ok(first)
  assert.equal(breaker.probe("198.51.100.2", 1000), null)
  first.failed("E_GUEST_THREW", 1001)
  assert.equal(breaker.probe("198.51.100.2", 2999), null)
  const second = breaker.probe("198.51.100.2", 3001)
  assert.ok(second)
  second.succeeded(3002)
  assert.equal(breaker.status, null)
  assert.equal(recovered(), 1)
})

test("whose probe failed lets others go first, so that one crafted request does not fail them all", () => {
  const { breaker } = createBreaker()
  fail(breaker, 50, 5)
  breaker.probe("198.51.100.1", 1000)!.failed("E_GUEST_THREW", 1000)
  assert.equal(breaker.probe("198.51.100.1", 3000), null)
  assert.ok(breaker.probe("198.51.100.2", 3000))
})

test("a probe whose client went away says nothing, and the next call is one", () => {
  const { breaker } = createBreaker()
  fail(breaker, 50, 5)
  breaker.probe("198.51.100.1", 1000)!.failed(null, 1001)
  assert.ok(breaker.probe("198.51.100.2", 1002))
})

test("a probe that is never answered does not keep the plugin out for ever", () => {
  const { breaker } = createBreaker()
  fail(breaker, 50, 5)
  const lost = breaker.probe("198.51.100.1", 1000)!
  assert.equal(breaker.probe("198.51.100.2", 30_000), null)
  assert.ok(breaker.probe("198.51.100.2", 62_000))
  lost.succeeded(62_001)
  assert.notEqual(breaker.status, null)
})

test("an operator's quarantine has no probes and ends with its release", () => {
  const { breaker } = createBreaker()
  breaker.hold({ by: "operator", reason: "looks odd", sinceMs: 1, probeAtMs: null, code: null })
  assert.equal(breaker.probe("198.51.100.1", 1e9), null)
  assert.equal(breaker.status?.reason, "looks odd")
  breaker.hold(null)
  assert.equal(breaker.status, null)
})

test("a plugin whose instance is gone for good is out of service at once", () => {
  const { breaker } = createBreaker()
  breaker.failed("on_request", "E_GUEST_EXITED", "192.0.2.1", 0)
  assert.match(breaker.status!.reason, /cannot be rebuilt/)
})
