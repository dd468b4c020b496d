import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import { CompactEncrypt } from "jose"
import { HeaderList } from "../../src/message/header-list.ts"
import { createAuth } from "../../src/middleware/auth.ts"
import { createSessions } from "../../src/middleware/session.ts"
import { SessionSeal } from "../../src/middleware/session-seal.ts"
import type { Middleware } from "../../src/pipeline/middleware.ts"
import { createContext, middlewareConfig, serve } from "./serve.ts"
import { openState, Site } from "./session-site.ts"
import { hs256, NOW_MS, SECRET } from "./tokens.ts"

const DAY = 86_400_000
const MINUTE = 60_000

describe("a session", () => {
  it("begins with the app's word on a login path and says on later requests who the user is", async (t) => {
    const site = await Site.open(t)
    const answer = await site.command('{"id":"ada","claims":{"role":"admin"}}')
    assert.equal(answer.status, 200)
    assert.equal(answer.cookies.length, 1)
    assert.match(answer.cookies[0]!, /^__Host-session=[\w.-]+; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/)
    assert.equal(answer.headers.has("x-bext-session"), false)
    const [cookie] = answer.cookies[0]!.split(";")
    const { context } = await site.request({ headers: [["Cookie", `a=1; ${cookie}; b=2`]] })
    assert.deepEqual(context.user, { id: "ada", claims: { role: "admin" } })
  })

  it("does not let a plugin make a change out of what a page of another origin asked for", async (t) => {
    const rewrite: Middleware = {
      name: "rewrite",
      priority: 600,
      kind: "plugin",
      onRequest(context) {
        const to = context.requestHeaders.get("x-method")
        if (to !== undefined) context.method = to
      },
    }
    const site = await Site.open(t, { others: [rewrite] })
    const cookie = await site.login()
    const follow = (from: string, to: string) =>
      site.request({
        headers: [
          ["Cookie", cookie],
          ["Sec-Fetch-Site", from],
          ["X-Method", to],
        ],
      })
    assert.equal((await follow("cross-site", "GET")).status, 200)
    assert.equal((await follow("cross-site", "POST")).code, "E_CORS_ORIGIN")
    assert.equal((await follow("same-origin", "POST")).status, 200)
    const hidden = {
      method: "POST",
      path: "/login",
      headers: [
        ["Sec-Fetch-Site", "cross-site"],
        ["X-Method", "GET"],
      ],
    } as const
    assert.equal((await site.request(hidden, [["X-Bext-Session", '{"id":"eve"}']])).code, "E_CORS_ORIGIN")
  })

  it("costs no wait the second time and gives the same, frozen user", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login({ id: "ada", claims: { roles: ["user"] } })
    const context = () => createContext({ headers: [["Cookie", cookie]] })
    const first = context()
    const [take, authenticate] = site.middlewares
    assert.equal(take.onRequest!(first), undefined)
    assert.ok(authenticate.onRequest!(first) instanceof Promise)
    await site.whoIs(cookie)
    const [second, third] = [context(), context()]
    for (const again of [second, third]) {
      take.onRequest!(again)
      assert.equal(authenticate.onRequest!(again), undefined)
    }
    assert.equal(second.user, third.user)
    assert.throws(() => (second.user!.claims.roles as string[]).push("admin"), TypeError)
  })

  it("ends with the app's word: its cookie is cleared, and worth nothing to whoever kept it", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login()
    const answer = await site.command("end", [["Cookie", cookie]])
    assert.deepEqual(answer.cookies, ["__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"])
    assert.equal(await site.whoIs(cookie), "anonymous")
  })

  it("ends with all others of its user, on this host, when the app says so", async (t) => {
    const site = await Site.open(t)
    const [here, there, grace] = [await site.login(), await site.login(), await site.login({ id: "grace" })]
    const login = await site.request({ method: "POST", path: "/login", hostname: "other.example" }, [
      ["x-bext-session", '{"id":"ada"}'],
    ])
    const namesake = login.cookies[0]!.split(";")[0]!
    assert.match((await site.command("end all", [["Cookie", here]])).cookies.join(), /^__Host-session=; Max-Age=0;/)
    for (const cookie of [here, there]) assert.equal(await site.whoIs(cookie), "anonymous")
    assert.equal(await site.whoIs(grace), "grace")
    assert.equal(await site.whoIs(namesake, { hostname: "other.example" }), "ada")
    site.clock.ms += 1
    assert.equal(await site.whoIs(await site.login()), "ada")
  })

  it("ends for nobody else when who says so has none that counts", async (t) => {
    const site = await Site.open(t, { session: { idle: "1h" } })
    const [stale, fresh] = [await site.login(), await site.login()]
    site.clock.ms += 30 * MINUTE
    const renewed = (await site.request({ headers: [["Cookie", fresh]] })).cookies[0]!.split(";")[0]!
    site.clock.ms += 50 * MINUTE
    await site.command("end all", [["Cookie", stale]])
    assert.equal(await site.whoIs(renewed), "ada")
  })

  it("has a new id each time, and ends the one before: who planted a cookie gains nothing by the login", async (t) => {
    const site = await Site.open(t)
    const planted = await site.login({ id: "mallory" })
    const first = await site.login({ id: "ada" }, planted)
    const second = await site.login({ id: "ada" })
    assert.equal(new Set([planted, first, second]).size, 3)
    assert.equal(await site.whoIs(planted), "anonymous")
    await site.command("end", [["Cookie", first]])
    assert.deepEqual([await site.whoIs(first), await site.whoIs(second)], ["anonymous", "ada"])
  })

  it("has the cookie that the configuration describes", async (t) => {
    const cookieOf = async (session: object) => {
      const site = await Site.open(t, { session })
      return (await site.command('{"id":1}', [["Sec-Fetch-Site", "same-origin"]])).cookies[0]
    }
    const loose = { secure: false, same_site: "strict", idle: "10m", path: "/app" }
    assert.match((await cookieOf(loose))!, /^session=[\w.-]+; Max-Age=600; Path=\/app; HttpOnly; SameSite=Strict$/)
    assert.match((await cookieOf({ domain: "example.com" }))!, /^__Secure-session=.*; Domain=example\.com; Secure;/)
    assert.match((await cookieOf({ cookie: "sid", same_site: "none" }))!, /^sid=.*; Secure; HttpOnly; SameSite=None$/)
  })

  it("keeps ids of every script and claims called __proto__ what they are", async (t) => {
    const site = await Site.open(t)
    const cookie = (await site.command('{"id":"\\u0416\\ud83d\\ude00","claims":{"__proto__":{"role":"admin"}}}'))
      .cookies[0]!
    const { context } = await site.request({ headers: [["Cookie", cookie.split(";")[0]!]] })
    assert.equal(context.user!.id, "Ж😀")
    const encoded = await site.login({ id: "é" }).catch((error: Error) => error.message)
    assert.match(encoded, /^E_SESSION_INVALID/)
    const answer = await site.command(encodeURIComponent('{"id":"é%41"}'))
    assert.equal(await site.whoIs(answer.cookies[0]!.split(";")[0]!), "é%41")
    assert.equal(context.user!.claims.role, undefined)
    assert.ok(Object.hasOwn(context.user!.claims, "__proto__"))
  })
})

describe("a session's time", () => {
  it("is over when it was not used for `idle`, to the millisecond, leeway included", async (t) => {
    const site = await Site.open(t, { session: { idle: "30m", leeway: "5s" } })
    const cookie = await site.login()
    site.clock.ms += 30 * MINUTE + 4_999
    assert.equal(await site.whoIs(cookie), "ada")
    site.clock.ms += 1
    assert.equal(await site.whoIs(cookie), "anonymous")
  })

  it("goes on while it is used, with a new cookie once a quarter of `idle` is over, not on every request", async (t) => {
    const site = await Site.open(t, { session: { idle: "40m" } })
    let cookie = await site.login()
    const use = () => site.request({ headers: [["Cookie", cookie]] })
    site.clock.ms += 10 * MINUTE - 1
    assert.deepEqual((await use()).cookies, [])
    for (let round = 0; round < 10; round++) {
      site.clock.ms += 30 * MINUTE
      const answer = await use()
      assert.equal(answer.context.user?.id, "ada")
      assert.match(answer.cookies[0]!, /; Max-Age=2400;/)
      cookie = answer.cookies[0]!.split(";")[0]!
      assert.deepEqual((await use()).cookies, [])
    }
  })

  it("gives requests that arrive together one and the same new cookie", async (t) => {
    const site = await Site.open(t, { session: { idle: "40m" } })
    const headers: [string, string][] = [["Cookie", await site.login()]]
    site.clock.ms += 20 * MINUTE
    const [first] = (await site.request({ headers })).cookies
    assert.deepEqual((await site.request({ headers })).cookies, [first])
  })

  it("is over after `absolute`, however much it is used, and the last cookie does not outlast it", async (t) => {
    const site = await Site.open(t, { session: { idle: "1d", absolute: "3d", leeway: "1ms" } })
    let cookie = await site.login()
    for (let hours = 12; hours < 72; hours += 12) {
      site.clock.ms += DAY / 2
      const answer = await site.request({ headers: [["Cookie", cookie]] })
      cookie = answer.cookies[0]!.split(";")[0]!
      if (hours === 60) assert.match(answer.cookies[0]!, /; Max-Age=43200;/)
    }
    site.clock.ms += DAY / 2
    assert.equal(await site.whoIs(cookie), "ada")
    site.clock.ms += 1
    assert.equal(await site.whoIs(cookie), "anonymous")
  })

  it("obeys a configuration that grew stricter, and not one that grew laxer", async (t) => {
    const state = openState(t)
    const clock = { ms: NOW_MS }
    const week = await Site.open(t, { state, clock, session: { idle: "5d", absolute: "7d" } })
    const day = await Site.open(t, { state, clock, session: { idle: "1d", absolute: "1d" } })
    const [long, short] = [await week.login(), await day.login()]
    clock.ms += 2 * DAY
    assert.deepEqual([await week.whoIs(long), await day.whoIs(long)], ["ada", "anonymous"])
    assert.equal(await week.whoIs(short), "anonymous")
  })

  it("is not believed when it lies ahead of the clock, beyond the leeway", async (t) => {
    const site = await Site.open(t, { session: { leeway: "5s" } })
    const cookie = await site.login()
    site.clock.ms -= 5_000
    assert.equal(await site.whoIs(cookie), "ada")
    site.clock.ms -= 1
    assert.equal(await site.whoIs(cookie), "anonymous")
  })
})

describe("a session cookie that is not valid", () => {
  it("counts as none and is cleared: tampered with, cut, or no session at all", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login()
    const [name, value] = cookie.split("=") as [string, string]
    const parts = value.split(".")
    const flip = (text: string) => (text.startsWith("A") ? `B${text.slice(1)}` : `A${text.slice(1)}`)
    const wrong = new Map<string, string>([
      ["empty", ""],
      ["text", "junk"],
      ["header alone", `${parts[0]}....`],
      ["cut", value.slice(0, -2)],
      ["longer", `${value}AA`],
      ["five empty parts", "...."],
      ["quoted", `"${value}"`],
      ["a key of its own", value.replace("..", ".AAAA.")],
      ...[2, 3, 4].map((at): [string, string] => [`part ${at}`, parts.with(at, flip(parts[at]!)).join(".")]),
      ["a signed token", hs256()],
      ["oversized", "A".repeat(9_000)],
      ["oversized in shape", `${parts[0]}..${"A".repeat(22)}.${"A".repeat(5_000)}.${"A".repeat(43)}`],
    ])
    for (const [what, text] of wrong) {
      const { context, cookies, status } = await site.request({ headers: [["Cookie", `${name}=${text}`]] })
      assert.deepEqual([context.user, status], [null, 200], what)
      assert.match(cookies.join(), /^__Host-session=; Max-Age=0; /, what)
    }
    assert.equal(await site.whoIs(cookie), "ada")
  })

  it("is no session whatever its header asks for: alg none, other algorithms, zip, crit, a key inside", async (t) => {
    const site = await Site.open(t)
    const value = (await site.login()).split("=")[1]!
    const [head, , ...rest] = value.split(".") as [string, string, ...string[]]
    const genuine = JSON.parse(Buffer.from(head, "base64url").toString())
    assert.deepEqual(Object.keys(genuine), ["alg", "enc", "kid"])
    const headers: object[] = [
      { ...genuine, alg: "none" },
      { alg: "none" },
      { ...genuine, zip: "DEF" },
      { ...genuine, crit: ["exp"], exp: 1 },
      { ...genuine, enc: "A128CBC-HS256" },
      { ...genuine, alg: "A256KW" },
      { ...genuine, alg: "PBES2-HS512+A256KW", p2s: "AAAA", p2c: 2_000_000_000 },
      { ...genuine, jwk: { kty: "oct", k: "AAAA" } },
      { ...genuine, kid: "../../dev/null" },
      { enc: genuine.enc, alg: genuine.alg, kid: genuine.kid },
    ]
    for (const header of headers) {
      const encoded = Buffer.from(JSON.stringify(header)).toString("base64url")
      for (const key of ["", "AAAA"]) {
        const text = [encoded, key, ...rest].join(".")
        assert.equal(await site.whoIs(`__Host-session=${text}`), "anonymous", JSON.stringify(header))
      }
    }
  })

  it("is one that somebody else's key sealed, with our key's id", async (t) => {
    const site = await Site.open(t)
    const [head, , ...rest] = (await site.login()).split("=")[1]!.split(".")
    assert.equal(rest.length, 3)
    const header = JSON.parse(Buffer.from(head!, "base64url").toString())
    const times = { begun: NOW_MS, until: NOW_MS + DAY, renewed: NOW_MS }
    const payload = Buffer.from(JSON.stringify({ id: "1", sub: "root", claims: {}, ...times }))
    const forged = await new CompactEncrypt(payload).setProtectedHeader(header).encrypt(randomBytes(64))
    assert.equal(forged.split(".")[0], head)
    assert.equal(await site.whoIs(`__Host-session=${forged}`), "anonymous")
  })

  it("is opened by any of the secrets, and sealed by the first alone", async (t) => {
    const state = openState(t)
    const open = (...secrets: string[]) => Site.open(t, { state, session: { secrets } })
    const before = await open("env:OLD_KEY")
    const during = await open("env:SESSION_KEY", "env:OLD_KEY")
    const afterwards = await open("env:SESSION_KEY")
    const [old, fresh] = [await before.login(), await during.login()]
    assert.deepEqual([await during.whoIs(old), await during.whoIs(fresh)], ["ada", "ada"])
    assert.deepEqual([await afterwards.whoIs(old), await afterwards.whoIs(fresh)], ["anonymous", "ada"])
    assert.equal(await before.whoIs(fresh), "anonymous")
  })

  it("is one of another cookie name with the same secret", async (t) => {
    const state = openState(t)
    const one = await Site.open(t, { state, session: { cookie: "one" } })
    const two = await Site.open(t, { state, session: { cookie: "two" } })
    const value = (await one.login()).split("=")[1]!
    assert.equal(await two.whoIs(`two=${value}`), "anonymous")
  })

  it("is one of another host, unless the cookie has a domain: tenants with one secret stay apart", async (t) => {
    const state = openState(t)
    const one = await Site.open(t, { state })
    const cookie = await one.login()
    const elsewhere = { hostname: "other.example" }
    assert.deepEqual([await one.whoIs(cookie), await one.whoIs(cookie, elsewhere)], ["ada", "anonymous"])
    const wide = await Site.open(t, { state, session: { domain: "example.com" } })
    const shared = await wide.login()
    assert.equal(await wide.whoIs(shared, { hostname: "shop.example.com" }), "ada")
  })

  it("is neither of two that differ, and both are left alone: with ours gone, the planted one would be alone", async (t) => {
    const site = await Site.open(t)
    const [ada, mallory] = [await site.login(), await site.login({ id: "mallory" })]
    for (const tossed of [`${mallory}; ${ada}`, `${ada}; ${mallory}`, `${ada}; __Host-session=junk`]) {
      const { context, cookies } = await site.request({ headers: [["Cookie", tossed]] })
      assert.deepEqual([context.user, cookies], [null, []], tossed)
    }
    assert.equal(await site.whoIs(`${ada}; ${ada}`), "ada")
  })
})

describe("a session secret", () => {
  it("has at least 32 bytes, and the error says how to make one", () => {
    assert.throws(() => new SessionSeal([{ name: "env:K", value: "x".repeat(31) }], "s"), {
      code: "E_CONFIG_INVALID",
      message: /env:K has 31 bytes.*openssl rand -base64 32/,
    })
    assert.doesNotThrow(() => new SessionSeal([{ name: "env:K", value: "é".repeat(16) }], "s"))
  })
})

describe("what the app says of a session", () => {
  it("is nothing on other paths: it is dropped, and the log says so once", async (t) => {
    const warnings: string[] = []
    const site = await Site.open(t, { warnings })
    for (const path of ["/", "/login/x", "/account"]) {
      const answer = await site.request({ path }, [["x-bext-session", '{"id":"mallory"}']])
      assert.deepEqual([answer.status, answer.cookies, answer.headers.has("x-bext-session")], [200, [], false], path)
    }
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /x-bext-session from "\/", which is none of middleware\.session\.login_paths/)
    assert.doesNotMatch(warnings[0]!, /mallory/)
  })

  it("is a failure when it is not understood, and nobody is logged in", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login()
    const wrong = [
      "",
      "END",
      "end  all",
      "endall",
      "begin",
      "null",
      "[]",
      '"ada"',
      "{}",
      "{",
      '{"id":""}',
      '{"id":null}',
      '{"id":{}}',
      '{"id":"a\\nb"}',
      `{"id":"${"x".repeat(256)}"}`,
      '{"id":"ada","claims":null}',
      '{"id":"ada","claims":[]}',
      `{"id":"ada","claims":{"a":${"[".repeat(100)}${"]".repeat(100)}}}`,
      '{"id":"ada","claim":{}}',
      '{"id":"é"}',
      "%7B%22id%22%3A%22ada%22",
      "%7B%ff%7D",
      "%00",
      `{"id":"ada","claims":{"x":"${"y".repeat(5_000)}"}}`,
      `{"id":"ada","claims":{"x":"${randomBytes(1_450).toString("hex")}"}}`,
    ]
    for (const value of wrong) {
      const answer = await site.command(value, [["Cookie", cookie]])
      assert.deepEqual([answer.code, answer.status], ["E_SESSION_INVALID", 502], value.slice(0, 60))
      assert.deepEqual(answer.cookies, [], value.slice(0, 60))
    }
    assert.equal(await site.whoIs(cookie), "ada")
    const twice = await site.request({ path: "/login", method: "POST" }, [
      ["x-bext-session", '{"id":"ada"}'],
      ["X-Bext-Session", '{"id":"mallory"}'],
    ])
    assert.equal(twice.code, "E_SESSION_INVALID")
  })

  it("does not keep the body of a response that failed for it", async (t) => {
    const { revocations } = await Site.open(t)
    const section = { secrets: ["env:SESSION_KEY"], login_paths: ["/login"] }
    const config = middlewareConfig({ session: section }).session!
    const { wrap } = createSessions(config, undefined, { revocations, warn: assert.fail })
    const body = Readable.from(["welcome"])
    const handler = wrap({
      handle: () => ({ status: 200, headers: HeaderList.from([["x-bext-session", "junk"]]), body }),
    })
    await assert.rejects(async () => handler.handle(createContext({ path: "/login" })), { code: "E_SESSION_INVALID" })
    assert.equal(body.destroyed, true)
  })

  it("fits a cookie exactly or not at all", async (t) => {
    const site = await Site.open(t)
    const sizeOf = async (length: number) => {
      const { code, cookies } = await site.command(JSON.stringify({ id: "ada", claims: { x: "y".repeat(length) } }))
      return code ?? cookies[0]!.split(";")[0]!.length
    }
    let length = 2_700
    while (typeof (await sizeOf(length + 16)) === "number") length += 16
    const largest = await sizeOf(length)
    assert.ok(typeof largest === "number" && largest > 4_060 && largest <= 4_096, `${largest}`)
    assert.equal(await sizeOf(length + 16), "E_SESSION_INVALID")
  })
})

describe("a request from a page of another origin", () => {
  const own: [string, string] = ["Origin", "https://example.com"]
  const foreign: [string, string] = ["Origin", "https://evil.example"]
  const site = (value: string): [string, string] => ["Sec-Fetch-Site", value]

  it("is not authenticated by the cookie when it may change something", async (t) => {
    const sessions = await Site.open(t)
    const cookie = await sessions.login()
    const cases: [string, [string, string][], string][] = [
      ["same origin", [own, site("same-origin")], "ada"],
      ["same origin, an older browser", [own], "ada"],
      ["typed by the user", [site("none")], "ada"],
      ["no browser", [], "ada"],
      ["another site", [foreign, site("cross-site")], "anonymous"],
      ["another site, an older browser", [foreign], "anonymous"],
      ["another site without Origin", [site("cross-site")], "anonymous"],
      ["a sibling domain", [["Origin", "https://blog.example.com"], site("same-site")], "anonymous"],
      ["a sandboxed frame", [["Origin", "null"]], "anonymous"],
      ["plain http", [["Origin", "http://example.com"]], "anonymous"],
      ["another port", [["Origin", "https://example.com:8443"]], "anonymous"],
      ["a longer host", [["Origin", "https://example.com.evil.example"]], "anonymous"],
      ["two origins", [own, foreign], "anonymous"],
      ["two sites", [site("same-origin"), site("cross-site")], "anonymous"],
      ["an unknown site", [site("Same-Origin")], "anonymous"],
    ]
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"]) {
      for (const [what, headers, user] of cases) {
        const { context, cookies } = await sessions.request({ method, headers: [...headers, ["Cookie", cookie]] })
        assert.deepEqual([context.user?.id ?? "anonymous", cookies], [user, []], `${method} of ${what}`)
      }
    }
  })

  it("is not authenticated either when it names that origin with a safe method, as a websocket does", async (t) => {
    const sessions = await Site.open(t)
    const cookie = await sessions.login()
    const who = (...headers: [string, string][]) => sessions.whoIs(cookie, { headers })
    assert.equal(await who(foreign, site("cross-site")), "anonymous")
    assert.equal(await who(site("cross-site")), "ada", "a link")
    assert.equal(await who(own, site("same-origin")), "ada")
  })

  it("is authenticated when CORS allows that origin with credentials, and not otherwise", async (t) => {
    const state = openState(t)
    const cors = { origins: ["https://app.example.net"] }
    const partner: [string, string] = ["Origin", "https://app.example.net"]
    for (const credentials of [true, false]) {
      const sessions = await Site.open(t, { state, cors: { ...cors, credentials } })
      const cookie = await sessions.login()
      const post = (...headers: [string, string][]) => sessions.whoIs(cookie, { method: "POST", headers })
      assert.equal(await post(partner, site("cross-site")), credentials ? "ada" : "anonymous")
      assert.equal(await post(foreign, site("cross-site")), "anonymous")
    }
  })

  it('has to say where it comes from when same_site is "none"', async (t) => {
    const sessions = await Site.open(t, { session: { same_site: "none" } })
    const cookie = await sessions.login().catch((error: Error) => error.message)
    assert.match(cookie, /^E_CORS_ORIGIN/)
    const answer = await sessions.command('{"id":"ada"}', [site("same-origin")])
    const mine = answer.cookies[0]!.split(";")[0]!
    assert.equal(await sessions.whoIs(mine, { method: "POST" }), "anonymous")
    assert.equal(await sessions.whoIs(mine, { method: "POST", headers: [site("same-origin")] }), "ada")
  })

  it("begins no session: nobody is logged in as somebody else without noticing", async (t) => {
    const sessions = await Site.open(t)
    const answer = await sessions.request({ method: "POST", path: "/login", headers: [foreign] }, [
      ["x-bext-session", '{"id":"mallory"}'],
    ])
    assert.deepEqual([answer.code, answer.status, answer.cookies], ["E_CORS_ORIGIN", 403, []])
  })
})

describe("a session beside others", () => {
  const bearer = (value: string): [string, string] => ["Authorization", `Bearer ${value}`]
  const auth = () => {
    const config = middlewareConfig({ auth: { algorithms: ["HS256"], secret: "env:JWT" } }).auth!
    return createAuth(config, { secret: SECRET, warn: assert.fail, now: () => NOW_MS })
  }

  it("gives way to a bearer token, good or bad", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login({ id: "grace" })
    const who = async (...headers: [string, string][]) => {
      const context = createContext({ headers: [["Cookie", cookie], ...headers] })
      const { code } = await serve([auth(), ...site.middlewares], context)
      return code ?? context.user?.id
    }
    assert.equal(await who(), "grace")
    assert.equal(await who(bearer(hs256())), "ada")
    assert.equal(await who(bearer("junk")), "E_UNAUTHENTICATED")
  })

  it("shows its cookie to nobody behind it, and leaves other cookies as they are", async (t) => {
    const site = await Site.open(t)
    const cookie = await site.login()
    const seen = async (value: string) => {
      const { context } = await site.request({ headers: [["Cookie", value]] })
      return context.requestHeaders.get("cookie")
    }
    assert.equal(await seen(`a=1; ${cookie}; b=2`), "a=1; b=2")
    assert.equal(await seen(cookie), undefined)
    assert.equal(await seen(`${cookie}; ${cookie}x`), undefined)
    assert.equal(await seen(`a=1; x${cookie}; __Host-session`), `a=1; x${cookie}; __Host-session`)
    const split = await site.request({
      headers: [
        ["Cookie", "a=1"],
        ["cookie", cookie],
      ],
    })
    assert.equal(split.context.user?.id, "ada")
    assert.deepEqual(split.context.requestHeaders.getAll("cookie"), ["a=1"])
  })

  it("writes its cookie once, whatever the app or a plugin sets under that name", async (t) => {
    const fake = "__Host-session=planted; Path=/; Secure"
    const plugin = {
      name: "p",
      priority: 600,
      kind: "plugin" as const,
      onResponse({ response }: { response: { headers: HeaderList } | null }) {
        response!.headers.append("Set-Cookie", " __Host-session = planted; Path=/x")
        response!.headers.append("Set-Cookie", "=__Host-session=planted")
      },
    }
    const site = await Site.open(t, { others: [plugin] })
    const login: [string, string] = ["x-bext-session", '{"id":"ada"}']
    const app: [string, string][] = [["Set-Cookie", fake], login, ["Set-Cookie", "theme=dark"]]
    const answer = await site.request({ method: "POST", path: "/login" }, app)
    assert.equal(answer.cookies.length, 2)
    assert.equal(answer.cookies[0], "theme=dark")
    assert.match(answer.cookies[1]!, /^__Host-session=(?!planted)/)
    const quiet = await site.request({}, [["Set-Cookie", fake]])
    assert.deepEqual(quiet.cookies, [])
  })

  it("keeps responses with its cookie out of shared caches", async (t) => {
    const site = await Site.open(t, { session: { idle: "40m" } })
    const login = async (...said: string[]) => {
      const app: [string, string][] = [["x-bext-session", '{"id":"ada"}']]
      for (const value of said) app.push(["Cache-Control", value])
      return (await site.request({ method: "POST", path: "/login" }, app)).headers.get("cache-control")
    }
    assert.equal(await login(), "no-store")
    assert.equal(await login("public, max-age=60"), "no-store")
    assert.equal(await login("private, max-age=0"), "private, max-age=0")
    assert.equal(await login('max-age=60, ext="private"'), "no-store")

    const cookie = await site.login()
    const use = async (...said: string[]) => {
      const app = said.map((value): [string, string] => ["Cache-Control", value])
      const answer = await site.request({ headers: [["Cookie", cookie]] }, app)
      return [answer.headers.get("cache-control"), answer.cookies.length]
    }
    assert.deepEqual(await use("max-age=60"), ["max-age=60", 0])
    site.clock.ms += 20 * MINUTE
    assert.deepEqual(await use(), ["private", 1])
    assert.deepEqual(await use("no-cache"), ["no-cache, private", 1])
    assert.deepEqual(await use("public, max-age=60"), ["public, max-age=60", 0])
    assert.deepEqual(await use("s-maxage=60"), ["s-maxage=60", 0])
    for (const name of ["CDN-Cache-Control", "Example-CDN-Cache-Control", "Surrogate-Control"]) {
      const app: [string, string][] = [[name, "max-age=60"]]
      assert.deepEqual((await site.request({ headers: [["Cookie", cookie]] }, app)).cookies, [], name)
      const begun = await site.request({ method: "POST", path: "/login" }, [...app, ["x-bext-session", '{"id":1}']])
      assert.deepEqual([begun.cookies.length, begun.headers.has(name)], [1, false], name)
    }
  })
})
