import assert from "node:assert/strict"
import { once } from "node:events"
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { SessionRevocations } from "../../src/middleware/session-revocations.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import { startLoginApp } from "../support/login-app.ts"
import { createProject, type ServedChild, serveChild } from "../support/serve.ts"

const PROCESSES = 2

/** Says which process answered. */
const WHO = {
  "plugins/who/plugin.toml": '[manifest]\nname = "who"\nversion = "1.0.0"\ncapabilities = ["middleware", "lifecycle"]',
  "plugins/who/index.js": `
let name
export function onServerStart() { name = crypto.randomUUID() }
export function onResponse(ctx) { ctx.response.setHeader("x-process", name) }
`,
}

class Site {
  readonly folder: string
  #child: ServedChild

  static async start(t: TestContext, middleware: string): Promise<Site> {
    const app = await startLoginApp()
    t.after(() => app[Symbol.asyncDispose]())
    const project = createProject({
      ...WHO,
      "bext.config.toml": `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[log]
level = "error"
[app]
upstream = "${app.origin}"
forward_user = true
${middleware}
[plugins.who]
`,
    })
    const site = new Site(project.folder, await startChild(project.folder))
    t.after(async () => {
      await site.#child[Symbol.asyncDispose]()
      project[Symbol.dispose]()
    })
    return site
  }

  private constructor(folder: string, child: ServedChild) {
    this.folder = folder
    this.#child = child
  }

  async restart(): Promise<void> {
    await this.#child.end("SIGTERM")
    this.#child = await startChild(this.folder)
  }

  /** On a connection of its own, so that any of the processes answers. */
  async send(line: string, headers: OutgoingHttpHeaders = {}, body = ""): Promise<IncomingMessage> {
    const [method, path] = line.split(" ")
    const sent = httpRequest(this.#child.url + path!, { method, headers, agent: false }).end(body)
    const [response] = (await once(sent, "response")) as [IncomingMessage]
    response.resume()
    return response
  }

  async login(name: string): Promise<string> {
    const { headers } = await this.send("POST /login", {}, `name=${name}`)
    return headers["set-cookie"]![0]!.split(";")[0]!
  }

  /** Asks until every process has given the status, and gives up on those that go on with another. */
  async everywhere(status: number, headers: OutgoingHttpHeaders): Promise<void> {
    const agreed = new Set<string>()
    for (let attempt = 0; attempt < 500 && agreed.size < PROCESSES; attempt++) {
      const answer = await this.send("GET /account", headers)
      const name = String(answer.headers["x-process"])
      if (answer.statusCode === status) agreed.add(name)
      else agreed.delete(name)
      await delay(5)
    }
    assert.equal(agreed.size, PROCESSES, `processes that answered ${status}`)
  }
}

function startChild(folder: string): Promise<ServedChild> {
  const env = { SESSION_KEY: "the secret of a server that only this test starts" }
  return serveChild([], { folder, env, processes: PROCESSES })
}

const SESSIONS = `
[middleware.auth]
public = ["/login"]
[middleware.session]
secrets = ["env:SESSION_KEY"]
login_paths = ["/login", "/logout"]
`

describe("several processes", { timeout: 120_000 }, () => {
  it("take the same sessions, and none of them one that ended in another, nor after a restart", async (t) => {
    const site = await Site.start(t, SESSIONS)
    const [ended, kept] = [await site.login("ada"), await site.login("ada")]
    for (const cookie of [ended, kept]) await site.everywhere(200, { cookie })
    assert.equal((await site.send("POST /logout", { cookie: ended })).statusCode, 303)
    await site.everywhere(401, { cookie: ended })
    await site.everywhere(200, { cookie: kept })
    await site.restart()
    await site.everywhere(200, { cookie: kept })
    await site.everywhere(401, { cookie: ended })
  })

  it("refuse all sessions of a user that began before somebody ended them, and no later ones", async (t) => {
    const site = await Site.start(t, SESSIONS)
    const cookies = [await site.login("ada"), await site.login("ada"), await site.login("grace")] as const
    for (const cookie of cookies) await site.everywhere(200, { cookie })
    await using state = openLmdbStore({ dir: join(site.folder, ".bext"), log: { error() {} } })
    using revocations = await SessionRevocations.open(state)
    await revocations.revokeUser("ada")
    for (const cookie of cookies.slice(0, 2)) await site.everywhere(401, { cookie })
    for (const cookie of [cookies[2], await site.login("ada")]) await site.everywhere(200, { cookie })
  })

  it("hold a client to one limit, not to one for each", async (t) => {
    const site = await Site.start(t, '[middleware.rate_limit]\nrequests = 40\nwindow = "1h"')
    const refusing = new Set<string>()
    let passed = 0
    while (refusing.size < PROCESSES && passed < 40 * PROCESSES) {
      const { statusCode, headers } = await site.send("GET /account")
      if (statusCode === 429) refusing.add(String(headers["x-process"]))
      else passed++
      // Several requests in each of the moments in which the processes have not told each other.
      await delay(10)
    }
    assert.ok(passed >= 40 && passed < 60, `${passed} of ${40 * PROCESSES} passed`)
  })
})
