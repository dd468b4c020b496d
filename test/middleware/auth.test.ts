import assert from "node:assert/strict"
import { generateKeyPairSync } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { createAuth } from "../../src/middleware/auth.ts"
import type { Middleware } from "../../src/pipeline/middleware.ts"
import { createContext, middlewareConfig, serve } from "./serve.ts"
import {
  claims,
  ed25519,
  encode,
  hmac,
  hs256,
  NOW,
  NOW_MS,
  otherRsa,
  type Pair,
  p256,
  p384,
  p521,
  pem,
  rsa,
  SECRET,
  signed,
  token,
} from "./tokens.ts"

interface Clock {
  ms: number
}

function withSecret(section: object = {}, secret = SECRET, clock: Clock = { ms: NOW_MS }): Middleware {
  const config = middlewareConfig({ auth: { algorithms: ["HS256"], secret: "env:JWT", ...section } }).auth!
  return createAuth(config, { secret, warn: assert.fail, now: () => clock.ms })
}

async function withKeyFile(t: TestContext, text: string, section: object): Promise<Middleware> {
  const folder = await mkdtemp(join(tmpdir(), "bext-auth-"))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, "key.pem")
  await writeFile(file, text)
  const config = middlewareConfig({ auth: { key_file: file, ...section } }).auth!
  return createAuth(config, { warn: assert.fail, now: () => NOW_MS })
}

/** What the request is taken for: the user's id, "anonymous", or the code of the refusal. */
async function whoIs(auth: Middleware, ...headers: [string, string][]): Promise<string> {
  const context = createContext({ headers })
  const { code } = await serve([auth], context)
  return code ?? context.user?.id ?? "anonymous"
}

function bearer(value: string): [string, string] {
  return ["Authorization", `Bearer ${value}`]
}

async function refuses(auth: Middleware, value: string, why: string): Promise<void> {
  assert.equal(await whoIs(auth, bearer(value)), "E_UNAUTHENTICATED", why)
}

describe("auth: credentials", () => {
  it("sets the user of a valid token, with its claims", async () => {
    const context = createContext({ headers: [bearer(hs256(claims({ roles: ["admin"] })))] })
    await serve([withSecret()], context)
    assert.deepEqual(context.user, { id: "ada", claims: { sub: "ada", exp: NOW + 60, roles: ["admin"] } })
  })

  it("lets a request without credentials, or with those of another scheme, go on without a user", async () => {
    const auth = withSecret()
    assert.equal(await whoIs(auth), "anonymous")
    assert.equal(await whoIs(auth, ["Authorization", "Basic YTpi"]), "anonymous")
    assert.equal(await whoIs(auth, ["Authorization", `Bearers ${hs256()}`]), "anonymous")
    assert.equal(await whoIs(auth, ["Cookie", `session=${hs256()}`]), "anonymous")
  })

  it("takes the scheme in any case and any number of spaces", async () => {
    const auth = withSecret()
    for (const scheme of ["bearer ", "BEARER ", "bEaReR   "]) {
      assert.equal(await whoIs(auth, ["authorization", scheme + hs256()]), "ada")
    }
  })

  it("refuses a Bearer scheme without a token, or with anything but spaces before it", async () => {
    const auth = withSecret()
    for (const value of [
      "Bearer",
      "Bearer ",
      "bearer",
      `Bearer\t${hs256()}`,
      `Bearer,${hs256()}`,
      `Bearer=${hs256()}`,
    ]) {
      assert.equal(await whoIs(auth, ["Authorization", value]), "E_UNAUTHENTICATED", value)
    }
  })

  it("refuses more than one Authorization field, whatever their order", async () => {
    const auth = withSecret()
    const good = bearer(hs256())
    const basic: [string, string] = ["authorization", "Basic YTpi"]
    for (const fields of [
      [good, good],
      [good, basic],
      [basic, good],
      [basic, basic],
      [good, bearer("x")],
    ]) {
      assert.equal(await whoIs(auth, ...(fields as [string, string][])), "E_UNAUTHENTICATED", JSON.stringify(fields))
    }
  })

  it("refuses what is no token without asking the library", async () => {
    const auth = withSecret()
    const [head, body, signature] = hs256().split(".") as [string, string, string]
    const wrong = [
      "",
      ".",
      "..",
      "a.b",
      "a.b.c.d",
      "a.b.c.d.e",
      `${head}.${body}.`,
      `${head}..${signature}`,
      `${head}.${body}.${signature}=`,
      `${head}.${body}.${signature} `,
      `${head}.${body}.${signature}\n`,
      `${head} .${body}.${signature}`,
      `"${head}.${body}.${signature}"`,
      `${head}.${body}.${signature}, x`,
      `${head}.${body}.${signature.replace(/[-_]|$/, "+")}`,
    ]
    for (const value of wrong) await refuses(auth, value, JSON.stringify(value))
    await assert.rejects(async () => auth.onRequest!(createContext({ headers: [bearer("a.b")] })), /not a signed token/)
  })

  it("refuses a token of more than 8 KiB, also a valid one", async () => {
    const auth = withSecret()
    await refuses(auth, hs256(claims({ much: "x".repeat(8_000) })), "valid but huge")
    await refuses(auth, "x".repeat(15_000), "huge")
    assert.equal(await whoIs(auth, bearer(hs256(claims({ much: "x".repeat(5_000) })))), "ada")
  })

  it("tells a client whose token is refused nothing but that (RFC 6750)", async () => {
    const answers = new Set<string>()
    for (const value of ["junk", hs256(claims({ exp: NOW - 100 })), token({ alg: "HS256" }, claims(), hmac("x"))]) {
      const response = await serve([withSecret()], createContext({ headers: [bearer(value)] }))
      answers.add(JSON.stringify([response.status, [...response.headers], response.body]))
    }
    assert.deepEqual(
      [...answers],
      [JSON.stringify([401, [["WWW-Authenticate", 'Bearer error="invalid_token"']], null])],
    )
  })
})

describe("auth: what an operator learns", () => {
  async function reason(value: string): Promise<Error> {
    const auth = withSecret({ issuer: "https://id.example" })
    try {
      await auth.onRequest!(createContext({ headers: [bearer(value)] }))
    } catch (error) {
      return error as Error
    }
    throw new TypeError("not refused")
  }

  it("says what is wrong with a token, without repeating any of it", async () => {
    const payload = claims({ iss: "https://id.example", email: "ada@private.example" })
    const expired = await reason(hs256({ ...payload, exp: NOW - 100 }))
    assert.match(expired.message, /ERR_JWT_EXPIRED \(exp\)/)
    const issuer = await reason(hs256({ ...payload, iss: "https://evil.example" }))
    assert.match(issuer.message, /ERR_JWT_CLAIM_VALIDATION_FAILED \(iss\)/)
    const critical = await reason(hs256(payload, { crit: ["\u001b[31mfake log line"] }))
    for (const error of [expired, issuer, critical]) {
      assert.equal(error.cause, undefined)
      assert.doesNotMatch(error.message, /private|evil|fake/)
    }
  })
})

describe("auth: forged tokens", () => {
  it("refuses a token without a signature, however its algorithm is spelled", async () => {
    const auth = withSecret()
    for (const alg of ["none", "None", "NONE", "nOnE", "", null, undefined, 0, ["HS256"], { HS256: 1 }]) {
      await refuses(auth, `${encode(JSON.stringify({ alg }))}.${encode(JSON.stringify(claims()))}.`, `${alg}, empty`)
      await refuses(auth, token({ alg }, claims(), hmac(SECRET)), `${alg}, signed`)
    }
  })

  it("refuses changed claims, a changed header and another's signature", async () => {
    const auth = withSecret()
    const [head, body, signature] = hs256().split(".") as [string, string, string]
    const admin = encode(JSON.stringify(claims({ sub: "root" })))
    await refuses(auth, `${head}.${admin}.${signature}`, "claims")
    await refuses(auth, `${encode('{"alg":"HS256","kid":"x"}')}.${body}.${signature}`, "header")
    await refuses(auth, token({ alg: "HS256" }, claims(), hmac(`${SECRET}.`)), "secret")
    await refuses(auth, `${head}.${body}.${signature.slice(0, -4)}`, "short signature")
  })

  it("refuses an algorithm that is not listed, also with the right secret", async () => {
    await refuses(withSecret(), token({ alg: "HS512" }, claims(), hmac(SECRET, 512)), "HS512")
    const both = withSecret({ algorithms: ["HS256", "HS512"] })
    assert.equal(await whoIs(both, bearer(token({ alg: "HS512" }, claims(), hmac(SECRET, 512)))), "ada")
    await refuses(both, token({ alg: "HS384" }, claims(), hmac(SECRET, 384)), "HS384")
  })

  it("never takes a public key for a secret", async (t) => {
    const auth = await withKeyFile(t, pem(rsa), { algorithms: ["RS256"] })
    const der = rsa.publicKey.export({ type: "spki", format: "der" })
    for (const secret of [pem(rsa), pem(rsa).trim(), der]) {
      await refuses(auth, token({ alg: "HS256" }, claims(), hmac(secret)), "HS256 with the public key")
      await refuses(auth, token({ alg: "RS256" }, claims(), hmac(secret)), "the same, called RS256")
    }
    assert.throws(() => withSecret({}, pem(rsa)), { code: "E_CONFIG_INVALID", message: /PEM key/ })
  })

  it("takes no key from the token itself", async (t) => {
    const auth = await withKeyFile(t, pem(rsa), { algorithms: ["RS256"] })
    const jwk = otherRsa.publicKey.export({ format: "jwk" })
    for (const header of [
      { jwk },
      { jku: "http://127.0.0.1:1/" },
      { x5u: "http://127.0.0.1:1/" },
      { kid: "../../dev/null" },
    ]) {
      await refuses(auth, signed("RS256", otherRsa, header), JSON.stringify(Object.keys(header)))
    }
  })

  it("refuses critical extensions, and payloads that are not encoded", async () => {
    const auth = withSecret()
    await refuses(auth, hs256(claims(), { crit: ["exp"], exp: 1 }), "unknown")
    await refuses(auth, hs256(claims(), { crit: [] }), "empty")
    await refuses(auth, hs256(claims(), { crit: "b64" }), "no list")
    await refuses(auth, hs256(claims(), { crit: ["b64"], b64: false }), "b64 false")
    await refuses(auth, hs256(claims(), { crit: ["__proto__"] }), "inherited")
  })

  it("refuses claims that are not a JSON object in UTF-8", async () => {
    const auth = withSecret()
    for (const payload of ["", "null", "[]", '"ada"', "1", "{", '{"sub":"ada"} {}', '["sub","ada"]']) {
      await refuses(auth, hs256(payload), payload)
    }
    const bytes = Buffer.concat([
      Buffer.from(`{"exp":${NOW + 60},"sub":"`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ])
    const input = `${encode('{"alg":"HS256"}')}.${bytes.toString("base64url")}`
    await refuses(auth, `${input}.${hmac(SECRET)(input).toString("base64url")}`, "not UTF-8")
  })

  it("does not fall over a header or claims that nest as deep as a token can", async () => {
    const auth = withSecret()
    const deep = `${"[".repeat(2_900)}${"]".repeat(2_900)}`
    await refuses(auth, `${encode(`{"alg":"HS256","deep":${deep}}`)}.e30.AAAA`, "deep header")
    await refuses(auth, hs256(`{"sub":"ada","exp":${NOW + 60},"deep":${deep}}`), "deep claims")
  })

  it("takes claims of 100 levels and no more: whoever reads them does so recursively", async () => {
    const nested = (levels: number) => hs256(claims({ profile: JSON.parse("[".repeat(levels) + "]".repeat(levels)) }))
    assert.equal(await whoIs(withSecret(), bearer(nested(99))), "ada")
    await refuses(withSecret(), nested(100), "one level more")
  })
})

describe("auth: time and claims", () => {
  it("takes a token until exp and leeway are over, to the second", async () => {
    const auth = withSecret({ leeway: "5s" })
    assert.equal(await whoIs(auth, bearer(hs256(claims({ exp: NOW - 4 })))), "ada")
    await refuses(auth, hs256(claims({ exp: NOW - 5 })), "just over")
  })

  it("takes a token from nbf less leeway on, to the second", async () => {
    const auth = withSecret({ leeway: "5s" })
    assert.equal(await whoIs(auth, bearer(hs256(claims({ nbf: NOW + 5 })))), "ada")
    await refuses(auth, hs256(claims({ nbf: NOW + 6 })), "too early")
  })

  it("refuses a token without exp, and times that are no numbers", async () => {
    const auth = withSecret()
    await refuses(auth, hs256({ sub: "ada" }), "no exp")
    for (const exp of [null, "", String(NOW + 60), true, [NOW + 60], {}])
      await refuses(auth, hs256(claims({ exp })), `${exp}`)
    for (const nbf of [null, "0", [0]]) await refuses(auth, hs256(claims({ nbf })), `${nbf}`)
  })

  it("checks issuer and audience when configured", async () => {
    const auth = withSecret({ issuer: "https://id.example", audience: ["api", "web"] })
    const good = { iss: "https://id.example", aud: "api" }
    assert.equal(await whoIs(auth, bearer(hs256(claims(good)))), "ada")
    assert.equal(await whoIs(auth, bearer(hs256(claims({ ...good, aud: ["other", "web"] })))), "ada")
    await refuses(auth, hs256(claims({ iss: good.iss })), "no aud")
    await refuses(auth, hs256(claims({ aud: "api" })), "no iss")
    await refuses(auth, hs256(claims({ ...good, iss: "https://id.example/" })), "other issuer")
    await refuses(auth, hs256(claims({ ...good, iss: ["https://id.example"] })), "issuer in a list")
    await refuses(auth, hs256(claims({ ...good, aud: "apis" })), "other audience")
    await refuses(auth, hs256(claims({ ...good, aud: [] })), "no audience")
    await refuses(auth, hs256(claims({ ...good, aud: { api: true } })), "odd audience")
  })

  it("takes the user's id from the configured claim, and refuses what is no id", async () => {
    const auth = withSecret({ user_claim: "uid" })
    assert.equal(await whoIs(auth, bearer(hs256(claims({ uid: "grace" })))), "grace")
    assert.equal(await whoIs(auth, bearer(hs256(claims({ uid: 7 })))), "7")
    for (const uid of [undefined, null, "", true, {}, ["grace"], "x".repeat(256), "a\nb", "a\u0000", "\u0085"]) {
      await refuses(auth, hs256(claims({ uid })), JSON.stringify(uid))
    }
    await refuses(withSecret({ user_claim: "constructor" }), hs256(), "inherited")
  })

  it("keeps a claim called __proto__ a claim", async () => {
    const context = createContext({
      headers: [bearer(hs256(`{"sub":"ada","exp":${NOW + 60},"__proto__":{"role":"admin"}}`))],
    })
    await serve([withSecret()], context)
    const claimsOf = context.user!.claims
    assert.equal(claimsOf.role, undefined)
    assert.equal(({} as Record<string, unknown>).role, undefined)
  })
})

describe("auth: remembered tokens", () => {
  it("costs no wait the second time and gives the same, frozen user", async () => {
    const auth = withSecret()
    const context = () => createContext({ headers: [bearer(hs256(claims({ roles: ["user"] })))] })
    const first = context()
    assert.ok(auth.onRequest!(first) instanceof Promise)
    await serve([auth], first)
    const second = context()
    assert.equal(auth.onRequest!(second), undefined)
    assert.equal(second.user, first.user)
    assert.throws(() => (second.user!.claims.roles as string[]).push("admin"), TypeError)
    assert.throws(() => Object.assign(second.user!, { id: "root" }), TypeError)
  })

  it("forgets a token when it expires", async () => {
    const clock = { ms: NOW_MS }
    const auth = withSecret({ leeway: "5s" }, SECRET, clock)
    const value = hs256()
    assert.equal(await whoIs(auth, bearer(value)), "ada")
    clock.ms += 64_999
    assert.equal(await whoIs(auth, bearer(value)), "ada")
    clock.ms += 1
    await refuses(auth, value, "expired")
  })

  it("never takes one token for another with the same beginning", async () => {
    const auth = withSecret()
    const value = hs256()
    assert.equal(await whoIs(auth, bearer(value)), "ada")
    await refuses(auth, `${value}A`, "one character more")
    await refuses(auth, value.slice(0, -1), "one character less")
  })
})

describe("auth: cookie", () => {
  const auth = () => withSecret({ cookie: "session" })

  it("takes the token of the configured cookie", async () => {
    assert.equal(await whoIs(auth(), ["Cookie", `a=1; session=${hs256()}; b=2`]), "ada")
    assert.equal(await whoIs(auth(), ["Cookie", "a=1"], ["Cookie", `session=${hs256()}`]), "ada")
  })

  it("takes no cookie whose name only resembles it", async () => {
    for (const name of ["xsession", "sessionx", "Session", "session_"]) {
      assert.equal(await whoIs(auth(), ["Cookie", `${name}=${hs256()}`]), "anonymous", name)
    }
    assert.equal(await whoIs(auth(), ["Cookie", `other="; session; x=${hs256()}`]), "anonymous")
  })

  it("counts an invalid or expired cookie as none, so that its owner can still log in", async () => {
    assert.equal(await whoIs(auth(), ["Cookie", "session=junk"]), "anonymous")
    assert.equal(await whoIs(auth(), ["Cookie", `session=${hs256(claims({ exp: NOW - 100 }))}`]), "anonymous")
    assert.equal(
      await whoIs(auth(), ["Cookie", `session=${token({ alg: "HS256" }, claims(), hmac("x"))}`]),
      "anonymous",
    )
  })

  it("takes neither of two cookies that differ: one of them was planted", async () => {
    const other = hs256(claims({ sub: "mallory" }))
    assert.equal(await whoIs(auth(), ["Cookie", `session=${hs256()}; session=${other}`]), "anonymous")
    assert.equal(await whoIs(auth(), ["Cookie", `session=${hs256()}; session=${hs256()}`]), "ada")
  })

  it("lets Authorization decide when both are there", async () => {
    const cookie: [string, string] = ["Cookie", `session=${hs256(claims({ sub: "cookie" }))}`]
    assert.equal(await whoIs(auth(), cookie, bearer(hs256())), "ada")
    assert.equal(await whoIs(auth(), cookie, bearer("junk")), "E_UNAUTHENTICATED")
    assert.equal(await whoIs(auth(), cookie, ["Authorization", "Basic YTpi"]), "cookie")
  })
})

describe("auth: keys", () => {
  const algorithms: [string, Pair][] = [
    ["RS256", rsa],
    ["RS384", rsa],
    ["RS512", rsa],
    ["PS256", rsa],
    ["PS384", rsa],
    ["PS512", rsa],
    ["ES256", p256],
    ["ES384", p384],
    ["ES512", p521],
    ["EdDSA", ed25519],
  ]

  for (const [alg, pair] of algorithms) {
    it(`verifies ${alg} with a public key in a PEM file`, async (t) => {
      const auth = await withKeyFile(t, pem(pair), { algorithms: [alg] })
      const value = signed(alg, pair)
      assert.equal(await whoIs(auth, bearer(value)), "ada")
      await refuses(auth, `${value.slice(0, -8)}AAAAAAAA`, "changed signature")
    })
  }

  it("keeps RS256 and PS256 apart, though they share the key", async (t) => {
    const auth = await withKeyFile(t, pem(rsa), { algorithms: ["PS256"] })
    await refuses(auth, signed("RS256", rsa), "RS256")
    const asPs = signed("RS256", rsa).split(".")
    asPs[0] = encode('{"alg":"PS256"}')
    await refuses(auth, asPs.join("."), "RS256 called PS256")
  })

  it("refuses a secret shorter than the hash, in bytes", () => {
    assert.throws(() => withSecret({}, "x".repeat(31)), { code: "E_CONFIG_INVALID", message: /at least 32 bytes/ })
    assert.throws(() => withSecret({ algorithms: ["HS256", "HS512"] }, "x".repeat(63)), /at least 64 bytes/)
    assert.doesNotThrow(() => withSecret({}, "é".repeat(16)))
  })

  it("refuses a key file that does not suit, saying why", async (t) => {
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 })
    const privatePem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }) as string
    const wrong: [string, string, RegExp][] = [
      [pem(rsa), "ES256", /ES256 cannot use .*rsa 2048/],
      [pem(p384), "ES256", /ES256 cannot use .*secp384r1/],
      [pem(p256), "EdDSA", /EdDSA cannot use/],
      [pem(ed25519), "RS256", /RS256 cannot use .*ed25519/],
      [pem(weak), "RS256", /rsa 1024/],
      [privatePem, "RS256", /private key/],
      ["hello", "RS256", /no public key/],
    ]
    for (const [text, alg, message] of wrong) {
      await assert.rejects(withKeyFile(t, text, { algorithms: [alg] }), { code: "E_CONFIG_INVALID", message }, alg)
    }
    const config = middlewareConfig({ auth: { algorithms: ["RS256"], key_file: import.meta.filename } }).auth!
    const gone = { ...config, key_file: `${import.meta.filename}.gone` }
    assert.throws(() => createAuth(gone, { warn: assert.fail }), { code: "E_FILE_UNREADABLE" })
  })
})
