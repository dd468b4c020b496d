import assert from "node:assert/strict"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createServer } from "../../src/create-server.ts"
import type { ServerProcess } from "../../src/processes/server-process.ts"
import { openLmdbState } from "../../src/state/open-lmdb-state.ts"
import type { QueueStore } from "../../src/state/state.ts"
import { createProject } from "../support/serve.ts"
import { type LogLine, recordingLogger } from "./recording-logger.ts"

describe("queues", () => {
  it("delivers what one plugin pushed to the other, with the id, the key and the attempt", async (t) => {
    const site = await start(t, {
      producer: { source: PUSH, queues: ["mail"] },
      consumer: {
        source: `export function onQueueMessage(message) { console.log(JSON.stringify(message)) }`,
        queues: ["mail"],
      },
    })
    const [id] = await site.push({ queue: "mail", value: { to: "ada@example.com" }, options: { key: "ada" } })
    const message = JSON.parse(await site.logged(/"to":"ada@example.com"/))
    assert.ok(Math.abs(Date.now() - message.pushedAtMs) < 600_000)
    assert.deepEqual(message, {
      id,
      queue: "mail",
      value: { to: "ada@example.com" },
      key: "ada",
      attempt: 1,
      pushedAtMs: message.pushedAtMs,
      tenantId: null,
    })
    await site.empty("mail")
  })

  it("gives a message the storage of the tenant whose request pushed it", async (t) => {
    const site = await start(
      t,
      {
        shop: {
          source: `${PUSH}
            export function onQueueMessage(message) {
              bext.storage.set("seen", message.value)
              console.log(message.tenantId + " stored " + message.value)
            }`,
          queues: ["orders"],
        },
      },
      `[middleware.tenant]\nby = ["header:x-tenant"]\n[[tenants]]\nid = "acme"\n[[tenants]]\nid = "zeta"\n`,
    )
    await site.push({ queue: "orders", value: "a" }, { "x-tenant": "acme" })
    await site.logged(/acme stored a/)
    await site.push({ queue: "orders", value: "z" }, { "x-tenant": "zeta" })
    await site.logged(/zeta stored z/)
  })

  it("refuses a plugin every queue that it was not granted, whatever its name", async (t) => {
    const site = await start(t, { producer: { source: PUSH, queues: ["mail"] } })
    for (const queue of ["other", "", "mail\0", "__proto__", "MAIL", "mail ", "../mail", "m".repeat(2000), 7, null]) {
      assert.deepEqual(await site.push({ queue, value: 1 }), ["E_PERMISSION"], JSON.stringify(queue).slice(0, 40))
    }
    assert.deepEqual(await site.list(), [])
  })

  it("refuses values, keys and delays that cannot be a message's", async (t) => {
    const site = await start(t, { producer: { source: PUSH, queues: ["mail"] } })
    const invalid = {
      "'x'.repeat(256 * 1024)": "E_QUEUE_MESSAGE",
      "'é'.repeat(128 * 1024)": "E_QUEUE_MESSAGE",
      "'x'.repeat(2 * 1024 * 1024)": "E_LIMIT_MESSAGE",
      "JSON.parse('['.repeat(101) + ']'.repeat(101))": "E_QUEUE_MESSAGE",
      undefined: "TypeError",
      "() => 1": "TypeError",
      "1n": "TypeError",
      "(() => { const a = []; a.push(a); return a })()": "TypeError",
    }
    for (const [expression, code] of Object.entries(invalid)) {
      assert.deepEqual(await site.push({ queue: "mail", expression }), [code], expression)
    }
    const options = [
      { key: "" },
      { key: "k".repeat(513) },
      { delayMs: -1 },
      { delayMs: "soon" },
      { delayMs: 30 * 86_400_000 + 1 },
      { delayMs: 1e300 },
    ]
    for (const option of options) {
      const found = await site.push({ queue: "mail", value: 1, options: option })
      assert.deepEqual(found, ["E_QUEUE_MESSAGE"], JSON.stringify(option))
    }
    assert.deepEqual(await site.list(), [])
  })

  it("takes any key of 512 bytes, control characters too, and a value of 100 levels", async (t) => {
    const site = await start(t, {
      both: {
        source: `${PUSH}\nexport const onQueueMessage = ({ key }) => console.log("got " + encodeURIComponent(key))`,
        queues: ["mail"],
      },
    })
    for (const key of ["\0\u0001\n\u007f", "é".repeat(256), "__proto__", "\u202e"]) {
      assert.match((await site.push({ queue: "mail", value: 1, options: { key } }))[0]!, /^[0-9a-f]{24}$/)
      await site.logged(new RegExp(`got ${encodeURIComponent(key)}`))
    }
    const expression = "JSON.parse('['.repeat(100) + ']'.repeat(100))"
    assert.match((await site.push({ queue: "mail", expression }))[0]!, /^[0-9a-f]{24}$/)
    await site.empty("mail")
  })

  it("stops a flood of pushes at the bound of the queue", async (t) => {
    const site = await start(t, { producer: { source: PUSH, queues: ["mail"] } }, "[queues.mail]\nmax_messages = 50\n")
    const results = await site.push({ queue: "mail", value: "x", times: 120 })
    assert.equal(results.filter((result) => result === "E_LIMIT_QUEUE").length, 70)
    assert.equal((await site.list())[0]!.messages, 50)
  })

  it("tries a failing message again, then keeps it as a dead letter with the last error", async (t) => {
    const site = await start(
      t,
      {
        both: {
          source: `${PUSH}
            export async function onQueueMessage({ attempt, value }) {
              console.log("attempt " + attempt)
              if (value === "bad") throw new TypeError("no such address")
            }`,
          queues: ["mail"],
        },
      },
      QUICK_RETRIES,
    )
    await site.push({ queue: "mail", value: "bad" })
    await site.logged(/attempt 3/)
    await site.empty("mail")
    const [dead] = await site.queues.show("mail", "dead", 10)
    assert.equal(dead!.attempts, 3)
    assert.match(dead!.error!, /TypeError: no such address.*\[E_GUEST_THREW\]/)
    assert.match(await site.logged(/dead letter after 3 attempts/), /E_GUEST_THREW/)
  })

  it("lets a message that uses up its CPU time every time hold up no other, and quarantines nobody", async (t) => {
    const site = await start(
      t,
      {
        producer: { source: PUSH, queues: ["mail"] },
        consumer: {
          source: `
            export function onQueueMessage({ value }) {
              if (value === "poison") for (;;);
              console.log("done " + value)
            }`,
          queues: ["mail"],
        },
      },
      QUICK_RETRIES,
    )
    await site.push({ queue: "mail", value: "poison", options: { key: "p" } })
    for (let n = 0; n < 5; n++) await site.push({ queue: "mail", value: `${n}` })
    for (let n = 0; n < 5; n++) await site.logged(new RegExp(`done ${n}`))
    await site.empty("mail")
    const [dead] = await site.queues.show("mail", "dead", 10)
    assert.match(dead!.error!, /E_LIMIT_CPU/)
    assert.equal(site.server.status().plugins[1]!.quarantine, null)
    await site.push({ queue: "mail", value: "after" })
    await site.logged(/done after/)
  })

  it("counts nothing against messages whose plugin is in quarantine: they wait until it is released", async (t) => {
    const site = await start(t, {
      consumer: {
        source: `export const onQueueMessage = ({ attempt }) => console.log("attempt " + attempt)`,
        queues: ["mail"],
      },
      producer: { source: PUSH, queues: ["mail"] },
    })
    await site.server.quarantine("consumer", "test")
    await site.push({ queue: "mail", value: 1 })
    await site.push({ queue: "mail", value: 2, options: { delayMs: 50 } })
    assert.equal((await site.list())[0]!.messages, 2)
    await site.server.release("consumer")
    assert.match(await site.logged(/attempt \d/), /attempt 1$/)
    await site.empty("mail")
  })

  it("counts nothing against messages that a full lane refused: no client can make dead letters of them", async (t) => {
    const source = `
      export function onRequest() { for (const end = Date.now() + 40; Date.now() < end; ); return new Response("") }
      export function onQueueMessage({ value }) { console.log("got " + value) }`
    const site = await start(
      t,
      {
        busy: { source, queues: ["mail"], section: 'lane = "worker"\nmatch = [{ path = "/burn" }]' },
        producer: { source: PUSH, queues: ["mail"] },
      },
      "[queues.mail]\nmax_attempts = 1\n",
    )
    const busy = () => site.server.status().plugins.find(({ name }) => name === "busy")!
    let flooding = true
    const flood = Array.from({ length: 80 }, async () => {
      while (flooding) await (await fetch(`${site.url}/burn`)).text()
    })
    await until(() => busy().lane.waiting === 64, "the lane is full")
    for (let i = 0; i < 8; i++) await site.push({ queue: "mail", value: i })
    const refused = () => busy().stats.hooks.on_queue_message?.failures.E_LANE_FULL ?? 0
    await until(() => refused() >= 2, "messages are refused")
    flooding = false
    await Promise.all(flood)
    for (let i = 0; i < 8; i++) await site.logged(new RegExp(`got ${i}`))
    assert.equal((await site.list())[0]!.dead, 0)
  })

  it("keeps at most 16 messages at work when their handlers wait", async (t) => {
    const site = await start(t, {
      both: {
        source: `${PUSH}
          let now = 0, most = 0
          export async function onQueueMessage({ value }) {
            now++
            most = Math.max(most, now)
            await new Promise((done) => setTimeout(done, 5))
            now--
            if (value === 99) console.log("most " + most)
          }`,
        queues: ["mail"],
      },
    })
    for (let n = 0; n < 100; n++) await site.push({ queue: "mail", value: n })
    const most = Number((await site.logged(/most \d+/)).slice(5))
    assert.ok(most >= 1 && most <= 16, `${most}`)
    await site.empty("mail")
  })

  it("acknowledges the last message of every burst at once, not only with the next heartbeat", async (t) => {
    const site = await start(
      t,
      {
        producer: { source: PUSH, queues: ["mail"] },
        consumer: { source: `export function onQueueMessage() {}`, queues: ["mail"] },
      },
      `[queues.mail]\nvisibility_timeout = "10m"\n`,
    )
    for (let burst = 0; burst < 10; burst++) {
      await site.push({ queue: "mail", value: burst, times: 60 })
      await site.empty("mail")
    }
  })

  it("keeps a message with its handler for longer than the visibility timeout, others that wait behind it too", async (t) => {
    const site = await start(
      t,
      {
        producer: { source: PUSH, queues: ["mail"] },
        consumer: {
          source: `export async function onQueueMessage({ value, attempt }) {
            await new Promise((done) => setTimeout(done, 2500))
            console.log("handled " + value + " in attempt " + attempt)
          }`,
          queues: ["mail"],
        },
      },
      `[queues.mail]\nvisibility_timeout = "1s"\n`,
    )
    for (let n = 0; n < 20; n++) await site.push({ queue: "mail", value: n })
    await site.empty("mail")
    const handled = site.lines.flatMap(({ msg }) => /handled (\d+ in attempt \d+)/.exec(msg)?.[1] ?? [])
    assert.deepEqual(handled.sort(), Array.from({ length: 20 }, (_, n) => `${n} in attempt 1`).sort())
  })

  it("does not load two plugins that would handle the same queue, and says what to do", async (t) => {
    const handler = { source: `export function onQueueMessage() {}`, queues: ["mail"] }
    await assert.rejects(start(t, { one: handler, two: handler }), {
      code: "E_CONFIG_INVALID",
      message: /one and two both have onQueueMessage and the queue "mail": a queue has one consumer/,
    })
  })

  it("leaves the messages of a consumer that a reload removed, for the one a reload brings back", async (t) => {
    const plugins = {
      producer: { source: PUSH, queues: ["mail"] },
      consumer: {
        source: `export const onQueueMessage = ({ value }) => console.log("got " + value)`,
        queues: ["mail"],
      },
    }
    const site = await start(t, plugins)
    await site.push({ queue: "mail", value: "first" })
    await site.logged(/got first/)
    await site.reload({ producer: plugins.producer })
    await site.push({ queue: "mail", value: "second" })
    assert.equal((await site.list())[0]!.messages, 1)
    await site.reload(plugins)
    await site.logged(/got second/)
    await site.empty("mail")
  })

  it("goes on with a handler that a reload replaced while it was at work, and takes the new one for the next", async (t) => {
    const version = (name: string) => ({
      producer: { source: PUSH, queues: ["mail"] },
      consumer: {
        source: `export async function onQueueMessage({ value }) {
          console.log("${name} began " + value)
          await new Promise((done) => setTimeout(done, value === "slow" ? 300 : 1))
          console.log("${name} ended " + value)
        }`,
        queues: ["mail"],
      },
    })
    const site = await start(t, version("old"))
    await site.push({ queue: "mail", value: "slow" })
    await site.logged(/old began slow/)
    await site.reload(version("new"))
    await site.push({ queue: "mail", value: "quick" })
    await site.logged(/old ended slow/)
    await site.logged(/new ended quick/)
    await site.empty("mail")
    assert.equal(site.lines.filter(({ msg }) => /began slow/.test(msg)).length, 1)
  })

  it("shows what became of the messages in the metrics", async (t) => {
    const site = await start(
      t,
      {
        both: {
          source: `${PUSH}\nexport function onQueueMessage({ value }) { if (value === "bad") throw new Error("no") }`,
          queues: ["mail"],
        },
      },
      QUICK_RETRIES,
    )
    for (const value of ["good", "good", "bad"]) await site.push({ queue: "mail", value })
    await site.empty("mail")
    const value = (name: string) => site.server.metrics().find((family) => family.name === name)?.values[0]?.value
    assert.equal(value("bext_queue_delivered_total"), 2)
    assert.equal(value("bext_queue_failed_total"), 3)
    assert.equal(value("bext_queue_dead_total"), 1)
  })

  it("gives back what it holds when the server stops", async (t) => {
    const site = await start(t, {
      both: {
        source: `${PUSH}
          export async function onQueueMessage({ value }) {
            console.log("began " + value)
            await new Promise((done) => setTimeout(done, 60_000))
          }`,
        queues: ["mail"],
      },
    })
    await site.push({ queue: "mail", value: "m" })
    await site.logged(/began m/)
    await site.server.close()
    const state = openLmdbState({ dir: site.stateDir, log: { error() {} } })
    t.after(() => state[Symbol.asyncDispose]())
    const [queue] = await state.queues.list()
    assert.deepEqual([queue!.messages, queue!.leased], [1, 0])
  })
})

const QUICK_RETRIES = `[queues.mail]\nmax_attempts = 3\nbackoff = "10ms"\nmax_backoff = "20ms"\n`

/** POST /PLUGIN with { queue, value | expression, options, times } pushes and answers with ids and codes. */
const PUSH = `
  export async function onRequest(ctx) {
    const { queue, value, expression, options, times = 1 } = JSON.parse(decodeURIComponent(ctx.headers.get("x-push")))
    const what = expression === undefined ? value : (0, eval)("(" + expression + ")")
    const one = async () => {
      try {
        return await bext.queue.push(queue, what, options)
      } catch (error) {
        return error.code ?? error.name
      }
    }
    return Response.json(await Promise.all(Array.from({ length: times }, one)))
  }
`

interface PluginInput {
  readonly source: string
  readonly queues: readonly string[]
  /** More lines of its section. */
  readonly section?: string
}

type Plugins = Readonly<Record<string, PluginInput>>

interface Site {
  readonly url: string
  readonly server: ServerProcess
  readonly queues: QueueStore
  readonly stateDir: string
  readonly lines: LogLine[]
  push(request: object, headers?: Record<string, string>): Promise<string[]>
  /** The first line of the log that fits, once there is one. */
  logged(pattern: RegExp): Promise<string>
  list(): ReturnType<QueueStore["list"]>
  /** Resolves when no message of the queue is left. */
  empty(queue: string): Promise<void>
  reload(plugins: Plugins): Promise<void>
}

async function start(t: TestContext, plugins: Plugins, more = ""): Promise<Site> {
  const parts = new AsyncDisposableStack()
  t.after(() => parts.disposeAsync())
  const project = parts.use(createProject({ "public/index.html": "home" }))
  const { logger, lines } = recordingLogger()
  const configure = (wanted: Plugins) => {
    let text = `[server]\nlisten = "127.0.0.1:0"\ngrace = "1s"\n[app]\nstatic = "public"\n${more}`
    for (const [name, { source, queues, section = "" }] of Object.entries(wanted)) {
      const folder = `plugins/${name}-${Math.random().toString(36).slice(2)}`
      const capabilities = [
        /onRequest/.test(source) && '"middleware"',
        /onQueueMessage|onServerStart/.test(source) && '"lifecycle"',
      ]
      const manifest = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities.filter(Boolean)}]
        [sandbox]\ninstance = "shared"\n[permissions]\nqueues = ${JSON.stringify(queues)}\n`
      write(project.path(`${folder}/plugin.toml`), manifest)
      write(project.path(`${folder}/index.js`), source)
      text += `[plugins.${name}]\npath = "${folder}"\n${section}\n[plugins.${name}.grant]\nqueues = ${JSON.stringify(queues)}\n`
    }
    return parseConfig(text, { file: project.path("bext.config.toml"), env: {} })
  }
  const server = parts.use(await createServer(configure(plugins), { folder: project.folder, logger }))
  const { url } = await server.listen()
  const stateDir = project.path(".bext")
  const state = openLmdbState({ dir: stateDir, log: { error() {} } })
  parts.defer(() => state[Symbol.asyncDispose]())
  const { queues } = state
  return {
    url,
    server,
    queues,
    stateDir,
    lines,
    async push(request, headers = {}) {
      const response = await fetch(url, {
        headers: { ...headers, "x-push": encodeURIComponent(JSON.stringify(request)) },
      })
      const text = await response.text()
      assert.equal(response.status, 200, text)
      return JSON.parse(text)
    },
    async logged(pattern) {
      const find = () => lines.find(({ msg }) => pattern.test(msg))
      await until(() => find() !== undefined, `a line like ${pattern}`)
      return find()!.msg.replace(/^[a-z-]+: /, "")
    },
    list: () => queues.list(),
    async empty(queue) {
      const find = async () => (await queues.list()).find((one) => one.queue === queue)
      await until(async () => (await find())?.messages === 0, `${queue} becomes empty`)
    },
    async reload(next) {
      const prepared = await server.prepare(configure(next))
      prepared.commit()
    },
  }
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + 20_000
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`never happened: ${what}`)
    await new Promise((look) => setTimeout(look, 5))
  }
}
