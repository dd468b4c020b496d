import assert from "node:assert/strict"
import { once } from "node:events"
import { type IncomingMessage, request } from "node:http"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { freePort } from "../support/free-port.ts"
import { eventually, get, type Several, serveSeveral } from "./several.ts"

describe("the admin listener", () => {
  it("takes a plugin out of service in all processes, those that start later included, and back in", async () => {
    await using server = await serveSeveral()
    await ask(server, "POST", "/v1/plugins/who/quarantine", { reason: "a test" })
    await everyAnswer(server, 503)
    const [first] = await server.serving(2)
    process.kill(first!.pid, "SIGKILL")
    await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
    await everyAnswer(server, 503)
    await ask(server, "POST", "/v1/plugins/who/release", {})
    await everyAnswer(server, 200)
  })

  it("says that there is no such plugin", async () => {
    await using server = await serveSeveral()
    const { status, body } = await send(server, "POST", "/v1/plugins/nobody/release", {})
    assert.deepEqual([status, JSON.parse(body).code], [404, "E_NOT_FOUND"])
  })

  it("has the log lines of all processes and of the supervisor, and follows them", async () => {
    await using server = await serveSeveral({ files: { "plugins/who/index.js": NOISY } })
    const outgoing = request({ socketPath: socketOf(server), path: "/v1/logs?follow=1&lines=0", agent: false })
    outgoing.setHeader("host", "localhost").end()
    const [response] = (await once(outgoing, "response")) as [IncomingMessage]
    let followed = ""
    response
      .on("error", () => {})
      .on("data", (chunk) => {
        followed += chunk
      })
    await eventually(async () => {
      await get(server.url)
      return new Set(followed.match(/from [0-9a-f-]{36}/g)).size === 2
    }, "both processes are heard")
    process.kill(server.pid, "SIGHUP")
    await eventually(() => followed.includes("was reloaded"), "the supervisor is heard")
    outgoing.destroy()
    const tail = (await send(server, "GET", "/v1/logs?lines=1000")).body
    assert.match(tail, /from [0-9a-f-]{36}/)
    assert.match(tail, /was reloaded/)
  })

  it("adds up what all processes counted, and keeps what one counted that has ended", async () => {
    await using server = await serveSeveral()
    const count = async () => {
      const { body } = await send(server, "GET", "/metrics")
      const lines = body.split("\n").filter((line) => /^bext_http_requests_total\{.*status="200"/.test(line))
      return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)
    }
    for (let number = 0; number < 20; number++) await get(server.url)
    assert.equal(await count(), 20)
    const [first] = await server.serving(2)
    process.kill(first!.pid, "SIGKILL")
    await eventually(async () => (await server.serving(2)).every(({ pid }) => pid !== first!.pid), "another serves")
    assert.equal(await count(), 20)
  })

  it("reloads, and opens again where the new configuration says", async () => {
    await using server = await serveSeveral()
    const port = await freePort()
    const section = `[admin]\nlisten = "127.0.0.1:${port}"\ntoken = "env:HOME_TOKEN"\n`
    await server.edit("bext.config.toml", "[plugins.who]", `${section}[plugins.who]`)
    const refused = await send(server, "POST", "/v1/reload", {})
    assert.deepEqual([refused.status, JSON.parse(refused.body).code], [500, "E_CONFIG_SECRET_MISSING"])
    await server.edit("bext.config.toml", "HOME_TOKEN", "LONG_TOKEN")
    const { status, body } = await send(server, "POST", "/v1/reload", {})
    assert.deepEqual([status, JSON.parse(body).replaced], [200, true])
    const authorization = `Bearer ${LONG_TOKEN}`
    await eventually(async () => {
      const response = await fetch(`http://127.0.0.1:${port}/v1/health`, { headers: { authorization } }).catch(
        () => null,
      )
      return response?.status === 200
    }, "it is there")
  })
})

const LONG_TOKEN = "0123456789abcdef0123456789abcdef"
process.env.LONG_TOKEN = LONG_TOKEN

const NOISY = `
let process
export function onServerStart() { process = crypto.randomUUID() }
export function onRequest() { console.log("from " + process) }`

async function everyAnswer(server: Several, status: number): Promise<void> {
  // In turn, so that each process answers some.
  await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => get(server.url)))
    return answers.every((answer) => answer.status === status)
  }, `all answer ${status}`)
}

const socketOf = (server: Several) => server.project.path(".bext/admin.sock")

async function ask(server: Several, method: string, path: string, body: object): Promise<void> {
  const answer = await send(server, method, path, body)
  assert.equal(answer.status, 200, answer.body)
}

async function send(server: Several, method: string, path: string, body?: object) {
  const outgoing = request({ socketPath: socketOf(server), method, path, agent: false })
  outgoing.setHeader("host", "localhost")
  if (body !== undefined) outgoing.setHeader("content-type", "application/json")
  outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  const [response] = (await once(outgoing, "response")) as [IncomingMessage]
  return { status: response.statusCode, body: await text(response) }
}
