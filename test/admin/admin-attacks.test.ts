import assert from "node:assert/strict"
import { once } from "node:events"
import { describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import type { AdminProject } from "./admin-project.ts"
import { adminProject, HELLO, METRICS_TOKEN, TCP, TOKEN } from "./admin-project.ts"
import { type AskOptions, ask } from "./ask.ts"
import { exchange, open } from "./raw.ts"

const SITE = `[app]\nstatic = "public"\n${TCP}[plugins.hello]\n`
const WRITE = { method: "POST", body: '{"reason":"x"}' }
const QUARANTINE = "/v1/plugins/hello/quarantine"

/** Without the token, unless the headers have it. */
async function code(project: AdminProject, path: string, options: AskOptions = {}): Promise<[number, string]> {
  const { status, json } = await ask(project.where, path, options)
  return [status, json().code]
}

async function assertUntouched({ control }: AdminProject): Promise<void> {
  const { processes, lastReload } = await control.status()
  assert.equal(processes[0]!.plugins[0]!.quarantine, null)
  assert.equal(lastReload, null)
}

describe("the admin listener on an address", { concurrency: true }, () => {
  it("does nothing without the token, and takes it from the header alone", async () => {
    await using project = await adminProject(SITE, HELLO)
    for (const path of ["/v1/status", "/metrics", "/v1/config", "/v1/logs?follow=1", "/nothing", "/"]) {
      const answer = await ask(project.where, path)
      assert.deepEqual([answer.status, answer.json().code], [401, "E_ADMIN_TOKEN"], path)
      assert.equal(answer.headers["www-authenticate"], 'Bearer realm="bext"')
    }
    const elsewhere: AskOptions[] = [
      { headers: { cookie: `token=${TOKEN}` } },
      { headers: { "x-api-key": TOKEN } },
      { headers: { authorization: `Basic ${btoa(`admin:${TOKEN}`)}` } },
      { headers: { authorization: TOKEN } },
      { headers: { authorization: "Bearer " } },
    ]
    for (const options of elsewhere) {
      assert.deepEqual(await code(project, QUARANTINE, { ...WRITE, ...options }), [401, "E_ADMIN_TOKEN"])
    }
    for (const name of ["token", "access_token", "authorization"]) {
      assert.deepEqual(await code(project, `${QUARANTINE}?${name}=${TOKEN}`, WRITE), [401, "E_ADMIN_TOKEN"])
    }
    const both = await project.ask(`${QUARANTINE}?token=${TOKEN}`, WRITE)
    assert.equal(both.json().code, "E_ADMIN_REQUEST")
    await assertUntouched(project)
  })

  it("lets the metrics token scrape and nothing else", async () => {
    await using project = await adminProject(SITE, HELLO)
    const headers = { authorization: `Bearer ${METRICS_TOKEN}` }
    assert.equal((await ask(project.where, "/metrics", { headers })).status, 200)
    for (const path of [
      "/v1/status",
      "/v1/metrics",
      "/metrics/",
      "//metrics",
      "/metrics/../v1/status",
      "/v1/status?/metrics",
    ]) {
      assert.deepEqual(await code(project, path, { headers }), [403, "E_ADMIN_FORBIDDEN"], path)
    }
    assert.deepEqual(await code(project, QUARANTINE, { ...WRITE, headers }), [403, "E_ADMIN_FORBIDDEN"])
    assert.deepEqual(await code(project, "/metrics", { ...WRITE, headers }), [403, "E_ADMIN_FORBIDDEN"])
    await assertUntouched(project)
  })

  it("refuses what comes from a browser page, the right token included", async () => {
    await using project = await adminProject(SITE, HELLO)
    const origins: Record<string, string>[] = [
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: "" },
      { origin: project.url },
      ...["cross-site", "same-site", "same-origin", "NONE", ""].map((site) => ({ "sec-fetch-site": site })),
    ]
    for (const headers of origins) {
      const answer = await project.ask(QUARANTINE, { ...WRITE, headers })
      assert.deepEqual([answer.status, answer.json().code], [403, "E_ADMIN_FORBIDDEN"], JSON.stringify(headers))
      assert.ok(!Object.keys(answer.headers).some((name) => name.startsWith("access-control-")))
    }
    const preflight = await project.ask("/v1/reload", {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    })
    assert.equal(preflight.status, 403)
    assert.equal((await project.ask("/v1/reload", { method: "OPTIONS" })).status, 405)
    await assertUntouched(project)
  })

  it("refuses a name that is not its own, so that no page can pass as it", async () => {
    await using project = await adminProject(
      `${SITE.replace(TCP, `${TCP}allowed_hosts = ["admin.example.com"]\n`)}`,
      HELLO,
    )
    const { port } = project.where as { port: number }
    const foreign = [
      `evil.example:${port}`,
      "evil.example",
      "127.0.0.1",
      `127.0.0.1:${port + 1}`,
      `127.0.0.1.evil.example:${port}`,
      `127.0.0.2:${port}`,
      `[::1]:${port}`,
      `0.0.0.0:${port}`,
      `evil@127.0.0.1:${port}`,
      `127.0.0.1:${port}@evil.example`,
      `localhost:${port}.`,
      `localhost.:${port}`,
      `bext`,
      "",
    ]
    for (const host of foreign) {
      const answer = await project.ask("/v1/status", { headers: { host } })
      assert.deepEqual([answer.status, answer.json().code], [403, "E_ADMIN_FORBIDDEN"], host)
    }
    for (const host of [`localhost:${port}`, `LOCALHOST:${port}`, "admin.example.com", "admin.example.com:443"]) {
      assert.equal((await project.ask("/v1/status", { headers: { host } })).status, 200, host)
    }
    const authorization = `Authorization: Bearer ${TOKEN}`
    const two = `GET /v1/status HTTP/1.1\r\nHost: localhost:${port}\r\nHost: evil.example\r\n${authorization}\r\nConnection: close\r\n\r\n`
    assert.match(await exchange(project.where, two), /^HTTP\/1\.1 400 /)
    const none = `GET /v1/status HTTP/1.1\r\n${authorization}\r\nConnection: close\r\n\r\n`
    assert.match(await exchange(project.where, none), /^HTTP\/1\.1 400 /)
    const old = `GET /v1/status HTTP/1.0\r\n${authorization}\r\n\r\n`
    assert.match(await exchange(project.where, old), /^HTTP\/1\.1 403 /)
  })

  it("has one spelling for each path", async () => {
    await using project = await adminProject(SITE, HELLO)
    const { port } = project.where as { port: number }
    const paths = [
      "//v1/status",
      "/v1//status",
      "/v1/./status",
      "/v1/x/../status",
      "/v1/status/",
      "/v1/%73tatus",
      "/V1/status",
      "/v1/status%00",
      "/v1/status;x",
      "/v1/plugins/",
      "/v1/plugins/Hello",
      "/v1/plugins/hello/",
      "/v1/plugins/hello%2Frelease",
      "/v1/plugins/hello/../../reload",
      "/v1/plugins/__proto__",
      `/v1/plugins/${"a".repeat(70)}`,
      `http://127.0.0.1:${port}/v1/status`,
      "/__proto__",
      "/constructor",
    ]
    for (const path of paths) assert.equal((await project.ask(path)).json().code, "E_NOT_FOUND", path)
    for (const method of ["constructor", "__proto__"]) {
      const bytes = `${method} /v1/status HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`
      assert.match(await exchange(project.where, bytes), /^HTTP\/1\.1 400 /)
    }
    await assertUntouched(project)
  })

  it("takes writes as JSON alone, small and whole", async () => {
    await using project = await adminProject(SITE, HELLO)
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/jsonx",
      "application/json, text/plain",
      "",
    ]) {
      const answer = await project.ask(QUARANTINE, { ...WRITE, headers: { "content-type": type } })
      assert.deepEqual([answer.status, answer.json().code], [403, "E_ADMIN_FORBIDDEN"], type)
    }
    for (const body of [
      "",
      "null",
      "[]",
      '"x"',
      "{",
      '{"reason":1}',
      '{"reason":["x"]}',
      '{"reason":"x","more":1}',
      '{"reason":"x","__proto__":{}}',
      `{"reason":"${"x".repeat(501)}"}`,
    ]) {
      const answer = await project.ask(QUARANTINE, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
      })
      assert.deepEqual([answer.status, answer.json().code], [400, "E_ADMIN_REQUEST"], body.slice(0, 40))
    }
    const large = await project.ask(QUARANTINE, { method: "POST", body: `{"reason":"${"x".repeat(70_000)}"}` })
    assert.deepEqual([large.status, large.json().code], [413, "E_BODY_TOO_LARGE"])
    const { port } = project.where as { port: number }
    const head = `POST ${QUARANTINE} HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`
    const announced = `${head}Content-Length: 10000000000\r\n\r\n{`
    assert.match(await exchange(project.where, announced), /^HTTP\/1\.1 413 /)
    const chunk = `${(16_384).toString(16)}\r\n${" ".repeat(16_384)}\r\n`
    assert.match(
      await exchange(project.where, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(8)}`),
      /^HTTP\/1\.1 413 /,
    )
    const expecting = `${head}Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n`
    assert.match(await exchange(project.where, expecting), /^HTTP\/1\.1 413 /, "no 100 Continue for what is refused")
    await assertUntouched(project)
  })

  it("makes who guesses tokens wait, and logs it without the guess", async () => {
    await using project = await adminProject(SITE, HELLO)
    const guess = (token: string) => ask(project.where, "/v1/status", { headers: { authorization: `Bearer ${token}` } })
    for (let attempt = 0; attempt < 10; attempt++) assert.equal((await guess(`wrong-${attempt}-${TOKEN}`)).status, 401)
    const waiting = await guess(`${TOKEN}x`)
    assert.deepEqual([waiting.status, waiting.json().code], [429, "E_RATE_LIMITED"])
    assert.ok(Number(waiting.headers["retry-after"]) > 0)
    assert.equal((await guess(TOKEN)).status, 429, "or else guessing would go on until one is not refused")
    assert.equal((await ask(project.where, "/v1/status")).status, 401, "asking without a token is no guess")
    const lines = project.tail.lines(1000)
    assert.equal(lines.filter((line) => line.includes("a wrong token")).length, 10)
    assert.ok(!lines.some((line) => line.includes("wrong-")))
  })

  it("writes nothing into the log that a caller could shape", async () => {
    await using project = await adminProject(SITE, HELLO)
    const forged = '\u001b[2J","level":"fatal'
    await project.ask(`/v1/plugins/hello/release?${encodeURIComponent(forged)}`, { method: "POST", body: "{}" })
    await project.ask("/v1/status", { headers: { authorization: 'Bearer a\u0085b","level":"fatal' } })
    await project.ask("/v1/reload", { method: "POST", body: JSON.stringify({ [forged]: forged }) })
    const reason = await project.ask(QUARANTINE, { method: "POST", body: JSON.stringify({ reason: `a\n${forged}` }) })
    assert.equal(reason.status, 200)
    const lines = project.tail.lines(1000)
    assert.ok(!lines.some((line) => line.includes("\u001b") || JSON.parse(line).level === "fatal"))
    const { quarantine } = (await project.control.status()).processes[0]!.plugins[0]!
    assert.equal(quarantine!.reason, 'a\\u{a}\\u{1b}[2J","level":"fatal')
  })

  it("cuts off who sends headers and bodies by drops", async () => {
    await using project = await adminProject(SITE, HELLO)
    const { port } = project.where as { port: number }
    const starts = [
      "",
      "GET /v1/status HTTP/1.1\r\nHost: ",
      `POST /v1/reload HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    ]
    const sockets = await Promise.all(
      starts.map(async (start) => {
        const socket = await open(project.where)
        socket.resume()
        socket.write(start)
        return socket
      }),
    )
    const drops = setInterval(() => {
      for (const socket of sockets.slice(1)) if (socket.writable) socket.write(" ")
    }, 500)
    await Promise.all(sockets.map((socket) => socket.destroyed || once(socket, "close")))
    clearInterval(drops)
    assert.equal((await project.ask("/v1/status")).status, 200)
    await assertUntouched(project)
  })

  it("keeps a bounded number of connections, and answers again when they are gone", async () => {
    await using project = await adminProject(SITE, HELLO)
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open(project.where)))
    const dropped = sockets.filter((socket) => !socket.destroyed)
    await until(() => dropped.filter((socket) => socket.destroyed).length >= 36)
    for (const socket of sockets) socket.destroy()
    await until(async () => (await project.ask("/v1/status").catch(() => undefined))?.status === 200)
  })

  it("answers pipelined requests each by its own credentials", async () => {
    await using project = await adminProject(SITE, HELLO)
    const { port } = project.where as { port: number }
    const host = `Host: localhost:${port}\r\n`
    const bytes = [
      `GET /v1/health HTTP/1.1\r\n${host}Authorization: Bearer ${TOKEN}\r\n\r\n`,
      `POST /v1/reload HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
    ]
    const text = await exchange(project.where, bytes.join(""))
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 401"])
    await assertUntouched(project)
  })

  it("gives a reader that does not read bounded memory, and tells it how many lines it lost", async () => {
    await using project = await adminProject(SITE, HELLO)
    const { port } = project.where as { port: number }
    const socket = await open(project.where)
    socket.pause()
    const request = `GET /v1/logs?lines=0&follow=1 HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`
    socket.write(request)
    await until(() => socket.readableLength > 0 || socket.bytesRead > 0)
    const total = 40_000
    for (let index = 0; index < total; index++) {
      project.tail.write(`{"level":"info","n":${index},"msg":"${"x".repeat(1000)}"}\n`)
      if (index % 1000 === 0) await delay(0)
    }
    let text = ""
    socket.setEncoding("latin1").on("data", (chunk) => {
      text += chunk
    })
    socket.resume()
    const lost = () => text.matchAll(/\{"lost":(\d+)\}/g).reduce((sum, [, count]) => sum + Number(count), 0)
    const numbers = () => Array.from(text.matchAll(/"n":(\d+)/g), ([, n]) => Number(n))
    // Until then a further line would be one more that is lost.
    await until(() => lost() > 0 && numbers().length + lost() === total)
    project.tail.write('{"level":"info","msg":"last"}\n')
    await until(() => text.includes('"last"'))
    const seen = numbers()
    assert.ok(seen.length < total / 2, `${seen.length} lines of a kilobyte were kept for it, here or in the system`)
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    )
    socket.destroy()
  })

  it("has at most 16 readers of the log at once", async () => {
    await using project = await adminProject(SITE, HELLO)
    const { port } = project.where as { port: number }
    const request = `GET /v1/logs?lines=0&follow=1 HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`
    const readers = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const socket = await open(project.where)
        socket.write(request)
        await once(socket, "data")
        return socket
      }),
    )
    assert.equal((await project.ask("/v1/logs?follow=1")).json().code, "E_OVERLOADED")
    assert.equal((await project.ask("/v1/logs")).status, 200)
    for (const socket of readers) socket.destroy()
    await until(async () => {
      const socket = await open(project.where)
      socket.write(request)
      const [chunk] = await once(socket, "data")
      socket.destroy()
      return String(chunk).startsWith("HTTP/1.1 200")
    })
  })

  it("is not on the public listener", async () => {
    await using project = await adminProject(SITE, HELLO)
    const headers = { authorization: `Bearer ${TOKEN}` }
    for (const path of [
      "/metrics",
      "/v1/status",
      "/v1/config",
      "/__bext/metrics",
      "/__bext/v1/status",
      "/__bext/status",
    ]) {
      const response = await fetch(project.url + path, { headers })
      assert.equal(response.status, 404, path)
      assert.doesNotMatch(await response.text(), /bext_|processes/)
    }
  })
})

describe("the admin listener on a socket", () => {
  it("refuses browser headers and foreign names too, and asks for the token when there is one", async () => {
    const config = '[app]\nstatic = "public"\n[admin]\ntoken = "env:BEXT_ADMIN_TOKEN"\n[plugins.hello]\n'
    await using project = await adminProject(config, HELLO)
    assert.equal((await ask(project.where, "/v1/status")).status, 401)
    const headers = { authorization: `Bearer ${TOKEN}` }
    assert.equal((await ask(project.where, "/v1/status", { headers })).status, 200)
    assert.equal((await ask(project.where, "/v1/status", { headers: { ...headers, host: "localhost" } })).status, 200)
    assert.equal(
      (await ask(project.where, "/v1/status", { headers: { ...headers, host: "evil.example" } })).status,
      403,
    )
    assert.equal((await ask(project.where, "/v1/status", { headers: { ...headers, origin: "null" } })).status, 403)
  })
})

/** Polls: only a hang fails, not a slow machine. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (await condition()) return
    await delay(20)
  }
  assert.fail("it never came true")
}
