import assert from "node:assert/strict"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import { text as readText } from "node:stream/consumers"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { exchangeRaw, readToEnd } from "../../../http/serve-test.ts"
import { type Served, serve } from "../../../support/serve.ts"
import { compileC, NO_C } from "../compile-c.ts"

const GUEST = fileURLToPath(new URL("../../../fixtures/guests/rewrite-as-told/guest.c", import.meta.url))

/** What an app was asked. */
interface Asked {
  readonly line: string
  readonly body: string
  readonly trailers: readonly string[]
  readonly length: string | undefined
  readonly names: string | undefined
  readonly source: string | undefined
  readonly version: string | undefined
}

const MANIFEST = `
[manifest]
name = "rewrite"
version = "1.0.0"
capabilities = ["middleware"]
[sandbox]
type = "wasm"
body = "both"
[permissions]
rewrite_path = true
rewrite_method = true
`
const GUARD = `export const onRequest = (ctx) => {
  if (ctx.method === "DELETE") return { action: "respond", status: 403, body: "guarded" }
}`

for (const lane of ["inline", "worker"] as const) {
  describe(`a module that rewrites, ${lane === "inline" ? "in the serving thread" : "in a lane"}`, {
    skip: NO_C,
  }, () => {
    const asked: Asked[] = []
    const sockets = new Set<Socket>()
    const app = createServer(async (request, response) => {
      const body = await readText(request)
      const { headers, rawTrailers: trailers } = request
      const [length, names, source, version] = [
        headers["content-length"],
        headers["x-names"] as string,
        headers["x-source"] as string,
        headers["x-version"] as string,
      ]
      asked.push({ line: `${request.method} ${request.url}`, body, trailers, length, names, source, version })
      if (request.method !== "HEAD") response.setHeader("trailer", "x-app")
      response.write("page")
      response.addTrailers([["x-app", "1"]])
      response.end()
    })
    let server: Served

    before(async () => {
      app.on("connection", (socket) => sockets.add(socket))
      app.listen(0, "127.0.0.1")
      await once(app, "listening")
      const config = `
[app]
upstream = "http://127.0.0.1:${(app.address() as AddressInfo).port}"
[[routes]]
path = "/gone/**"
upstream = "http://127.0.0.1:1"
[middleware.auth]
secret = "env:JWT_SECRET"
algorithms = ["HS256"]
public = ["/open/**", "/gone/**"]
[plugins.rewrite]
lane = "${lane}"
priority = 600
[plugins.rewrite.grant]
rewrite_path = true
rewrite_method = true
[plugins.guard]
path = "plugins/guard.js"
priority = 700
match = [{ methods = ["DELETE"] }]
`
      process.env.JWT_SECRET = "a secret that is long enough, for tests"
      server = await serve(config, {
        "plugins/rewrite/plugin.toml": MANIFEST,
        "plugins/rewrite/plugin.wasm": await readFile(await compileC(GUEST)),
        "plugins/guard.js": GUARD,
      })
    })
    after(async () => {
      await server?.[Symbol.asyncDispose]()
      for (const socket of sockets) socket.destroy()
      app.close()
    })

    const hex = (text: string) => Buffer.from(text, "latin1").toString("hex")
    async function send(
      line: string,
      told: { method?: string; uri?: string; trailer?: string },
      { headers = "", body = "" } = {},
    ) {
      const fields = Object.entries(told).map(([name, text]) => `x-${name}: ${hex(text)}\r\n`)
      const socket = connect(Number(new URL(server.url).port), "127.0.0.1")
      const port = once(socket, "connect").then(() => socket.localPort)
      socket.write(
        Buffer.from(
          `${line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\n${fields.join("")}${headers}\r\n${body}`,
          "latin1",
        ),
      )
      const text = await readToEnd(socket)
      const [head, ...rest] = text.split("\r\n\r\n")
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "im").exec(head!)?.[1]
      return { status: Number(head!.slice(9, 12)), field, content: rest.join("\r\n\r\n"), port: await port }
    }

    it("shows the app another method and query, and the client gets the app's answer", async () => {
      asked.length = 0
      const answer = await send("GET /open/a?b=1", { method: "POST", uri: "/open/c?d=%26" })
      assert.deepEqual(
        [answer.status, answer.field("x-error"), answer.field("x-asked")],
        [200, "0", "POST /open/c?d=%26"],
      )
      assert.deepEqual([asked.length, asked[0]!.line, asked[0]!.body], [1, "POST /open/c?d=%26", ""])
      await send("GET /open/a?b=1", { uri: "/open/c" })
      assert.equal(asked[1]!.line, "GET /open/c")
    })

    it("is told the client's address with its port, and its version of HTTP", async () => {
      asked.length = 0
      const { port } = await send("GET /open/", {})
      assert.deepEqual([asked[0]!.source, asked[0]!.version], [`127.0.0.1:${port}`, "HTTP/1.1"])
      await exchangeRaw(Number(new URL(server.url).port), "GET /open/ HTTP/1.0\r\nHost: a\r\n\r\n")
      assert.equal(asked[1]!.version, "HTTP/1.0")
    })

    it("makes a GET of a POST: without content, and nothing of it is taken for another request", async () => {
      asked.length = 0
      const hidden = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
      for (const framing of [`Content-Length: ${hidden.length}\r\n`, "Transfer-Encoding: chunked\r\n"]) {
        const chunked = framing.startsWith("Transfer")
        const body = chunked ? `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\nx-end: 1\r\n\r\n` : hidden
        const answer = await send(
          "POST /open/a",
          { method: "GET" },
          { headers: `Content-Type: a/b\r\n${framing}`, body },
        )
        assert.equal(answer.status, 200)
      }
      assert.deepEqual(
        asked.map(({ line, body, trailers }) => [line, body, trailers]),
        Array(2).fill(["GET /open/a", "", []]),
      )
    })

    it("gives a client that asked for HEAD no content, whatever the app was asked", async () => {
      asked.length = 0
      const answer = await send("HEAD /open/a", { method: "GET" })
      assert.deepEqual([answer.status, answer.content, asked[0]!.line], [200, "", "GET /open/a"])
      assert.equal(answer.field("trailer"), undefined)
      assert.equal((await send("GET /open/a", { method: "HEAD" })).status, 502)
      assert.equal(asked.length, 1)
    })

    it("does not get past the gate, nor past a plugin behind it that guards a method", async () => {
      asked.length = 0
      assert.equal((await send("GET /open/a", { uri: "/admin?x=1" })).status, 401)
      assert.equal((await send("GET /open/a", { uri: "/open/../admin" })).status, 502)
      const guarded = await send("GET /open/a", { method: "DELETE" })
      assert.equal(guarded.status, 403)
      assert.match(guarded.content, /guarded/)
      assert.deepEqual(asked, [])
    })

    it("is told of an error answer of the server", async () => {
      assert.deepEqual(await statusAndError(send("GET /gone/a", {})), [502, "1"])
      assert.deepEqual(await statusAndError(send("GET /admin", {})), [401, "1"])
      assert.deepEqual(await statusAndError(send("GET /open/a", {})), [200, "0"])
    })

    it("reads and adds trailers in both directions", async () => {
      asked.length = 0
      const chunked = {
        headers: "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n",
        body: "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n",
      }
      const answer = await send("POST /open/a", { trailer: "told" }, chunked)
      assert.deepEqual([asked[0]!.body, asked[0]!.names, asked[0]!.length], ["hi", "x-sum,x-guest", undefined])
      assert.deepEqual(asked[0]!.trailers, ["x-sum", "1", "x-guest", "told"])
      assert.equal(answer.field("x-names"), "x-app")
      assert.equal(answer.content, "4\r\npage\r\n0\r\nx-app: 1\r\nx-guest: 1\r\n\r\n")
      const sized = await send("POST /open/a", { trailer: "told" }, { headers: "Content-Length: 2\r\n", body: "hi" })
      assert.equal(sized.status, 200)
      assert.deepEqual([asked[1]!.body, asked[1]!.trailers], ["hi", ["x-guest", "told"]])
    })

    for (const [what, told] of [
      ["method", { method: "GET / HTTP/1.1\r\nHost: evil\r\n\r\n" }],
      ["method", { method: "G\0T" }],
      ["method", { method: "get" }],
      ["method", { method: "CONNECT" }],
      ["method", { method: "TRACE" }],
      ["method", { method: `P${"A".repeat(4000)}` }],
      ["URI", { uri: "/open/a?b HTTP/1.1\r\nHost: evil\r\n\r\nGET /admin" }],
      ["URI", { uri: "/open/a?b\r\nX: y" }],
      ["URI", { uri: "/open/a?b\0" }],
      ["URI", { uri: "/open/a?b c" }],
      ["URI", { uri: "/open/a?b#c" }],
      ["URI", { uri: "/open/a?\x80\xff" }],
      ["URI", { uri: "/open/a?\xc3\xa9" }],
      ["URI", { uri: "http://evil/open/a?b" }],
      ["URI", { uri: "//evil/open/a?b" }],
      ["trailer", { trailer: "a\r\nHost: evil" }],
      ["trailer", { trailer: "a\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n" }],
      ["trailer", { trailer: "\0" }],
    ] as const) {
      it(`cannot smuggle anything in a ${what}: ${JSON.stringify(told).slice(0, 60)}`, async () => {
        asked.length = 0
        const body = { headers: "Content-Length: 2\r\n", body: "hi" }
        const answer = await send("POST /open/a", told, body)
        assert.equal(answer.status, 502)
        assert.deepEqual(asked, [])
      })
    }
  })
}

async function statusAndError(answer: Promise<{ status: number; field: (name: string) => string | undefined }>) {
  const { status, field } = await answer
  return [status, field("x-error")]
}
