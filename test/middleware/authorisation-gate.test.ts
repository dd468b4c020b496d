import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { User } from "../../src/message/request-context.ts"
import { createAuthorisationGate } from "../../src/middleware/authorisation-gate.ts"
import { createContext, middlewareConfig, serve } from "./serve.ts"

const JWKS_URL = "https://id.example.com/jwks.json"

function gate(section: object) {
  const config = middlewareConfig({ auth: { algorithms: ["RS256"], jwks_url: JWKS_URL, ...section } })
  const authorise = createAuthorisationGate(config.auth!)
  return async (path: string, user: User | null = null) => {
    const response = await serve([], createContext({ path, user }), { authorise })
    return response.code ?? response.status
  }
}

function user(claims: Record<string, unknown> = {}): User {
  return { id: "ada", claims }
}

describe("createAuthorisationGate", () => {
  it("needs a user on every path by default", async () => {
    const request = gate({})
    assert.equal(await request("/"), "E_UNAUTHENTICATED")
    assert.equal(await request("/anything"), "E_UNAUTHENTICATED")
    assert.equal(await request("/", user()), 200)
  })

  it("lets anybody reach public paths, and only those", async () => {
    const request = gate({ public: ["/", "/assets/**"] })
    assert.equal(await request("/"), 200)
    assert.equal(await request("/assets/app.js"), 200)
    assert.equal(await request("/assetsx"), "E_UNAUTHENTICATED")
    assert.equal(await request("/Assets/app.js"), "E_UNAUTHENTICATED")
    assert.equal(await request("/api/assets/app.js"), "E_UNAUTHENTICATED")
  })

  it("looks at the path as the stack left it, so that a rewrite cannot step around it", async () => {
    const config = middlewareConfig({ auth: { algorithms: ["RS256"], jwks_url: JWKS_URL, public: ["/public/**"] } })
    const rewrite = {
      name: "rewrite",
      priority: 700,
      kind: "plugin" as const,
      onRequest(context: { path: string }) {
        context.path = "/private"
      },
    }
    const options = { authorise: createAuthorisationGate(config.auth!) }
    assert.equal((await serve([rewrite], createContext({ path: "/public/page" }), options)).code, "E_UNAUTHENTICATED")
  })

  it("wants every claim of every rule that matches", async () => {
    const request = gate({
      rules: [
        { path: "/admin/**", claims: { role: "admin" } },
        { path: "/admin/billing/**", claims: { plan: "paid", verified: true } },
      ],
    })
    const admin = { role: "admin" }
    assert.equal(await request("/admin/users", user(admin)), 200)
    assert.equal(await request("/admin/users", user()), "E_FORBIDDEN")
    assert.equal(await request("/admin/users"), "E_UNAUTHENTICATED")
    assert.equal(await request("/admin/billing/x", user(admin)), "E_FORBIDDEN")
    assert.equal(await request("/admin/billing/x", user({ ...admin, plan: "paid" })), "E_FORBIDDEN")
    assert.equal(await request("/admin/billing/x", user({ ...admin, plan: "paid", verified: true })), 200)
    assert.equal(await request("/elsewhere", user()), 200)
  })

  it("keeps a rule in force under a public path", async () => {
    const request = gate({ public: ["/**"], rules: [{ path: "/admin/**", claims: { role: "admin" } }] })
    assert.equal(await request("/page"), 200)
    assert.equal(await request("/admin"), "E_UNAUTHENTICATED")
    assert.equal(await request("/admin", user()), "E_FORBIDDEN")
  })

  it("finds the value in a list and in a scope, and never in part of a text", async () => {
    const request = gate({
      rules: [
        { path: "/list", claims: { roles: "admin" } },
        { path: "/scope", claims: { scope: "write" } },
      ],
    })
    assert.equal(await request("/list", user({ roles: ["user", "admin"] })), 200)
    assert.equal(await request("/list", user({ roles: ["administrator"] })), "E_FORBIDDEN")
    assert.equal(await request("/list", user({ roles: "user admin" })), "E_FORBIDDEN")
    assert.equal(await request("/list", user({ roles: { admin: true } })), "E_FORBIDDEN")
    assert.equal(await request("/scope", user({ scope: "read write" })), 200)
    assert.equal(await request("/scope", user({ scope: "read writeall" })), "E_FORBIDDEN")
  })

  it("compares values with their type and never looks up the prototype", async () => {
    const request = gate({
      rules: [
        { path: "/level", claims: { level: 1 } },
        { path: "/inherited", claims: { constructor: "x" } },
      ],
    })
    assert.equal(await request("/level", user({ level: 1 })), 200)
    assert.equal(await request("/level", user({ level: "1" })), "E_FORBIDDEN")
    assert.equal(await request("/level", user({ level: true })), "E_FORBIDDEN")
    assert.equal(await request("/inherited", user()), "E_FORBIDDEN")
  })

  it("challenges the client (RFC 6750)", async () => {
    const config = middlewareConfig({
      auth: { algorithms: ["RS256"], jwks_url: JWKS_URL, rules: [{ path: "/admin", claims: { role: "admin" } }] },
    })
    const options = { authorise: createAuthorisationGate(config.auth!) }
    const anonymous = await serve([], createContext({ path: "/admin" }), options)
    assert.equal(anonymous.status, 401)
    assert.equal(anonymous.headers.get("www-authenticate"), 'Bearer realm="bext"')
    const lacking = await serve([], createContext({ path: "/admin", user: user() }), options)
    assert.equal(lacking.status, 403)
    assert.equal(lacking.headers.get("www-authenticate"), 'Bearer error="insufficient_scope"')
  })
})
