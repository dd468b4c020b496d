import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it, type TestContext } from "node:test"
import { type ServedChild, serveChild, serveInChild } from "../support/serve.ts"

const MESSAGES = 150

describe("bext serve with queues", () => {
  it("delivers every message although serving processes are killed with SIGKILL while they handle some", async (t) => {
    const server = await start(t, { processes: 2 })
    let killed = 0
    for (let n = 0; n < MESSAGES; n++) {
      const response = await push(server, { value: `${n}`, options: { key: `key ${n % 10}` } })
      assert.match(response, /^[0-9a-f]{24}$/)
      if (n === 50 || n === 100) {
        const [worker] = childrenOf(server.pid)
        process.kill(worker!, "SIGKILL")
        killed++
      }
    }
    assert.equal(killed, 2)
    await handledAll(server)
  })

  it("delivers after a restart what was pushed before the whole server was killed with SIGKILL", async (t) => {
    const first = await start(t, { processes: 1 })
    for (let n = 0; n < MESSAGES; n++)
      await push(first, { value: `${n}`, options: { delayMs: n % 2 === 0 ? 0 : 1500 } })
    await first.end("SIGKILL")
    const { folder } = first
    const second = await serveChild([], { folder, processes: 1 })
    t.after(() => second[Symbol.asyncDispose]())
    await handledAll(second)
  })

  it("lets both processes handle messages, each message once while none dies", async (t) => {
    const server = await start(t, { processes: 2, visibility: "60s" })
    for (let n = 0; n < MESSAGES; n++) await push(server, { value: `${n}` })
    await handledAll(server)
    const counts = await ask(server)
    assert.deepEqual(Object.keys(counts).length, MESSAGES)
    assert.deepEqual([...new Set(Object.values(counts))], ["1"])
  })
})

const SOURCE = `
  export async function onRequest(ctx) {
    if (ctx.path === "/handled") {
      const counts = {}
      for (const key of bext.storage.keys("done ")) counts[key] = bext.storage.get(key)
      return Response.json(counts)
    }
    const { value, options } = JSON.parse(decodeURIComponent(ctx.headers.get("x-push")))
    return new Response(await bext.queue.push("jobs", value, options))
  }
  export async function onQueueMessage({ value }) {
    await new Promise((done) => setTimeout(done, 10))
    await bext.storage.incr("done " + value)
  }
`

async function start(t: TestContext, options: { processes: number; visibility?: string }): Promise<ServedChild> {
  const { processes, visibility = "1s" } = options
  const server = await serveInChild(
    `[app]
static = "public"
[queues.jobs]
visibility_timeout = "${visibility}"
max_attempts = 100
backoff = "50ms"
[plugins.jobs]
[plugins.jobs.grant]
queues = ["jobs"]
`,
    {
      "plugins/jobs/plugin.toml": `[manifest]
name = "jobs"
version = "1.0.0"
capabilities = ["middleware", "lifecycle"]
[permissions]
queues = ["jobs"]
`,
      "plugins/jobs/index.js": SOURCE,
    },
    { processes },
  )
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

/** A request to a process that was just killed fails; the message may have been pushed all the same. */
async function push(server: ServedChild, request: object): Promise<string> {
  const headers = { "x-push": encodeURIComponent(JSON.stringify(request)), connection: "close" }
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(server.url, { headers })
      const text = await response.text()
      assert.equal(response.status, 200, text)
      return text
    } catch (error) {
      if (attempt === 20) throw error
      await new Promise((later) => setTimeout(later, 100))
    }
  }
}

async function ask(server: ServedChild): Promise<Record<string, string>> {
  const response = await fetch(`${server.url}/handled`, { headers: { connection: "close" } })
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return JSON.parse(text)
}

async function handledAll(server: ServedChild): Promise<void> {
  const endMs = performance.now() + 30_000
  for (;;) {
    // Also an error, such as that of a process that was just killed.
    const state = await ask(server).then(
      (counts) => `${Object.keys(counts).length} of ${MESSAGES} messages were handled`,
      String,
    )
    if (state.startsWith(`${MESSAGES} of`)) return
    if (performance.now() > endMs) assert.fail(`${state}\n${server.output()}`)
    await new Promise((look) => setTimeout(look, 50))
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number)
}
