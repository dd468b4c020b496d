import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import type { JWK } from "jose"
import { createAuth } from "../../src/middleware/auth.ts"
import { createContext, middlewareConfig, serve } from "./serve.ts"
import { claims, ed25519, hmac, jwk, NOW, NOW_MS, otherRsa, p256, pem, rsa, signed, token } from "./tokens.ts"

const DAY_MS = 24 * 60 * 60 * 1000

/** A real server of one document that can be changed, broken and counted. */
class KeyServer {
  status = 200
  body = ""
  reads = 0
  readonly #server: Server

  private constructor() {
    this.#server = createServer((_, response) => {
      this.reads++
      response.writeHead(this.status, { "content-type": "application/json", location: "/elsewhere" }).end(this.body)
    })
  }

  static async listen(t: TestContext, keys: readonly JWK[]): Promise<KeyServer> {
    const server = new KeyServer()
    server.publish(keys)
    server.#server.listen(0, "127.0.0.1")
    await once(server.#server, "listening")
    t.after(() => {
      server.#server.closeAllConnections()
      server.#server.close()
    })
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks.json`
  }

  publish(keys: readonly JWK[]): void {
    this.body = JSON.stringify({ keys })
  }
}

/** The middleware under a clock that the test moves. */
function setUp(section: object) {
  const clock = { ms: NOW_MS }
  const warnings: string[] = []
  const config = middlewareConfig({ auth: { algorithms: ["RS256", "ES256", "EdDSA"], ...section } }).auth!
  const auth = createAuth(config, { warn: (message) => warnings.push(message), now: () => clock.ms })
  const whoIs = async (value?: string) => {
    const context = createContext({ headers: value === undefined ? [] : [["Authorization", `Bearer ${value}`]] })
    const { code } = await serve([auth], context)
    return code ?? context.user?.id ?? "anonymous"
  }
  return { clock, warnings, whoIs }
}

/** A token that outlives every test's clock. */
function lasting(pair: typeof rsa, alg: string, header: object = {}): string {
  return signed(alg, pair, header, claims({ exp: NOW + 10 * DAY_MS }))
}

/** Asks again until the answer is as expected: what happens behind requests has no event to wait for. */
async function eventually(expected: unknown, ask: () => unknown): Promise<void> {
  const deadlineMs = performance.now() + 20_000
  while ((await ask()) !== expected) {
    assert.ok(performance.now() < deadlineMs, `never became ${expected}, last ${await ask()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe("auth with jwks_url", () => {
  it("fetches the keys once and picks the one that the token names", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "a" }), await jwk(p256, { kid: "b" })])
    const { whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(lasting(rsa, "RS256", { kid: "a" })), "ada")
    assert.equal(await whoIs(lasting(p256, "ES256", { kid: "b" })), "ada")
    assert.equal(await whoIs(lasting(p256, "ES256", { kid: "a" })), "E_UNAUTHENTICATED")
    assert.equal(await whoIs(lasting(otherRsa, "RS256", { kid: "a" })), "E_UNAUTHENTICATED")
    assert.equal(server.reads, 1)
  })

  it("begins to fetch with the first request, also an anonymous one", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa)])
    const { whoIs } = setUp({ jwks_url: server.url })
    assert.equal(server.reads, 0)
    assert.equal(await whoIs(), "anonymous")
    await eventually(1, () => server.reads)
  })

  it("tries each key that suits for a token that names none", async (t) => {
    const server = await KeyServer.listen(t, [
      await jwk(otherRsa, { kid: "old" }),
      await jwk(rsa, { kid: "new" }),
      await jwk(p256),
    ])
    const { whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(lasting(rsa, "RS256")), "ada")
    assert.equal(await whoIs(`${lasting(rsa, "RS256").slice(0, -8)}AAAAAAAA`), "E_UNAUTHENTICATED")
    assert.equal(await whoIs(signed("RS256", rsa, {}, claims({ exp: NOW - 100 }))), "E_UNAUTHENTICATED")
  })

  it("fetches again for a key it does not know, at most every 30 seconds", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "1" })])
    const { clock, whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(lasting(rsa, "RS256", { kid: "1" })), "ada")
    server.publish([await jwk(rsa, { kid: "1" }), await jwk(otherRsa, { kid: "2" })])
    const rotated = lasting(otherRsa, "RS256", { kid: "2" })
    assert.equal(await whoIs(rotated), "E_UNAUTHENTICATED")
    clock.ms += 30_000
    assert.equal(await whoIs(rotated), "ada")
    for (let i = 0; i < 20; i++) await whoIs(lasting(otherRsa, "RS256", { kid: `guess ${i}` }))
    assert.equal(server.reads, 2)
  })

  it("fetches once for many tokens that wait for it together", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa)])
    const { whoIs } = setUp({ jwks_url: server.url })
    const waiting = Array.from({ length: 20 }, (_, i) => whoIs(signed("RS256", rsa, {}, claims({ i }))))
    assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["ada"]))
    assert.equal(server.reads, 1)
  })

  it("refuses the tokens of a withdrawn key, remembered ones too", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "1" })])
    const { clock, whoIs } = setUp({ jwks_url: server.url })
    const value = lasting(rsa, "RS256", { kid: "1" })
    assert.equal(await whoIs(value), "ada")
    server.publish([await jwk(otherRsa, { kid: "2" })])
    clock.ms += 600_000
    await eventually("E_UNAUTHENTICATED", () => whoIs(value))
  })

  it("goes on with the last keys while the server is broken, trying again every 30 seconds", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "1" })])
    const { clock, warnings, whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(lasting(rsa, "RS256", { kid: "1" })), "ada")
    clock.ms += 600_000
    server.status = 500
    await eventually(1, async () => {
      assert.equal(await whoIs(signed("RS256", rsa, { kid: "1" }, claims({ exp: NOW + DAY_MS, n: 1 }))), "ada")
      return warnings.length
    })
    assert.match(warnings[0]!, /could not be read \(status 500\); the last known keys stay in use/)
    for (let i = 0; i < 20; i++)
      assert.equal(await whoIs(lasting(rsa, "RS256", { kid: `unknown ${i}` })), "E_UNAUTHENTICATED")
    assert.equal(server.reads, 2)
    server.status = 200
    server.publish([await jwk(otherRsa, { kid: "2" })])
    clock.ms += 30_000
    assert.equal(await whoIs(lasting(otherRsa, "RS256", { kid: "2" })), "ada")
  })

  it("stops trusting keys that could not be read again for a day", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "1" })])
    const { clock, whoIs } = setUp({ jwks_url: server.url })
    const value = lasting(rsa, "RS256", { kid: "1" })
    assert.equal(await whoIs(value), "ada")
    server.status = 503
    clock.ms += DAY_MS
    assert.equal(await whoIs(value), "ada")
    clock.ms += 1
    assert.equal(await whoIs(value), "E_AUTH_KEYS_UNAVAILABLE")
    server.status = 200
    clock.ms += 1_000
    await eventually("ada", () => whoIs(value))
  })

  it("answers that it cannot tell, not that the token is bad, when keys were never read", async (t) => {
    const server = await KeyServer.listen(t, [])
    server.status = 404
    const { clock, warnings, whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(lasting(rsa, "RS256")), "E_AUTH_KEYS_UNAVAILABLE")
    assert.match(warnings[0]!, /no token can be checked/)
    assert.equal(await whoIs(lasting(rsa, "RS256")), "E_AUTH_KEYS_UNAVAILABLE")
    assert.equal(await whoIs(), "anonymous")
    assert.equal(server.reads, 1)
    server.status = 200
    server.publish([await jwk(rsa)])
    clock.ms += 1_000
    assert.equal(await whoIs(lasting(rsa, "RS256")), "ada")
  })

  it("does not wait for keys to refuse a token that no key could make valid", async (t) => {
    const server = await KeyServer.listen(t, [await jwk(rsa)])
    const { whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(token({ alg: "HS256" }, claims(), hmac(pem(rsa)))), "E_UNAUTHENTICATED")
    assert.equal(await whoIs("a.b"), "E_UNAUTHENTICATED")
  })

  it("names the reason when the server cannot be reached", async (t) => {
    const server = await KeyServer.listen(t, [])
    const { port } = new URL(server.url)
    const { warnings, whoIs } = setUp({ jwks_url: `http://[::1]:${port}/jwks.json` })
    assert.equal(await whoIs(lasting(rsa, "RS256")), "E_AUTH_KEYS_UNAVAILABLE")
    assert.match(warnings[0]!, /ECONNREFUSED|EADDRNOTAVAIL|ENETUNREACH/)
  })

  const documents: [string, number, string, RegExp][] = [
    ["a redirect", 302, "", /redirect/],
    ["no JSON", 200, "<html>", /JSON/],
    ["JSON that is no key set", 200, '{"keys":{}}', /malformed/],
    ["more bytes than a key set has", 200, `{"keys":[],"x":"${"x".repeat(300_000)}"}`, /more than 262144 bytes/],
    ["too many keys", 200, JSON.stringify({ keys: Array(101).fill({ kty: "RSA" }) }), /101 keys/],
  ]
  for (const [what, status, body, message] of documents) {
    it(`takes no ${what.replace(/^(a|no) /, "")} for a key set and keeps the last one`, async (t) => {
      const server = await KeyServer.listen(t, [await jwk(rsa, { kid: "1" })])
      const { clock, warnings, whoIs } = setUp({ jwks_url: server.url })
      assert.equal(await whoIs(lasting(rsa, "RS256", { kid: "1" })), "ada")
      server.status = status
      server.body = body
      clock.ms += 30_000
      assert.equal(await whoIs(lasting(rsa, "RS256", { kid: "2" })), "E_UNAUTHENTICATED")
      assert.match(warnings[0]!, message)
      assert.equal(await whoIs(signed("RS256", rsa, { kid: "1" }, claims({ n: 1 }))), "ada")
    })
  }

  it("uses no key that is secret, private, weak, broken or meant for something else", async (t) => {
    const secret = Buffer.from("x".repeat(32))
    const unusable: JWK[] = [
      { kty: "oct", k: secret.toString("base64url"), kid: "oct" },
      { ...rsa.privateKey.export({ format: "jwk" }), kid: "private" } as JWK,
      await jwk(rsa, { kid: "enc", use: "enc" }),
      await jwk(rsa, { kid: "ops", key_ops: ["encrypt"] }),
      await jwk(rsa, { kid: "alg", alg: "PS256" }),
      { kty: "RSA", n: "AQAB", e: "AQAB", kid: "weak" },
      { kty: "RSA", n: "!", e: "AQAB", kid: "broken" },
      { kty: "EC", crv: "P-256", x: "AA", y: "AA", kid: "off" },
    ]
    const server = await KeyServer.listen(t, unusable)
    const { whoIs } = setUp({ jwks_url: server.url })
    assert.equal(await whoIs(token({ alg: "HS256", kid: "oct" }, claims(), hmac(secret))), "E_UNAUTHENTICATED")
    for (const kid of ["private", "enc", "ops", "alg", "weak", "broken"]) {
      assert.equal(await whoIs(lasting(rsa, "RS256", { kid })), "E_UNAUTHENTICATED", kid)
    }
    assert.equal(await whoIs(lasting(p256, "ES256", { kid: "off" })), "E_UNAUTHENTICATED", "off")
  })
})

describe("auth with jwks_file", () => {
  async function fileOf(t: TestContext, text: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "bext-jwks-"))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, "jwks.json")
    await writeFile(file, text)
    return file
  }

  it("reads the file again when it changed", async (t) => {
    const file = await fileOf(t, JSON.stringify({ keys: [await jwk(ed25519)] }))
    const { clock, whoIs } = setUp({ jwks_file: file })
    const before = lasting(ed25519, "EdDSA")
    const after = lasting(p256, "ES256")
    assert.equal(await whoIs(before), "ada")
    assert.equal(await whoIs(after), "E_UNAUTHENTICATED")
    await writeFile(file, JSON.stringify({ keys: [await jwk(p256)] }))
    clock.ms += 1_000
    assert.equal(await whoIs(after), "ada")
    assert.equal(await whoIs(before), "E_UNAUTHENTICATED")
  })

  it("keeps the last keys while the file is missing or half written", async (t) => {
    const file = await fileOf(t, JSON.stringify({ keys: [await jwk(ed25519)] }))
    const { clock, warnings, whoIs } = setUp({ jwks_file: file })
    await writeFile(file, '{"keys":[')
    clock.ms += 1_000
    await eventually(1, async () => {
      assert.equal(await whoIs(lasting(ed25519, "EdDSA")), "ada")
      return warnings.length
    })
    await rm(file)
    clock.ms += 1_000
    await eventually(2, async () => {
      assert.equal(await whoIs(lasting(ed25519, "EdDSA")), "ada")
      return warnings.length
    })
  })

  it("refuses to start with a file that is missing or no key set", async (t) => {
    const file = await fileOf(t, "hello")
    assert.throws(() => setUp({ jwks_file: file }), { code: "E_CONFIG_INVALID", message: /not a JSON Web Key Set/ })
    assert.throws(() => setUp({ jwks_file: `${file}.not` }), { code: "E_CONFIG_INVALID", message: /there is no file/ })
  })
})
