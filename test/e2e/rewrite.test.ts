import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, type RequestListener } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { text as readText } from "node:stream/consumers"
import { describe, it, type TestContext } from "node:test"
import { readToEnd, until } from "../http/serve-test.ts"
import { createProject, serveChild } from "../support/serve.ts"

const MANIFEST = `
[manifest]
name = "rewriter"
version = "1.0.0"
capabilities = ["middleware"]
entry = "index.js"
[permissions]
rewrite_path = true
rewrite_method = true
`
/** Does what the headers ask for; on the way back says what is asked for now. */
const REWRITER = `
export function onRequest(ctx) {
  const method = ctx.headers.get("x-method")
  const query = ctx.headers.get("x-query")
  if (method !== null) ctx.request.setMethod(method)
  if (query !== null) ctx.request.setQuery(query)
  if (ctx.path === "/old") ctx.request.setPath("/new")
}
export function onResponse(ctx) {
  ctx.response.setHeader("x-asked", ctx.method + " " + ctx.path + "?" + ctx.query)
}
`
/** Is matched to POST alone. */
const WATCHER = `
export const onRequest = (ctx) => ctx.request.setHeader("x-watched", ctx.method)
export const onResponse = (ctx) => ctx.response.setHeader("x-watched", ctx.method)
`

async function start(t: TestContext) {
  const asked: string[] = []
  const listener: RequestListener = async (request, response) => {
    asked.push(`${request.method} ${request.url} [${await readText(request)}] ${request.headers["x-watched"] ?? "-"}`)
    response.end("page")
  }
  const app = createServer(listener)
  app.listen(0, "127.0.0.1")
  await once(app, "listening")
  t.after(() => {
    app.closeAllConnections()
    app.close()
  })
  const config = `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[log]
level = "info"
format = "json"
[app]
upstream = "http://127.0.0.1:${(app.address() as AddressInfo).port}"
[plugins.rewriter]
priority = 610
[plugins.rewriter.grant]
rewrite_path = true
rewrite_method = true
[plugins.before]
path = "plugins/watcher.js"
priority = 600
match = [{ methods = ["POST"] }]
[plugins.behind]
path = "plugins/watcher.js"
priority = 620
match = [{ methods = ["POST"] }]
`
  const project = createProject({
    "bext.config.toml": config,
    "plugins/rewriter/plugin.toml": MANIFEST,
    "plugins/rewriter/index.js": REWRITER,
    "plugins/watcher.js": WATCHER,
  })
  t.after(() => project[Symbol.dispose]())
  const server = await serveChild([], { folder: project.folder })
  t.after(() => server[Symbol.asyncDispose]())
  return { asked, server, port: Number(new URL(server.url).port) }
}

describe("a plugin that changes method and query", () => {
  it("shows the new ones to everybody behind it, on the way back to all, and the client's own to the access log", async (t) => {
    const { asked, server } = await start(t)
    const made = await fetch(`${server.url}/a?b=1`, { headers: { "x-method": "POST", "x-query": "c=%202" } })
    assert.deepEqual(asked, ["POST /a?c=%202 [] POST"])
    assert.deepEqual([made.headers.get("x-asked"), made.headers.get("x-watched")], ["POST /a?c=%202", "POST"])
    const unmade = await fetch(`${server.url}/old`, { method: "POST", body: "sent", headers: { "x-method": "PUT" } })
    assert.equal(asked[1], "PUT /new [sent] POST")
    // The plugin in front saw it as a POST, and sees the response; the one behind never did.
    assert.deepEqual([unmade.headers.get("x-asked"), unmade.headers.get("x-watched")], ["PUT /new?", "PUT"])
    await until(() => server.output().match(/"msg":"request"/g)?.length === 2, "both requests are in the log")
    assert.deepEqual(
      Array.from(
        server.output().matchAll(/"method":"(\w+)","path":"([^"]+)"/g),
        ([, method, path]) => `${method} ${path}`,
      ),
      ["GET /a", "POST /old"],
    )
  })

  it("keeps a connection in step: content that was dropped is never the next request", async (t) => {
    const { asked, port } = await start(t)
    const hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    const post = (framing: string, body: string) =>
      `POST /first HTTP/1.1\r\nHost: a\r\nX-Method: GET\r\n${framing}\r\n\r\n${body}`
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const last = "HEAD /last HTTP/1.1\r\nHost: a\r\nX-Method: GET\r\nConnection: close\r\n\r\n"
    const socket = connect(port, "127.0.0.1")
    socket.write(post(`Content-Length: ${hidden.length}`, hidden))
    socket.write(post("Transfer-Encoding: chunked\r\nTrailer: x-end", `${chunk(hidden)}0\r\nx-end: 1\r\n\r\n`))
    socket.write(last)
    const text = await readToEnd(socket)
    assert.equal(text.match(/HTTP\/1\.1 200 OK/g)?.length, 3, text)
    assert.ok(text.endsWith("\r\n\r\n"), "HEAD has no content")
    assert.deepEqual(asked.toSorted(), ["GET /first [] POST", "GET /first [] POST", "GET /last [] -"])
  })
})
