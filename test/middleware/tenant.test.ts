import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { User } from "../../src/message/request-context.ts"
import { createTenantResolver } from "../../src/middleware/tenant.ts"
import { createContext, type RequestInit, serve, toConfig } from "./serve.ts"

const TENANTS = [
  { id: "acme", site: "acme-main", hosts: ["acme.example", "www.acme.example"] },
  { id: "globex", hosts: ["*.globex.example"] },
]

function resolver(tenant: object, tenants: object[] = TENANTS) {
  const config = toConfig({ tenant, auth: { algorithms: ["HS256"], secret: "env:JWT" } }, tenants)
  return createTenantResolver(config.middleware.tenant!, { tenants: config.tenants })
}

function resolve(tenant: object, tenants: object[] = TENANTS) {
  const middleware = resolver(tenant, tenants)
  return async (init: RequestInit) => {
    const context = createContext(init)
    const { code } = await serve([middleware], context)
    return code ?? { tenantId: context.tenantId, siteId: context.siteId, path: context.path }
  }
}

function user(claims: Record<string, unknown>): User {
  return { id: "ada", claims }
}

const ACME = { tenantId: "acme", siteId: "acme-main", path: "/" }
const GLOBEX = { tenantId: "globex", siteId: null, path: "/" }
const NOBODY = { tenantId: null, siteId: null, path: "/" }

describe("tenant by host", () => {
  it("finds the tenant and its site by exact host, in any case, with or without the root's dot", async () => {
    const request = resolve({})
    for (const hostname of ["acme.example", "www.acme.example", "ACME.example", "acme.example."]) {
      assert.deepEqual(await request({ hostname }), ACME, hostname)
    }
  })

  it("finds the tenant by a glob of one label", async () => {
    const request = resolve({})
    assert.deepEqual(await request({ hostname: "shop.globex.example" }), GLOBEX)
    for (const hostname of [
      "globex.example",
      "a.b.globex.example",
      "evilglobex.example",
      "shop.globex.example.evil.net",
    ]) {
      assert.equal(await request({ hostname }), "E_TENANT_UNKNOWN", hostname)
    }
  })

  it("prefers an exact host to a glob", async () => {
    const request = resolve({}, [...TENANTS, { id: "special", hosts: ["vip.globex.example"] }])
    assert.partialDeepStrictEqual(await request({ hostname: "vip.globex.example" }), { tenantId: "special" })
  })
})

describe("tenant by subdomain", () => {
  it("takes the one label in front of the domain", async () => {
    const request = resolve({ by: ["subdomain:example.com"] })
    assert.deepEqual(await request({ hostname: "acme.example.com" }), ACME)
    assert.deepEqual(await request({ hostname: "Acme.Example.com." }), ACME)
    for (const hostname of [
      "example.com",
      "x.acme.example.com",
      "acmeexample.com",
      "acme.example.com.evil.net",
      ".example.com",
    ]) {
      assert.equal(await request({ hostname }), "E_TENANT_UNKNOWN", hostname)
    }
  })

  it("takes only valid ids when no tenants are listed", async () => {
    const request = resolve({ by: ["subdomain:example.com"] }, [])
    assert.partialDeepStrictEqual(await request({ hostname: "anybody.example.com" }), {
      tenantId: "anybody",
      siteId: null,
    })
    for (const label of ["-x", "_x", "a%2e", "__proto__", "x".repeat(65)]) {
      assert.equal(await request({ hostname: `${label}.example.com` }), "E_TENANT_UNKNOWN", label)
    }
  })
})

describe("tenant by path", () => {
  it("takes the first segment off the path", async () => {
    const request = resolve({ by: ["path"] })
    assert.deepEqual(await request({ path: "/acme/users/1" }), { ...ACME, path: "/users/1" })
    assert.deepEqual(await request({ path: "/acme/" }), ACME)
    assert.deepEqual(await request({ path: "/acme" }), ACME)
  })

  it("takes a whole segment only, in its exact case and form", async () => {
    const request = resolve({ by: ["path"], unknown: "pass" })
    // A path is decoded once before it comes here, so what still looks encoded is literal text.
    for (const path of ["/", "/acmex/y", "/ACME/y", "/%61cme/y", "/acme%2fy", "/x/acme", "/__proto__/y"]) {
      assert.deepEqual(await request({ path }), { tenantId: null, siteId: null, path }, path)
    }
  })

  it("leaves the path alone when an earlier way found the tenant", async () => {
    const request = resolve({ by: ["host", "path"] })
    assert.deepEqual(await request({ hostname: "acme.example", path: "/globex/x" }), { ...ACME, path: "/globex/x" })
    assert.deepEqual(await request({ hostname: "other.example", path: "/globex/x" }), { ...GLOBEX, path: "/x" })
  })

  it("needs a list of tenants", () => {
    assert.throws(() => resolver({ by: ["path"] }, []), { code: "E_CONFIG_INVALID", message: /path/ })
  })
})

describe("tenant by header or claim", () => {
  it("takes a header only when it is configured", async () => {
    const headers = [["X-Tenant", "acme"]] as const
    assert.deepEqual(await resolve({ by: ["header:x-tenant"] })({ headers }), ACME)
    assert.equal(await resolve({ by: ["host"] })({ headers }), "E_TENANT_UNKNOWN")
    assert.equal(await resolve({ by: ["header:x-other"] })({ headers }), "E_TENANT_UNKNOWN")
  })

  it("takes no header that names two tenants, or none that exists", async () => {
    const request = resolve({ by: ["header:x-tenant"] })
    assert.equal(
      await request({
        headers: [
          ["x-tenant", "acme"],
          ["x-tenant", "globex"],
        ],
      }),
      "E_TENANT_UNKNOWN",
    )
    for (const value of ["acme, globex", "../acme", "", " acme", "ACME", "acme\u0000", "x".repeat(10_000)]) {
      assert.equal(await request({ headers: [["x-tenant", value]] }), "E_TENANT_UNKNOWN", value)
    }
  })

  it("takes a claim of a verified user that is a text or a number", async () => {
    const request = resolve({ by: ["claim:org"] }, [...TENANTS, { id: "42" }])
    assert.deepEqual(await request({ user: user({ org: "acme" }) }), ACME)
    assert.partialDeepStrictEqual(await request({ user: user({ org: 42 }) }), { tenantId: "42" })
    for (const org of [["acme"], { id: "acme" }, null, true]) {
      assert.equal(await request({ user: user({ org }) }), "E_TENANT_UNKNOWN", JSON.stringify(org))
    }
    assert.equal(await request({}), "E_TENANT_UNKNOWN")
  })

  it("never looks a claim up in the prototype", async () => {
    assert.equal(await resolve({ by: ["claim:constructor"] }, [])({ user: user({}) }), "E_TENANT_UNKNOWN")
  })
})

describe("tenant", () => {
  it("lets the first configured way win when two disagree", async () => {
    const init = { hostname: "acme.example", user: user({ org: "globex" }), headers: [["x-tenant", "acme"]] as const }
    assert.deepEqual(await resolve({ by: ["host", "claim:org"] })(init), ACME)
    assert.deepEqual(await resolve({ by: ["claim:org", "host"] })(init), GLOBEX)
    assert.deepEqual(await resolve({ by: ["claim:org", "header:x-tenant"] })(init), GLOBEX)
  })

  it("tries the next way when one names nobody", async () => {
    const request = resolve({ by: ["header:x-tenant", "host"] })
    assert.deepEqual(await request({ hostname: "acme.example", headers: [["x-tenant", "nobody"]] }), ACME)
  })

  it("lets an unknown tenant pass as none when configured", async () => {
    assert.deepEqual(await resolve({ unknown: "pass" })({ hostname: "other.example" }), NOBODY)
  })

  it("decides whatever was set before it", async () => {
    const context = createContext({ hostname: "other.example" })
    context.tenantId = "acme"
    context.siteId = "acme-main"
    await serve([resolver({ unknown: "pass" })], context)
    assert.deepEqual([context.tenantId, context.siteId], [null, null])
  })
})
