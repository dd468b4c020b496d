import assert from "node:assert/strict"
import { createServer, type IncomingMessage, type RequestListener } from "node:http"
import net, { type AddressInfo } from "node:net"
import { describe, it, type TestContext } from "node:test"
import { createServer as createTlsServer } from "node:tls"
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib"
import type { PluginError } from "../../src/errors.ts"
import { AddressGuard } from "../../src/host/address-guard.ts"
import { createGuardedFetch, type GuardedFetchOptions } from "../../src/host/fetch.ts"
import { createFetchTransport, type Resolve } from "../../src/host/fetch-transport.ts"
import type { GuestFetchRequest } from "../../src/host/services.ts"
import { selfSigned } from "./self-signed.ts"

const never = new AbortController().signal

describe("guarded fetch", () => {
  it("reaches a private address the operator allowed, and sends nothing the guest did not", async (t) => {
    const origin = await serve(t, async (request, response) => {
      response.setHeader("x-two", ["a", "b"])
      response.setHeader("set-cookie", ["one=1", "two=2"])
      response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          headers: request.headers,
          body: await text(request),
        }),
      )
    })
    const fetch = connect(t, [origin], { allowedUrls: [`${origin}/api/**`] })
    process.env.http_proxy = process.env.HTTP_PROXY = "http://127.0.0.1:1"
    t.after(() => {
      delete process.env.http_proxy
      delete process.env.HTTP_PROXY
    })
    const response = await fetch(
      request(`${origin}/api/x?q=1#hash`, { method: "POST", headers: [["X-Own", "1"]], body: Buffer.from("hi") }),
    )
    assert.equal(response.status, 200)
    assert.equal(response.url, `${origin}/api/x?q=1`)
    assert.deepEqual(
      response.headers.filter(([name]) => name === "set-cookie"),
      [
        ["set-cookie", "one=1"],
        ["set-cookie", "two=2"],
      ],
    )
    const seen = JSON.parse(Buffer.from(response.body).toString())
    assert.equal(seen.method, "POST")
    assert.equal(seen.url, "/api/x?q=1")
    assert.equal(seen.body, "hi")
    const { host: _, connection: __, ...rest } = seen.headers
    assert.deepEqual(rest, { "x-own": "1", "content-length": "2", "accept-encoding": "gzip, deflate, br" })
  })

  it("refuses every spelling of a private address before any connection is made", async (t) => {
    forbidConnections(t)
    const hosts = [
      ...[
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
      ],
      ...[
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "100.64.0.1",
        "224.0.0.1",
      ],
      ...[
        "255.255.255.255",
        "168.63.129.16",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
      ],
      ...[
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
      ],
      ...["①②⑦.⓪.⓪.①", "127。0。0。1", "%31%32%37.0.0.1"],
    ]
    for (const host of hosts) {
      const url = new URL(`http://${host}/`)
      // Allowed by its pattern, so that it is the address that is refused.
      const fetch = connect(t, [], { allowedUrls: [`http://${url.hostname.replace(/\.$/, "")}/**`] })
      const refused = { code: "E_FETCH_FORBIDDEN", plugin: "demo", message: /leads to an address/ }
      await assert.rejects(fetch(request(`http://${host}/`)), refused, host)
    }
  })

  it("refuses names that lead inside, also when only one of their addresses does, without telling the address", async (t) => {
    forbidConnections(t)
    for (const addresses of [
      ["127.0.0.1"],
      ["1.1.1.1", "10.0.0.1"],
      ["::ffff:10.0.0.1"],
      ["2606:4700:4700::1111", "::1"],
    ]) {
      const fetch = connect(t, [], { allowedUrls: ["http://inside.example"] }, async () => addresses)
      await assert.rejects(fetch(request("http://inside.example/")), (error: PluginError) => {
        assert.equal(error.code, "E_FETCH_FORBIDDEN")
        for (const address of addresses) assert.ok(!error.message.includes(address))
        return true
      })
    }
    const system = connect(t, [], { allowedUrls: ["http://localhost:1"] })
    await assert.rejects(system(request("http://localhost:1/")), { code: "E_FETCH_FORBIDDEN" })
  })

  it("dials the address it checked: a name that resolves anew to loopback gains nothing", async (t) => {
    const origin = await serve(t, (_request, response) => response.setHeader("connection", "close").end("reached"))
    const { port } = new URL(origin)
    const answers = ["127.0.0.1", "127.0.0.2"]
    let asked = 0
    const rebinding: Resolve = async () => [answers[asked++] ?? "127.0.0.2"]
    const fetch = connect(t, [origin], { allowedUrls: [`http://rebind.example:${port}`] }, rebinding)
    const dialled: (string | undefined)[] = []
    const real = net.connect
    t.mock.method(net, "connect", (options: net.TcpNetConnectOpts) => {
      dialled.push(options.host)
      return real(options)
    })
    assert.equal(Buffer.from((await fetch(request(`http://rebind.example:${port}/`))).body).toString(), "reached")
    assert.deepEqual([asked, dialled], [1, ["127.0.0.1"]])
    await assert.rejects(fetch(request(`http://rebind.example:${port}/`)), { code: "E_FETCH_FORBIDDEN" })
    assert.deepEqual([asked, dialled], [2, ["127.0.0.1"]])
  })

  it("asks a TLS server for the name, though it dials the address, and refuses a certificate nobody trusts", async (t) => {
    const asked: string[] = []
    const server = createTlsServer({
      ...selfSigned,
      SNICallback: (name, callback) => {
        asked.push(name)
        callback(null)
      },
    })
    server.on("tlsClientError", () => {})
    server.listen(0, "127.0.0.1")
    t.after(() => server.close())
    await new Promise((resolve) => server.once("listening", resolve))
    const { port } = server.address() as AddressInfo
    const url = `https://secure.example:${port}`
    const fetch = connect(t, [`https://127.0.0.1:${port}`], { allowedUrls: [url] }, async () => ["127.0.0.1"])
    const untrusted = { code: "E_FETCH_FAILED", message: /DEPTH_ZERO_SELF_SIGNED_CERT/ }
    await assert.rejects(fetch(request(url)), untrusted)
    assert.deepEqual(asked, ["secure.example"])
  })

  it("never reaches this server's own listeners, not even when they are allowed", async (t) => {
    const origin = await serve(t, (_request, response) => response.end("own"))
    const port = Number(new URL(origin).port)
    forbidConnections(t)
    const fetch = connect(t, [origin], { allowedUrls: [origin] }, undefined, (_address, number) => number === port)
    await assert.rejects(fetch(request(origin)), { code: "E_FETCH_FORBIDDEN" })
  })

  it("refuses a redirect to a URL or an address that is not allowed", async (t) => {
    let target = ""
    let hits = 0
    const secret = await serve(t, (_request, response) => {
      hits++
      response.end("secret")
    })
    const origin = await serve(t, (_request, response) => response.writeHead(302, { location: target }).end())
    const fetch = connect(t, [origin], { allowedUrls: [origin, secret, "http://127.0.0.1:9/**"] })
    const targets = [secret, "http://127.0.0.1:9/", "http://localhost/", "file:///etc/passwd", "//[::1]/"]
    for (target of [...targets, `${origin.replace("//", "//user:pw@")}/`, "http://", "javascript:alert(1)"]) {
      await assert.rejects(fetch(request(origin)), { code: "E_FETCH_FORBIDDEN" }, target)
    }
    assert.equal(hits, 0)
  })

  it("follows five redirects and not a sixth, or none when told so", async (t) => {
    const origin = await serve(t, (request, response) => {
      const left = Number(request.url!.slice(1))
      if (left === 0) return response.end("there")
      return response.writeHead(307, { location: `/${left - 1}` }).end()
    })
    const fetch = connect(t, [origin], { allowedUrls: [origin] })
    const there = await fetch(request(`${origin}/5`))
    assert.deepEqual([there.status, there.url], [200, `${origin}/0`])
    await assert.rejects(fetch(request(`${origin}/6`)), { code: "E_FETCH_FAILED", message: /more than 5 redirects/ })
    const manual = await fetch(request(`${origin}/1`, { redirect: "manual" }))
    assert.equal(manual.status, 307)
    assert.deepEqual(
      manual.headers.find(([name]) => name === "location"),
      ["location", "/0"],
    )
    await assert.rejects(fetch(request(`${origin}/1`, { redirect: "error" })), { code: "E_FETCH_FAILED" })
  })

  it("changes method and body on redirects as browsers do, and drops credentials across origins", async (t) => {
    const echo: RequestListener = async (request, response) => {
      const { authorization, cookie, "content-type": type } = request.headers
      response.end(
        JSON.stringify([request.method, await text(request), type ?? null, authorization ?? null, cookie ?? null]),
      )
    }
    const other = await serve(t, echo)
    const origin = await serve(t, (request, response) => {
      const [, status, where] = request.url!.split("/")
      if (status === "echo") return echo(request, response)
      return response.writeHead(Number(status), { location: where === "other" ? other : "/echo" }).end()
    })
    const fetch = connect(t, [origin, other], { allowedUrls: [origin, other] })
    const headers: [string, string][] = [
      ["Authorization", "Bearer x"],
      ["Cookie", "a=b"],
      ["Content-Type", "text/plain"],
    ]
    const send = async (method: string, path: string) => {
      const body = method === "GET" ? null : Buffer.from("body")
      return JSON.parse(Buffer.from((await fetch(request(origin + path, { method, headers, body }))).body).toString())
    }
    for (const status of [301, 302, 303])
      assert.deepEqual(await send("POST", `/${status}/echo`), ["GET", "", null, "Bearer x", "a=b"])
    for (const status of [307, 308]) {
      assert.deepEqual(await send("POST", `/${status}/echo`), ["POST", "body", "text/plain", "Bearer x", "a=b"])
      assert.deepEqual(await send("POST", `/${status}/other`), ["POST", "body", "text/plain", null, null])
    }
    assert.deepEqual(await send("PUT", "/302/echo"), ["PUT", "body", "text/plain", "Bearer x", "a=b"])
    assert.deepEqual(await send("PUT", "/303/other"), ["GET", "", null, null, null])
  })

  it("refuses URLs outside the list, with credentials, of other schemes or too long", async (t) => {
    forbidConnections(t)
    const fetch = connect(t, [], { allowedUrls: ["https://api.example.com/v1/**"] })
    const urls = [
      "https://api.example.com/v2",
      "http://api.example.com/v1/",
      "https://user:pw@api.example.com/v1/",
      "file:///etc/passwd",
    ]
    for (const url of [
      ...urls,
      "data:text/plain,x",
      "/v1/",
      "",
      "https://api.example.com/v1/..%2fv2",
      `https://api.example.com/v1/${"x".repeat(9000)}`,
    ]) {
      await assert.rejects(fetch(request(url)), { code: "E_FETCH_FORBIDDEN" }, url)
    }
    await assert.rejects(connect(t, [], { allowedUrls: [] })(request("https://api.example.com/")), {
      code: "E_FETCH_FORBIDDEN",
    })
  })

  it("refuses methods and headers that are not a plugin's to send", async (t) => {
    forbidConnections(t)
    const fetch = connect(t, [], { allowedUrls: ["https://api.example.com"] })
    const url = "https://api.example.com/"
    for (const method of ["CONNECT", "trace", "TRACK", "GET /x HTTP/1.1\r\nX:", "", "G ET"]) {
      await assert.rejects(fetch(request(url, { method })), { code: "E_FETCH_FORBIDDEN" }, method)
    }
    for (const name of [
      "Host",
      "Connection",
      "Content-Length",
      "Transfer-Encoding",
      "TE",
      "Upgrade",
      "Expect",
      "Proxy-Authorization",
      "X-Forwarded-For",
      "x-bext-id",
      "Sec-Fetch-Site",
    ]) {
      await assert.rejects(fetch(request(url, { headers: [[name, "x"]] })), { code: "E_HEADER_FORBIDDEN" }, name)
    }
    for (const [name, value] of [
      ["a b", "x"],
      ["", "x"],
      ["a\r\nb", "x"],
      ["a", "x\r\ny: z"],
      ["a", "x\0"],
      ["a", "☃"],
    ] as const) {
      await assert.rejects(fetch(request(url, { headers: [[name, value]] })), { code: "E_HEADER_INVALID" })
    }
    await assert.rejects(fetch(request(url, { headers: [["a", "x".repeat(20_000)]] })), { code: "E_LIMIT_MESSAGE" })
    await assert.rejects(fetch(request(url, { method: "POST", body: Buffer.alloc(100_001) })), {
      code: "E_LIMIT_MESSAGE",
    })
    await assert.rejects(fetch(request(url, { body: Buffer.from("x") })), { code: "E_FETCH_FORBIDDEN" })
  })

  it("allows as many requests a minute as granted, redirects included", async (t) => {
    const origin = await serve(t, (request, response) => {
      if (request.url === "/") return response.writeHead(302, { location: "/x" }).end()
      return response.end()
    })
    const fetch = connect(t, [origin], { allowedUrls: [origin], maxPerMinute: 3 })
    await fetch(request(origin))
    await fetch(request(`${origin}/x`))
    await assert.rejects(fetch(request(`${origin}/x`)), { code: "E_LIMIT_FETCH" })
    const none = connect(t, [origin], { allowedUrls: [origin], maxPerMinute: 0 })
    await assert.rejects(none(request(origin)), { code: "E_LIMIT_FETCH" })
  })

  it("cuts off a response that is larger than allowed, announced or not", async (t) => {
    const origin = await serve(t, (request, response) => {
      if (request.url === "/announced") response.setHeader("content-length", 1e12)
      const timer = setInterval(() => response.write(Buffer.alloc(65_536)), 1)
      response.on("close", () => clearInterval(timer))
    })
    const fetch = connect(t, [origin], { allowedUrls: [origin] })
    for (const path of ["/announced", "/endless"]) {
      await assert.rejects(fetch(request(origin + path)), { code: "E_LIMIT_MESSAGE" })
    }
  })

  it("answers HEAD with the length of what it did not load", async (t) => {
    const origin = await serve(t, (_request, response) => response.setHeader("content-length", 1e12).end())
    const fetch = connect(t, [origin], { allowedUrls: [origin] })
    const { headers, body } = await fetch(request(origin, { method: "HEAD" }))
    assert.deepEqual(
      headers.find(([name]) => name === "content-length"),
      ["content-length", "1000000000000"],
    )
    assert.equal(body.length, 0)
  })

  it("sends the body as it was when the guest called, whatever the guest does to its memory then", async (t) => {
    const origin = await serve(t, async (request, response) => void response.end(await text(request)))
    const fetch = connect(t, [origin], { allowedUrls: [origin] })
    const memory = Buffer.from("original")
    const pending = fetch(request(origin, { method: "POST", body: memory }))
    memory.fill("x")
    assert.equal(Buffer.from((await pending).body).toString(), "original")
  })

  it("removes content codings, and stops bombs", async (t) => {
    const plain = Buffer.from("hello ".repeat(100))
    const bomb = Buffer.alloc(50_000_000)
    const bodies: Record<string, [string, Buffer]> = {
      "/gzip": ["gzip", gzipSync(plain)],
      "/br": ["br", brotliCompressSync(plain)],
      "/deflate": ["deflate", deflateSync(plain)],
      "/raw": ["deflate", deflateRawSync(plain)],
      "/both": ["gzip, br", brotliCompressSync(gzipSync(plain))],
      "/bomb": ["gzip", gzipSync(bomb)],
      "/bombs": ["gzip, gzip", gzipSync(gzipSync(bomb))],
      "/many": ["gzip, gzip, gzip", gzipSync("x")],
      "/broken": ["gzip", Buffer.from("not gzip")],
      "/odd": ["compress", plain],
    }
    const origin = await serve(t, (request, response) => {
      const [coding, body] = bodies[request.url!]!
      response.writeHead(200, { "content-encoding": coding }).end(body)
    })
    const fetch = connect(t, [origin], { allowedUrls: [origin] })
    for (const path of ["/gzip", "/br", "/deflate", "/raw", "/both"]) {
      const { body, headers } = await fetch(request(origin + path))
      assert.equal(Buffer.from(body).toString(), plain.toString(), path)
      assert.ok(!headers.some(([name]) => name === "content-encoding" || name === "content-length"))
    }
    for (const path of ["/bomb", "/bombs"])
      await assert.rejects(fetch(request(origin + path)), { code: "E_LIMIT_MESSAGE" })
    for (const path of ["/many", "/broken", "/odd"])
      await assert.rejects(fetch(request(origin + path)), { code: "E_FETCH_FAILED" })
    assert.equal((await fetch(request(`${origin}/gzip`, { method: "HEAD" }))).body.length, 0)
  })

  it("gives up after its time, and at once when the guest is stopped", async (t) => {
    const asked = Promise.withResolvers<void>()
    const origin = await serve(t, (request, response) => {
      if (request.url === "/slow-body") response.write("x")
      asked.resolve()
    })
    const hasty = connect(t, [origin], { allowedUrls: [origin], timeoutMs: 50 })
    for (const path of ["/", "/slow-body"]) {
      await assert.rejects(hasty(request(origin + path)), { code: "E_FETCH_FAILED", message: /too long/ })
    }
    const patient = connect(t, [origin], { allowedUrls: [origin] })
    const controller = new AbortController()
    const pending = patient(request(origin), controller.signal)
    await asked.promise
    controller.abort()
    await assert.rejects(pending, { code: "E_FETCH_FAILED", message: /cancelled/ })
  })

  it("keeps name servers that never answer from taking more than two look-ups at a time, and from outliving a fetch", async (t) => {
    let underWay = 0
    const stuck = connect(t, [], { allowedUrls: ["http://*.slow.example"], timeoutMs: 100 }, () => {
      underWay++
      return new Promise(() => {})
    })
    const fetches = Array.from({ length: 10 }, (_, i) => stuck(request(`http://n${i}.slow.example/`)))
    for (const fetch of fetches) await assert.rejects(fetch, { code: "E_FETCH_FAILED", message: /too long/ })
    assert.equal(underWay, 2)
  })

  it("says that a server cannot be reached, with the reason's code only", async (t) => {
    const origin = await serve(t, () => {})
    const closed = net.createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => closed.once("listening", resolve))
    const { port } = closed.address() as AddressInfo
    await new Promise((resolve) => closed.close(resolve))
    const url = `http://127.0.0.1:${port}`
    const fetch = connect(t, [origin, url], { allowedUrls: [url] })
    await assert.rejects(fetch(request(url)), {
      code: "E_FETCH_FAILED",
      message: "demo: the fetch failed: ECONNREFUSED [E_FETCH_FAILED]",
    })
  })

  it("refuses a bad pattern when it is made, not when it is used", (t) => {
    assert.throws(() => connect(t, [], { allowedUrls: ["https://*"] }), { code: "E_PLUGIN_MANIFEST_INVALID" })
  })

  it("has a bound on what one plugin has under way", async (t) => {
    const origin = await serve(t, () => {})
    const fetch = connect(t, [origin], { allowedUrls: [origin], maxPerMinute: 1000 })
    const controller = new AbortController()
    const pending = Array.from({ length: 32 }, () => fetch(request(origin), controller.signal))
    await assert.rejects(fetch(request(origin)), { code: "E_LIMIT_FETCH" })
    controller.abort()
    assert.equal((await Promise.allSettled(pending)).filter(({ status }) => status === "rejected").length, 32)
  })
})

function connect(
  t: TestContext,
  allowed: readonly string[],
  options: Partial<GuardedFetchOptions> & Pick<GuardedFetchOptions, "allowedUrls">,
  resolve?: Resolve,
  isOwnListener: (address: string, port: number) => boolean = () => false,
) {
  const guard = new AddressGuard({ allowPrivate: allowed.map((origin) => new URL(origin).host), isOwnListener })
  const transport = createFetchTransport(guard, resolve)
  t.after(() => transport.destroy())
  const fetch = createGuardedFetch({ plugin: "demo", maxPerMinute: 1000, maxBytes: 100_000, transport, ...options })
  return (request: GuestFetchRequest, signal: AbortSignal = never) => fetch(request, signal)
}

function request(url: string, rest: Partial<GuestFetchRequest> = {}): GuestFetchRequest {
  return { url, method: "GET", headers: [], body: null, redirect: "follow", ...rest }
}

/** Any connection from here on fails the test. */
function forbidConnections(t: TestContext): void {
  t.mock.method(net.Socket.prototype, "connect", (options: unknown) => {
    assert.fail(`a connection was made: ${JSON.stringify(options)}`)
  })
}

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1")
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  await new Promise((resolve) => server.once("listening", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
