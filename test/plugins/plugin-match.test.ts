import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginMatch } from "../../src/plugins/plugin-match.ts"
import { type ContextInput, requestContext } from "./request-context.ts"

type Rows = ConstructorParameters<typeof PluginMatch>[0]

function matches(rows: Rows, input: ContextInput): boolean {
  return new PluginMatch(rows).matches(requestContext(input))
}

describe("PluginMatch", () => {
  it("without rows is for every request", () => {
    assert.equal(matches([], { path: "/any", method: "TRACE", hostname: "other.test" }), true)
    assert.equal(new PluginMatch([]).tenants, undefined)
  })

  it("needs every field of a row, and one row of several", () => {
    const rows = [{ path: "/app/**", methods: ["POST"] }, { hosts: ["admin.test"] }]
    assert.equal(matches(rows, { path: "/app/x", method: "POST" }), true)
    assert.equal(matches(rows, { path: "/app/x", method: "PUT" }), false)
    assert.equal(matches(rows, { path: "/other", method: "POST" }), false)
    assert.equal(matches(rows, { path: "/other", hostname: "admin.test" }), true)
  })

  it("on GET sees HEAD too, so that a guard cannot be stepped around", () => {
    const rows = [{ path: "/app/**", methods: ["GET"] }]
    assert.equal(matches(rows, { path: "/app/x", method: "HEAD" }), true)
    assert.equal(matches(rows, { path: "/app/x", method: "OPTIONS" }), false)
  })

  it("knows hosts by label, with and without the final dot", () => {
    const rows = [{ hosts: ["*.example.com"] }]
    assert.equal(matches(rows, { hostname: "a.example.com" }), true)
    assert.equal(matches(rows, { hostname: "a.example.com." }), true)
    assert.equal(matches(rows, { hostname: "a.b.example.com" }), false)
    assert.equal(matches(rows, { hostname: "example.com" }), false)
    assert.equal(matches(rows, { hostname: "a.example.com.evil.test" }), false)
  })

  it("knows whether a named tenant meets others, also when only some rows name tenants", () => {
    assert.equal(new PluginMatch([]).severalTenants, false)
    assert.equal(new PluginMatch([{ path: "/x" }]).severalTenants, false)
    assert.equal(new PluginMatch([{ tenants: ["a"] }, { tenants: ["a"], path: "/x" }]).severalTenants, false)
    assert.equal(new PluginMatch([{ tenants: ["a"] }, { tenants: ["b"] }]).severalTenants, true)
    assert.equal(new PluginMatch([{ tenants: ["a", "b"] }, { path: "/x" }]).severalTenants, true)
    assert.equal(new PluginMatch([{ tenants: ["a"] }, { path: "/x" }]).severalTenants, true)
  })

  it("names the tenants when every row does", () => {
    const match = new PluginMatch([{ tenants: ["a", "b"] }, { tenants: ["c"], path: "/x" }])
    assert.deepEqual([...match.tenants!], ["a", "b", "c"])
    assert.equal(match.matches(requestContext({ tenantId: "b" })), true)
    assert.equal(match.matches(requestContext({ tenantId: "c" })), false)
    assert.equal(match.matches(requestContext({ tenantId: "d" })), false)
    assert.equal(match.matches(requestContext()), false)
    assert.equal(new PluginMatch([{ tenants: ["a"] }, { path: "/x" }]).tenants, undefined)
  })
})
