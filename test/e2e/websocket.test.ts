import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer as createHttps } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { chromium } from "playwright-core"
import { WebSocket, WebSocketServer } from "ws"
import { eventually, type Several, serveSeveral } from "../processes/several.ts"
import { ENV, plugin, serveSite, until } from "../snapshot/site.ts"
import { CHROMIUM, findProgram, missing } from "../support/programs.ts"
import { serveInChild } from "../support/serve.ts"
import { ask, closeOf, open, refusal, startEcho } from "../support/websockets.ts"

const appOf = (url: string, more = "") => `[app]\nupstream = "${url}"\nwebsockets = true\n${more}\n`
/** Websockets of tests that are over keep nobody waiting. */
const QUICK = 'grace = "100ms"'
const codeOf = (text: string) => /"code":"(E_[A-Z_]+)"/.exec(text)?.[1]

describe("a websocket through the whole stack", { concurrency: true }, () => {
  it("meets authentication, the rate limiter, CORS and the gate before the app hears of it", async (t) => {
    const app = await startEcho(t)
    ENV.WEBSOCKET_JWT = "a secret long enough for HS256 to be taken"
    const auth = `[middleware.auth]\nalgorithms = ["HS256"]\nsecret = "env:WEBSOCKET_JWT"\npublic = ["/open"]\n`
    const cors = `[middleware.cors]\norigins = ["*", "https://app.example"]\n`
    const limit = `[middleware.rate_limit]\nrequests = 5\nwindow = "1h"\n`
    await using site = await serveSite(appOf(app.url) + auth + cors + limit, {}, QUICK)
    const refused = await refusal(`${site.url}/private`)
    assert.deepEqual(
      [refused.status, codeOf(refused.text), refused.headers.connection],
      [401, "E_UNAUTHENTICATED", "close"],
    )
    assert.match(refused.headers["www-authenticate"]!, /^Bearer/)
    const forged = await refusal(`${site.url}/open`, { headers: { Authorization: "Bearer a.b.c" } })
    assert.equal(forged.status, 401)
    // A page of any site may read what "*" allows, but a websocket would bring the visitor's cookies along.
    const foreign = await refusal(`${site.url}/open`, { origin: "https://evil.example" })
    assert.deepEqual([foreign.status, codeOf(foreign.text)], [403, "E_WEBSOCKET_ORIGIN"])
    assert.equal(app.handshakes.length, 0)
    await open(t, `${site.url}/open`, { origin: "https://app.example" })
    await open(t, `${site.url}/open`, { origin: site.url })
    const limited = await refusal(`${site.url}/open`)
    assert.deepEqual([limited.status, codeOf(limited.text)], [429, "E_RATE_LIMITED"])
    assert.equal(app.handshakes.length, 2)
  })

  it("is seen, answered, changed and kept out by plugins", async (t) => {
    const app = await startEcho(t)
    const source = `
      export function onRequest(ctx) {
        if (ctx.headers.get("upgrade") !== null) throw new Error("the header is the server's")
        if (ctx.path === "/answer") return { action: "respond", status: 403, body: "no " + ctx.upgrade }
        if (ctx.path === "/moved") return Response.redirect("https://other.example/", 307)
        ctx.extensions.set("seen", String(ctx.upgrade))
        ctx.request.setHeader("x-guest", String(ctx.upgrade))
        if (ctx.path === "/old") ctx.request.setPath("/new")
        if (ctx.path === "/key") ctx.request.setHeader("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
      }
      export function onResponse(ctx) {
        ctx.response.setHeader("x-status", String(ctx.response.status))
        if (ctx.path === "/status") ctx.response.status = 403
        if (ctx.path === "/accept") ctx.response.setHeader("Sec-WebSocket-Accept", "x")
        if (ctx.path === "/protocol") ctx.response.removeHeader("sec-websocket-protocol")
        if (ctx.path === "/throw") throw new Error("late")
      }`
    const files = plugin("gate", source, "[permissions]\nrewrite_path = true")
    const grant = `[plugins.gate.grant]\nrewrite_path = true\n`
    const config = appOf(app.url, 'forward_extensions = ["gate.seen"]') + grant
    await using site = await serveSite(config, files, QUICK)

    const answered = await refusal(`${site.url}/answer`)
    assert.deepEqual([answered.status, answered.text, answered.headers["x-status"]], [403, "no websocket", "403"])
    const moved = await refusal(`${site.url}/moved`)
    assert.deepEqual([moved.status, moved.headers.location], [307, "https://other.example/"])
    assert.equal(app.handshakes.length, 0)

    const socket = await open(t, `${site.url}/old`)
    assert.equal((await ask(socket, "hi")).toString(), "hi")
    const [headers] = app.handshakes
    assert.deepEqual([headers!["x-guest"], headers!["x-bext-ext-gate.seen"]], ["websocket", "websocket"])
    assert.match(await (await fetch(`${site.url}/old`)).text(), /^plain \/new/)

    const before = app.handshakes.length
    for (const path of ["/key", "/status", "/accept", "/protocol", "/throw"]) {
      const refused = await refusal(site.url + path)
      assert.equal(refused.status, 502, path)
      assert.doesNotMatch(refused.text, /late|websocket-/)
    }
    // The app had agreed to all but the first: its side is closed again.
    assert.equal(app.handshakes.length, before + 4)
    await until(() => app.clients.size === 1, "only the open one is left")
    assert.equal(site.server.status().websockets, 1)
  })

  it("has the headers that on_response gives it, behind the handshake's own", async (t) => {
    const app = await startEcho(t)
    const source = `export function onResponse(ctx) { ctx.response.setHeader("x-seen", ctx.response.status + " " + ctx.upgrade) }`
    await using site = await serveSite(`${appOf(app.url)}[plugins.seer]\n`, plugin("seer", source), QUICK)
    const socket = new WebSocket(site.url.replace("http", "ws"))
    t.after(() => socket.terminate())
    const [response] = await once(socket, "upgrade")
    assert.equal(response.headers["x-seen"], "101 websocket")
  })

  it("is opened on the routes that say so and no others", async (t) => {
    const [app, live] = [await startEcho(t), await startEcho(t)]
    const routes = `[[routes]]\npath = "/live/**"\nupstream = "${live.url}"\nwebsockets = true\n`
    await using site = await serveSite(
      `${routes}[app]\nupstream = "${app.url}"\nstatic = "public"\n`,
      {
        "public/a.txt": "a file",
      },
      QUICK,
    )
    const socket = await open(t, `${site.url}/live/1`)
    assert.equal((await ask(socket, "hi")).toString(), "hi")
    assert.match((await refusal(`${site.url}/other`)).text, /^plain \/other $/)
    assert.equal((await refusal(`${site.url}/a.txt`)).text, "a file")
    assert.deepEqual([app.handshakes.length, live.handshakes.length], [0, 1])
  })

  it("reaches an https upstream whose certificate is good, and no other", async (t) => {
    const folder = join(import.meta.dirname, "../fixtures/tls")
    const [key, cert] = ["key", "cert"].map((name) => readFileSync(join(folder, `localhost.${name}.pem`), "utf8"))
    const https = createHttps({ key, cert })
    const server = new WebSocketServer({ server: https })
    server.on("connection", (socket, request) => socket.send(request.headers.host!))
    https.listen(0, "127.0.0.1")
    await once(https, "listening")
    t.after(() => https.close())
    t.after(() => {
      for (const client of server.clients) client.terminate()
    })
    const host = `localhost:${(https.address() as AddressInfo).port}`
    await using site = await serveSite(appOf(`https://${host}`), {}, QUICK)
    const refused = await refusal(site.url)
    assert.deepEqual([refused.status, codeOf(refused.text)], [502, "E_UPSTREAM_UNREACHABLE"])
    const before = getCACertificates()
    setDefaultCACertificates([...before, cert!])
    t.after(() => setDefaultCACertificates(before))
    const socket = new WebSocket(site.url.replace("http", "ws"))
    t.after(() => socket.terminate())
    const [first] = await once(socket, "message")
    assert.equal(first.toString(), host)
  })

  it("is refused by an upstream that is this server itself", async () => {
    await using site = await serveSite(appOf("http://127.0.0.1:1"))
    const prepared = await site.prepare(appOf(site.url))
    prepared.commit()
    const refused = await refusal(site.url)
    assert.deepEqual([refused.status, codeOf(refused.text)], [502, "E_UPSTREAM_UNREACHABLE"])
  })
})

describe("an open websocket", { concurrency: true }, () => {
  it("survives every reload, keeps no snapshot back, and is reported once, to the plugins that are there then", async (t) => {
    const app = await startEcho(t)
    const source = (word: string) => `
      export function onRequestComplete(event) { console.log("said", "${word} " + event.path + " " + event.status) }
      export function cleanup() { console.log("said", "cleanup ${word}") }`
    const reporter = (word: string) => plugin("reporter", source(word), "", '"lifecycle"')
    await using site = await serveSite(`${appOf(app.url)}[plugins.reporter]\n`, reporter("first"))
    const socket = await open(t, `${site.url}/chat`)
    for (const word of ["second", "third"]) {
      site.write(reporter(word))
      await site.reload()
      assert.equal((await ask(socket, word)).toString(), word)
    }
    await site.reload(`[app]\nupstream = "http://127.0.0.1:1"\n[plugins.reporter]\n`)
    await until(() => site.server.status().retiring === 0, "no snapshot waits for it")
    await until(() => site.said().includes("cleanup second"), "the retired plugins were cleaned up")
    assert.equal((await ask(socket, "still")).toString(), "still")
    assert.equal(site.server.status().websockets, 1)
    assert.equal(site.server.status().requestsInFlight, 0)
    const metrics = new Map(site.server.metrics().map(({ name, values }) => [name, values[0]?.value ?? 0]))
    assert.equal(metrics.get("bext_websockets"), 1)
    assert.equal(metrics.get("bext_websockets_opened_total"), 1)
    assert.ok(metrics.get("bext_websocket_received_bytes_total")! > metrics.get("bext_websocket_sent_bytes_total")!)
    assert.deepEqual(
      site.said().filter((line) => line.includes("/chat")),
      [],
    )
    socket.close()
    await until(() => site.said().some((line) => line.includes("/chat")), "it is reported")
    assert.deepEqual(
      site.said().filter((line) => line.includes("/chat")),
      ["third /chat 101"],
    )
    assert.equal(site.server.status().websockets, 0)
  })

  it("is told 1001 when bext serve is told to stop and the grace is over", async (t) => {
    const app = await startEcho(t)
    await using site = await serveInChild(appOf(app.url))
    const socket = await open(t, site.url)
    const closes = Promise.all([closeOf(socket), closeOf([...app.clients][0]!)])
    const ended = site.end("SIGTERM")
    assert.equal((await ask(socket, "in the grace")).toString(), "in the grace")
    assert.deepEqual(await closes, [1001, 1001])
    assert.equal(await ended, 0)
  })

  it("is told 1001 in each of two processes", async (t) => {
    const app = await startEcho(t)
    await using site = await serveInChild(appOf(app.url), {}, { processes: 2 })
    const sockets = await Promise.all(Array.from({ length: 8 }, () => open(t, site.url)))
    const codes = Promise.all(sockets.map(closeOf))
    const ended = site.end("SIGTERM")
    assert.deepEqual(new Set(await codes), new Set([1001]))
    assert.equal(await ended, 0)
  })

  it("ends as 1006 when its process is killed; those of other processes go on, and new ones are opened", async (t) => {
    const app = await startEcho(t)
    await using site = await serveSeveral({ config: liveRoute(app.url) })
    const sockets = await openInBoth(t, site)
    const closes = sockets.map(closeOf)
    const [victim, other] = await site.serving(2)
    process.kill(victim!.pid, "SIGKILL")
    const codes: number[] = []
    for (const close of closes) void close.then((code) => codes.push(code))
    await until(() => codes.length >= victim!.websockets, "those of the killed process end")
    assert.deepEqual(new Set(codes), new Set([1006]))
    const left = sockets.filter(({ readyState }) => readyState === WebSocket.OPEN)
    assert.equal(left.length, other!.websockets)
    for (const socket of left) assert.equal((await ask(socket, "still")).toString(), "still")
    assert.equal((await ask(await open(t, `${site.url}/live`), "new")).toString(), "new")
    for (const socket of sockets) socket.terminate()
  })

  it("survives a reload of all processes, and gets the grace period when new processes take over", async (t) => {
    const app = await startEcho(t)
    await using site = await serveSeveral({ grace: "2s", config: liveRoute(app.url) })
    const sockets = await openInBoth(t, site)
    await site.edit("bext.config.toml", "websockets = true", "websockets = false")
    process.kill(site.pid, "SIGHUP")
    await eventually(async () => (await site.status()).lastReload?.ok === true, "it has reloaded")
    for (const socket of sockets) assert.equal((await ask(socket, "reloaded")).toString(), "reloaded")
    assert.equal((await refusal(`${site.url}/live`)).text, "plain /live ")

    const codes = Promise.all(sockets.map(closeOf))
    await site.edit(
      "bext.config.toml",
      "websockets = false\n",
      "websockets = true\n[server.limits]\nheader_count = 99\n",
    )
    process.kill(site.pid, "SIGHUP")
    await eventually(async () => {
      const { lastReload } = await site.status()
      return lastReload?.ok === true && lastReload.report.replaced
    }, "new processes took over")
    assert.equal((await ask(await open(t, `${site.url}/live`), "new")).toString(), "new")
    assert.deepEqual(new Set(await codes), new Set([1001]))
  })
})

function liveRoute(upstream: string): string {
  return `[[routes]]\npath = "/live"\nupstream = "${upstream}"\nwebsockets = true\n`
}

/** Opens websockets until each of two processes has some. */
async function openInBoth(t: TestContext, site: Several): Promise<WebSocket[]> {
  const sockets: WebSocket[] = []
  await eventually(async () => {
    sockets.push(await open(t, `${site.url}/live`))
    return (await site.serving(2)).every(({ websockets }) => websockets > 0)
  }, "both processes have websockets")
  return sockets
}

describe("a server without file descriptors left", { skip: process.platform !== "linux" }, () => {
  it("refuses websockets, keeps those that are open, and opens new ones when some are closed", async (t) => {
    const app = await startEcho(t)
    await using site = await serveInChild(appOf(app.url))
    const first = await open(t, site.url)
    execFileSync("prlimit", ["--pid", String(site.pid), "--nofile=70:70"])
    const sockets = []
    let refused = 0
    for (let count = 0; count < 60; count++) {
      const socket = await open(t, site.url).catch(() => null)
      if (socket === null) refused++
      else sockets.push(socket)
    }
    assert.ok(refused > 0 && sockets.length > 0, `${refused} refused, ${sockets.length} open`)
    assert.equal((await ask(first, "still")).toString(), "still")
    for (const socket of sockets) socket.terminate()
    await until(() => app.clients.size === 1, "the places are free")
    const again = await open(t, site.url)
    assert.equal((await ask(again, "again")).toString(), "again")
  })
})

describe("a browser", { skip: missing(CHROMIUM) }, () => {
  it("opens websockets to its page's own site, and is kept from those of another", async (t) => {
    const app = await startEcho(t)
    app.http.removeAllListeners("request")
    app.http.on("request", (_request, response) => response.setHeader("Content-Type", "text/html").end("<p>page</p>"))
    await using site = await serveSite(appOf(app.url), {}, QUICK)
    await using other = await serveSite(appOf(app.url), {}, QUICK)
    const args = [
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-sync",
    ]
    const browser = await chromium.launch({ executablePath: findProgram(CHROMIUM)!, args })
    t.after(() => browser.close())
    const page = await browser.newPage()
    await page.goto(site.url)
    const talk = (url: string) =>
      page.evaluate(
        `new Promise((resolve) => {
          const socket = new WebSocket(${JSON.stringify(url.replace("http", "ws"))})
          socket.onopen = () => socket.send("from the page")
          socket.onmessage = ({ data }) => { socket.close(4002); resolve(data) }
          socket.onclose = ({ code }) => resolve(code)
        })`,
      )
    assert.equal(await talk(`${site.url}/chat`), "from the page")
    assert.equal(await talk(`${other.url}/chat`), 1006)
    assert.equal(app.handshakes.length, 1)
  })
})
