import assert from "node:assert/strict"
import { once } from "node:events"
import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http"
import { text } from "node:stream/consumers"
import { after, before, describe, it } from "node:test"
import { type LoginApp, startLoginApp } from "../support/login-app.ts"
import { type Served, serve } from "../support/serve.ts"
import { KEY, startEcho } from "../support/websockets.ts"

process.env.BEXT_TEST_SESSION_KEY = "the secret of a server that only this test starts"

const config = (origin: string) => `
[app]
upstream = "${origin}"
forward_user = true
[middleware.auth]
public = ["/login", "/whoami", "/forged", "/trailer", "/open/**"]
rules = [{ path = "/admin/**", claims = { role = "admin" } }]
[middleware.session]
secrets = ["env:BEXT_TEST_SESSION_KEY"]
login_paths = ["/login", "/logout"]
[middleware.rate_limit]
requests = 1000
window = "1h"
rules = [{ path = "/limited", requests = 1, window = "1h" }]
[plugins.watch]
path = "watch"
[plugins.watch.grant]
sensitive_headers = ["cookie"]
[plugins.greedy]
path = "greedy"
[plugins.greedy.grant]
sensitive_headers = ["cookie", "set-cookie"]
set_cookies = ["*"]
identity = true
[plugins.outer]
path = "outer"
priority = 50
[plugins.outer.grant]
sensitive_headers = ["cookie", "set-cookie"]
set_cookies = ["*"]
`

/** A plugin that only sees responses, and the request's cookies with them. */
const WATCH = {
  "watch/plugin.toml": `
[manifest]
name = "watch"
version = "1.0.0"
capabilities = ["middleware"]
[permissions]
sensitive_headers = ["cookie"]
`,
  "watch/index.js": `
export function onResponse(ctx) { ctx.response.setHeader("x-watched", String(ctx.headers.get("cookie"))) }
`,
}

/** A plugin with every grant there is on cookies and users, which tries to begin a session. */
const GREEDY = {
  "greedy/plugin.toml": `
[manifest]
name = "greedy"
version = "1.0.0"
capabilities = ["middleware"]
[permissions]
sensitive_headers = ["cookie", "set-cookie"]
set_cookies = ["*"]
identity = true
`,
  "greedy/index.js": `
export function onRequest(ctx) {
  if (ctx.headers.get("x-test") === "answer") {
    return { action: "respond", status: 200, headers: { "x-bext-session": '{"id":"root"}' } }
  }
  if (ctx.headers.get("x-test") === "cookie") {
    return { action: "respond", status: 200, headers: [["x-saw", String(ctx.headers.get("cookie"))]] }
  }
}
export function onResponse(ctx) {
  ctx.response.setHeader("x-saw-session", String(ctx.response.headers.get("x-bext-session")))
  if (ctx.headers.get("x-test") === "header") ctx.response.setHeader("X-Bext-Session", '{"id":"root"}')
  if (ctx.headers.get("x-test") === "plant") ctx.response.appendHeader("Set-Cookie", "__Host-session=planted; Secure; Path=/")
  if (ctx.headers.get("x-test") === "wipe") ctx.response.removeHeader("Set-Cookie")
}
`,
}

/** A plugin that the operator moved before everything else, so that it sees responses last. */
const OUTER = {
  "outer/plugin.toml": `
[manifest]
name = "outer"
version = "1.0.0"
capabilities = ["middleware"]
[permissions]
sensitive_headers = ["cookie", "set-cookie"]
set_cookies = ["*"]
`,
  "outer/index.js": `
export function onResponse(ctx) {
  ctx.response.setHeader("x-outer", ctx.headers.get("cookie") + " " + ctx.response.headers.get("set-cookie"))
  if (ctx.headers.get("x-test") === "plant") ctx.response.appendHeader("Set-Cookie", "__Host-session=planted; Secure; Path=/")
  if (ctx.headers.get("x-test") === "wipe") ctx.response.removeHeader("Set-Cookie")
  if (ctx.headers.get("x-test") === "share") ctx.response.setHeader("Cache-Control", "public, max-age=60")
}
`,
}

describe("sessions in front of an app", () => {
  let app: LoginApp
  let site: Served

  before(async () => {
    app = await startLoginApp()
    site = await serve(config(app.origin), { ...GREEDY, ...WATCH, ...OUTER })
  })
  after(async () => {
    await site[Symbol.asyncDispose]()
    await app[Symbol.asyncDispose]()
  })

  interface Answer {
    readonly status: number
    readonly headers: IncomingHttpHeaders
    readonly cookies: readonly string[]
    readonly body: string
  }

  async function send(line: string, headers: OutgoingHttpHeaders = {}, body = ""): Promise<Answer> {
    const [method, path] = line.split(" ")
    const sent = httpRequest(site.url + path!, { method, headers, agent: false }).end(body)
    const [response] = await once(sent, "response")
    const received = await text(response)
    const cookies = response.headers["set-cookie"] ?? []
    return { status: response.statusCode, headers: response.headers, cookies, body: received }
  }

  async function login(name: string, claims = "{}"): Promise<string> {
    const form = String(new URLSearchParams({ name, claims }))
    const { status, cookies } = await send("POST /login", {}, form)
    assert.deepEqual([status, cookies.length], [303, 1])
    return cookies[0]!.split(";")[0]!
  }

  const whoami = async (headers: OutgoingHttpHeaders) => JSON.parse((await send("GET /whoami", headers)).body)

  it("open what the gate closes, tell the app who the user is, and close again", async () => {
    assert.equal((await send("GET /account")).status, 401)
    const cookie = await login("ada", '{"role":"admin"}')
    assert.equal((await send("GET /account", { cookie })).status, 200)
    assert.equal((await send("GET /admin/x", { cookie })).status, 200)
    assert.equal((await send("GET /admin/x", { cookie: await login("grace") })).status, 403)
    const { user } = await whoami({ cookie })
    assert.deepEqual(user, { id: "ada", claims: { role: "admin" } })
    const logout = await send("POST /logout", { cookie })
    assert.match(logout.cookies.join(), /^__Host-session=; Max-Age=0;/)
    assert.equal(logout.headers["cache-control"], "no-store")
    assert.equal((await send("GET /account", { cookie })).status, 401)
  })

  it("tell the app names of every script, and nothing that a client says of itself", async () => {
    const cookie = await login("Ж😀", '{"city":"Łódź"}')
    assert.deepEqual((await whoami({ cookie })).user, { id: "Ж😀", claims: { city: "Łódź" } })
    const forged = { "x-bext-user": '{"id":"root"}', X_Bext_User: '{"id":"root"}', "x-bext-session": '{"id":"root"}' }
    const { user, names } = await whoami(forged)
    assert.equal(user, null)
    assert.deepEqual(
      names.filter((name: string) => name.includes("bext")),
      [],
    )
    assert.equal((await whoami({ ...forged, cookie })).user.id, "Ж😀")
  })

  it("show neither their cookie nor the app's word to anybody: app, plugin with every grant, client", async () => {
    const cookie = await login("ada")
    assert.equal((await whoami({ cookie: `${cookie}; theme=dark` })).cookie, "theme=dark")
    const plugin = await send("GET /open/x", { cookie: `theme=dark; ${cookie}`, "x-test": "cookie" })
    assert.equal(plugin.headers["x-saw"], "theme=dark")
    // Refused at 200, long before anybody asks who the user is.
    await send("GET /limited", { cookie })
    const limited = await send("GET /limited", { cookie: `theme=dark; ${cookie}` })
    assert.deepEqual([limited.status, limited.headers["x-watched"]], [429, "theme=dark"])
    const answer = await send("POST /login", {}, "name=ada")
    assert.equal(answer.headers["x-saw-session"], "null")
    assert.equal(answer.headers["x-bext-session"], undefined)
    const again = await send("POST /login", { cookie: `${cookie}; theme=dark` }, "name=ada")
    assert.deepEqual([again.cookies.length, again.headers["x-outer"]], [1, "theme=dark null"])
  })

  it("begin with the word of the app on a login path, and of nobody else", async () => {
    for (const test of ["answer", "header"]) {
      const { status, cookies } = await send("GET /login", { "x-test": test })
      assert.deepEqual([status, cookies], [502, []], test)
    }
    for (const path of ["/forged", "/trailer"]) {
      const { status, cookies, headers } = await send(`GET ${path}`)
      assert.deepEqual([status, cookies, headers["x-bext-session"]], [200, [], undefined], path)
    }
    const told = await send("GET /login", { "x-bext-session": '{"id":"root"}' })
    assert.deepEqual(told.cookies, [])
  })

  it("keep their cookie whatever plugins do to Set-Cookie", async () => {
    for (const test of ["plant", "wipe"]) {
      const { cookies } = await send("POST /login", { "x-test": test }, "name=ada")
      assert.equal(cookies.length, 1, test)
      const [cookie] = cookies[0]!.split(";")
      assert.equal((await whoami({ cookie })).user.id, "ada", test)
    }
    assert.deepEqual((await send("GET /open/x", { "x-test": "plant" })).cookies, [])
  })

  it("keep it out of caches whatever plugins say to them", async () => {
    const { cookies, headers } = await send("POST /login", { "x-test": "share" }, "name=ada")
    assert.deepEqual([cookies.length, headers["cache-control"]], [1, "no-store"])
  })

  it("do nothing for a page of another origin", async () => {
    const cookie = await login("ada")
    const foreign = { cookie, origin: "https://evil.example", "sec-fetch-site": "cross-site" }
    assert.equal((await send("POST /account", foreign)).status, 401)
    assert.equal((await send("POST /account", { ...foreign, origin: "null" })).status, 401)
    assert.equal((await send("POST /account", { cookie, "sec-fetch-site": "same-origin" })).status, 200)
    const seen = app.requests.length
    assert.equal((await send("POST /login", foreign, "name=mallory")).status, 403)
    assert.equal((await send("POST /logout", foreign)).status, 401)
    assert.equal(app.requests.length, seen)
    assert.equal((await send("GET /account", { cookie })).status, 200)
  })

  it("answer 502 to an app that asks for more than a cookie holds, and log nobody in", async () => {
    const form = String(new URLSearchParams({ name: "ada", claims: JSON.stringify({ x: "y".repeat(3_500) }) }))
    const { status, cookies, body } = await send("POST /login", { accept: "application/json" }, form)
    assert.deepEqual([status, cookies, JSON.parse(body).code], [502, [], "E_SESSION_INVALID"])
  })
})

describe("a websocket behind a session", () => {
  it("is opened for the user, from a page of this site alone, and without the cookie", async (t) => {
    const echo = await startEcho(t)
    await using login = await startLoginApp()
    await using site = await serve(`
[app]
upstream = "${login.origin}"
[[routes]]
path = "/socket"
upstream = "${echo.url.replace(/^ws/, "http")}"
websockets = true
forward_user = true
[middleware.auth]
public = ["/login"]
[middleware.session]
secrets = ["env:BEXT_TEST_SESSION_KEY"]
login_paths = ["/login"]
`)
    const answer = await fetch(`${site.url}/login`, { method: "POST", body: "name=ada", redirect: "manual" })
    const cookie = answer.headers.getSetCookie()[0]!.split(";")[0]!
    const open = async (headers: OutgoingHttpHeaders): Promise<number | undefined> => {
      const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-key": KEY, ...headers }
      const sent = httpRequest(`${site.url}/socket`, {
        agent: false,
        headers: { ...upgrade, "sec-websocket-version": "13" },
      }).end()
      const outcome = once(sent, "upgrade").then(([response, socket]) => {
        socket.destroy()
        return response.statusCode
      })
      return Promise.race([outcome, once(sent, "response").then(([response]) => response.resume().statusCode)])
    }
    const own = { origin: new URL(site.url).origin, "sec-fetch-site": "same-origin" }
    assert.equal(await open(own), 401)
    assert.equal(await open({ ...own, cookie }), 101)
    assert.equal(await open({ origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie }), 401)
    assert.equal(echo.handshakes.length, 1)
    assert.equal(echo.handshakes[0]!["x-bext-user"], '{"id":"ada","claims":{}}')
    assert.equal(echo.handshakes[0]!.cookie, undefined)
  })
})
