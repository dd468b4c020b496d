import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { BextError } from "../../src/errors.ts"
import { createCors } from "../../src/middleware/cors.ts"
import { createContext, middlewareConfig, type ServeOptions, serve } from "./serve.ts"

const ALLOWED = "https://app.example.com"

function cors(section: object = {}) {
  return createCors(middlewareConfig({ cors: { origins: [ALLOWED], ...section } }).cors!)
}

function get(origin: string | undefined, section: object = {}, options: ServeOptions = {}) {
  const headers: [string, string][] = origin === undefined ? [] : [["Origin", origin]]
  return serve([cors(section)], createContext({ headers }), options)
}

function preflight(origin: string, section: object = {}) {
  const headers: [string, string][] = [
    ["Origin", origin],
    ["Access-Control-Request-Method", "PUT"],
    ["Access-Control-Request-Headers", "x-custom"],
  ]
  return serve([cors(section)], createContext({ method: "OPTIONS", headers }))
}

describe("cors", () => {
  it("lets an allowed origin read the response", async () => {
    const { status, headers } = await get(ALLOWED, { expose_headers: ["etag", "x-total"] })
    assert.equal(status, 200)
    assert.equal(headers.get("access-control-allow-origin"), ALLOWED)
    assert.equal(headers.get("access-control-expose-headers"), "etag, x-total")
    assert.equal(headers.has("access-control-allow-credentials"), false)
    assert.equal(headers.get("vary"), "Origin")
  })

  it("allows credentials when configured, to allowed origins alone", async () => {
    assert.equal((await get(ALLOWED, { credentials: true })).headers.get("access-control-allow-credentials"), "true")
    const refused = await get("https://evil.example", { credentials: true })
    assert.equal(refused.headers.has("access-control-allow-credentials"), false)
  })

  it("sends a request of another origin on, without the headers that would let a script read the answer", async () => {
    const { status, headers } = await get("https://evil.example")
    assert.equal(status, 200)
    assert.equal(headers.has("access-control-allow-origin"), false)
    assert.equal(headers.get("vary"), "Origin")
  })

  it("marks the response of a request without Origin as one of several and leaves it alone otherwise", async () => {
    const { headers } = await get(undefined, {}, { appHeaders: [["Vary", "Accept-Encoding"]] })
    assert.equal(headers.get("vary"), "Accept-Encoding, Origin")
    assert.equal(headers.has("access-control-allow-origin"), false)
  })

  it("marks error responses too", async () => {
    const authorise = () => {
      throw new BextError("E_FORBIDDEN", "no")
    }
    const { status, headers } = await get(ALLOWED, {}, { authorise })
    assert.equal(status, 403)
    assert.equal(headers.get("vary"), "Origin")
    assert.equal(headers.get("access-control-allow-origin"), ALLOWED)
  })

  it("replaces what the app says about CORS, so that no header is there twice", async () => {
    const appHeaders = [
      ["Access-Control-Allow-Origin", "*"],
      ["Access-Control-Allow-Credentials", "true"],
    ] as const
    const allowed = await get(ALLOWED, {}, { appHeaders })
    assert.deepEqual(allowed.headers.getAll("access-control-allow-origin"), [ALLOWED])
    assert.equal(allowed.headers.has("access-control-allow-credentials"), false)
    const refused = await get("https://evil.example", {}, { appHeaders })
    assert.equal(refused.headers.has("access-control-allow-origin"), false)
    assert.equal(refused.headers.has("access-control-allow-credentials"), false)
  })

  it("treats two Origin fields as no origin that could be allowed", async () => {
    const headers: [string, string][] = [
      ["Origin", ALLOWED],
      ["Origin", ALLOWED],
    ]
    const response = await serve([cors()], createContext({ headers }))
    assert.equal(response.headers.has("access-control-allow-origin"), false)
  })

  it("answers the preflight of an allowed origin itself", async () => {
    const { status, headers } = await preflight(ALLOWED, {
      methods: ["GET", "PUT"],
      headers: ["x-custom"],
      max_age: "5m",
    })
    assert.equal(status, 204)
    assert.equal(headers.get("access-control-allow-origin"), ALLOWED)
    assert.equal(headers.get("access-control-allow-methods"), "GET, PUT")
    assert.equal(headers.get("access-control-allow-headers"), "x-custom")
    assert.equal(headers.get("access-control-max-age"), "300")
    assert.equal(headers.get("vary"), "Origin")
  })

  it("lets pages of allowed origins into the private network only when configured, asked, and with a preflight", async () => {
    const ask = async (section: object, origin: string, ...headers: [string, string][]) => {
      const asked: [string, string][] = [["Origin", origin], ["Access-Control-Request-Method", "PUT"], ...headers]
      const response = await serve([cors(section)], createContext({ method: "OPTIONS", headers: asked }))
      return response.headers.get("access-control-allow-private-network")
    }
    const wants: [string, string] = ["Access-Control-Request-Private-Network", "true"]
    const on = { private_network: true }
    assert.equal(await ask(on, ALLOWED, wants), "true")
    assert.equal(await ask(on, ALLOWED), undefined)
    assert.equal(await ask(on, ALLOWED, [wants[0], "1"]), undefined)
    assert.equal(await ask(on, "https://evil.example", wants), undefined)
    assert.equal(await ask({}, ALLOWED, wants), undefined)
    const get = await serve([cors(on)], createContext({ headers: [["Origin", ALLOWED], wants] }))
    assert.equal(get.headers.has("access-control-allow-private-network"), false)
  })

  it("gives each preflight headers of its own", async () => {
    const middleware = cors()
    const headers: [string, string][] = [
      ["Origin", ALLOWED],
      ["Access-Control-Request-Method", "PUT"],
    ]
    const first = await serve([middleware], createContext({ method: "OPTIONS", headers }))
    first.headers.set("x-added", "1")
    const second = await serve([middleware], createContext({ method: "OPTIONS", headers }))
    assert.equal(second.headers.has("x-added"), false)
  })

  it("refuses the preflight of any other origin with a code, still marked as one of several", async () => {
    const { status, code, headers } = await preflight("https://evil.example")
    assert.deepEqual([status, code], [403, "E_CORS_ORIGIN"])
    assert.equal(headers.get("vary"), "Origin")
    assert.equal(headers.has("access-control-allow-origin"), false)
  })

  it("leaves OPTIONS requests that are no preflight to the app", async () => {
    const plain = await serve([cors()], createContext({ method: "OPTIONS" }))
    assert.equal(plain.status, 200)
    const fromScript = await serve([cors()], createContext({ method: "OPTIONS", headers: [["Origin", ALLOWED]] }))
    assert.equal(fromScript.status, 200)
  })

  it('gives one answer to everyone with "*", also to requests without Origin, and needs no Vary', async () => {
    for (const origin of [undefined, ALLOWED, "https://anything.example", "null"]) {
      const { headers } = await get(
        origin,
        { origins: ["*"] },
        { appHeaders: [["Access-Control-Allow-Credentials", "true"]] },
      )
      assert.equal(headers.get("access-control-allow-origin"), "*")
      assert.equal(headers.has("access-control-allow-credentials"), false)
      assert.equal(headers.has("vary"), false)
    }
    assert.equal((await preflight("https://anything.example", { origins: ["*"] })).status, 204)
  })

  it('refuses credentials together with "*"', () => {
    const wrong = { code: "E_CONFIG_INVALID", message: /credentials/ }
    assert.throws(() => cors({ origins: ["*"], credentials: true }), wrong)
    assert.throws(() => cors({ origins: [ALLOWED, "*"], credentials: true }), wrong)
  })
})
