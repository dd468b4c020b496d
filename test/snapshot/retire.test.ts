import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { startGatedApp } from "./gated-app.ts"
import { plugin, serveSite, until } from "./site.ts"

const LIFE = '"middleware", "lifecycle"'

/** Asks the app and then answers with its version; says when it is told to go. */
const asks = (version: number, port: number) =>
  plugin(
    "probe",
    `export async function onRequest() {
      await bext.fetch("http://127.0.0.1:${port}/")
      return new Response("version ${version}")
    }
    export function onRequestComplete() { console.log("said", "complete ${version}") }
    export function onServerStop() { console.log("said", "stop ${version}") }
    export function cleanup() { console.log("said", "cleanup ${version}") }`,
    `[permissions]\nallowed_urls = ["http://127.0.0.1:${port}/**"]`,
    LIFE,
  )

const asking = (port: number, lane = "auto") => `
[plugins.probe]
lane = "${lane}"
[plugins.probe.grant]
allowed_urls = ["http://127.0.0.1:${port}/**"]
[fetch]
allow_private = ["127.0.0.1:${port}"]
`

describe("a snapshot that is over", () => {
  for (const lane of ["inline", "worker"])
    it(`finishes the requests it began, with its own plugins, and cleans up once and after them, lane ${lane}`, async () => {
      await using app = await startGatedApp()
      await using site = await serveSite(asking(app.port, lane), asks(1, app.port))
      const began = site.get()
      const held = await app.next()
      site.write(asks(2, app.port))
      await site.reload()
      const { retiring, requestsInFlight, snapshot } = site.server.status()
      assert.deepEqual({ retiring, requestsInFlight, snapshot }, { retiring: 1, requestsInFlight: 1, snapshot: 2 })
      const after = site.get()
      ;(await app.next()).end()
      assert.equal((await after).text, "version 2")
      assert.deepEqual(
        site.said().filter((word) => word.startsWith("cleanup")),
        [],
      )
      held.end()
      assert.equal((await began).text, "version 1")
      await until(() => site.server.status().retiring === 0, "it is gone")
      assert.deepEqual(
        site.said().filter((word) => word.endsWith("1")),
        ["complete 1", "cleanup 1"],
      )
      await site.server.close()
      assert.deepEqual(
        site.said().filter((word) => !word.startsWith("complete")),
        ["cleanup 1", "stop 2", "cleanup 2"],
      )
    })

  for (const lane of ["inline", "worker"])
    it(`is cleaned up when the grace is over, and a call still waiting then ends with an honest answer, lane ${lane}`, async () => {
      await using app = await startGatedApp()
      await using site = await serveSite(asking(app.port, lane), asks(1, app.port), 'grace = "100ms"')
      const began = site.get()
      const held = await app.next()
      site.write(asks(2, app.port))
      await site.reload()
      const answer = await began
      assert.deepEqual([answer.status, JSON.parse(answer.text).code], [502, "E_GUEST_EXITED"])
      await until(() => site.server.status().retiring === 0, "it is gone")
      assert.ok(site.said().includes("cleanup 1"))
      held.end()
      const after = site.get()
      ;(await app.next()).end()
      assert.equal((await after).text, "version 2")
      assert.deepEqual(
        site.lines.filter(({ msg }) => msg.includes("quarantine")),
        [],
      )
    })

  it("keeps a plugin alive that the next snapshot uses too", async () => {
    await using app = await startGatedApp()
    await using site = await serveSite(asking(app.port), asks(1, app.port), 'grace = "50ms"')
    const began = site.get()
    const held = await app.next()
    for (let i = 0; i < 3; i++) await site.reload()
    await until(() => site.server.status().retiring === 0, "all three are gone")
    held.end()
    assert.equal((await began).text, "version 1")
    assert.deepEqual(site.said(), ["complete 1"])
  })

  it("hands out the finished requests that wait before its cleanup", async () => {
    const counts = (version: number) =>
      plugin(
        "probe",
        `let seen = 0
        export async function onRequestComplete() {
          await new Promise((later) => setTimeout(later, 1))
          seen++
        }
        export function cleanup() { console.log("said", ${version}, seen) }`,
        "",
        '"lifecycle"',
      )
    await using site = await serveSite("[plugins.probe]", counts(1))
    for (let i = 0; i < 30; i++) await site.get()
    site.write(counts(2))
    await site.reload()
    await until(() => site.said().length === 1, "it was cleaned up")
    assert.deepEqual(site.said(), ["1 30"])
  })

  it("lets work behind an answer finish", async () => {
    await using app = await startGatedApp()
    const works = (version: number) =>
      plugin(
        "probe",
        `export function onRequest(ctx) {
          ctx.waitUntil(bext.fetch("http://127.0.0.1:${app.port}/").then(() => console.log("said", "done ${version}")))
          return new Response("answered")
        }
        export function cleanup() { console.log("said", "cleanup ${version}") }`,
        `[permissions]\nallowed_urls = ["http://127.0.0.1:${app.port}/**"]`,
        LIFE,
      )
    await using site = await serveSite(asking(app.port), works(1))
    assert.equal((await site.get()).text, "answered")
    const held = await app.next()
    site.write(works(2))
    await site.reload()
    assert.equal(site.server.status().instances, 1, "it counts as long as it is there")
    held.end()
    await until(() => site.said().length === 2, "it was cleaned up")
    assert.deepEqual(site.said(), ["done 1", "cleanup 1"])
  })

  it("does nothing more once its plugin is gone", async () => {
    const ticks = (version: number) =>
      plugin(
        "probe",
        `let ticks = 0
        export function onRequest(ctx) {
          ctx.waitUntil(new Promise(() => setInterval(() => {
            console.log("said", ${version})
            bext.storage.set("ticks ${version}", String(++ticks))
          }, 1)))
          return new Response(String(bext.storage.get("ticks 1")))
        }`,
      )
    await using site = await serveSite('[plugins.probe]\nlane = "inline"', ticks(1), 'grace = "50ms"')
    await site.get()
    await until(() => site.said().length > 2, "it ticks")
    site.write(ticks(2))
    await site.reload()
    await until(() => site.server.status().retiring === 0, "it is gone")
    const before = [site.said().filter((word) => word === "1").length, (await site.get()).text]
    await until(() => site.said().filter((word) => word === "2").length > 20, "the other one ticks")
    assert.deepEqual([site.said().filter((word) => word === "1").length, (await site.get()).text], before)
  })

  it("cannot hold up requests in its cleanup, nor the next one in onReload", async () => {
    const spins = (version: number) =>
      plugin(
        "probe",
        `export function onReload() { for (;;); }
        export function cleanup() { for (;;); } // ${version}`,
        "",
        '"lifecycle"',
      )
    await using site = await serveSite("[plugins.probe]", spins(1))
    site.write(spins(2))
    await site.reload()
    await until(() => site.server.status().retiring === 0, "it is gone")
    const hooks = () => site.server.status().plugins[0]!.stats.hooks
    await until(() => hooks().on_reload?.failures.E_LIMIT_CPU === 1, "onReload was stopped")
    assert.deepEqual(hooks().cleanup!.failures, { E_LIMIT_CPU: 1 })
    const { calls } = site.server.status().plugins[0]!.limits
    assert.deepEqual([calls.cleanup!.cpuMs, calls.on_reload!.cpuMs], [50, 50])
  })

  it("leaves nothing of itself: machines, instances, guest memory", async () => {
    const answers = (n: number) => plugin("probe", `export function onRequest() { return new Response("${n}") }`)
    await using site = await serveSite("[plugins.probe]", answers(0))
    await site.get()
    const memory = () => {
      const { instances, guestMemoryBytes, retiring } = site.server.status()
      return { instances, retiring, pages: Math.round(guestMemoryBytes / 65_536) }
    }
    const before = memory()
    for (let i = 1; i <= 10; i++) {
      site.write(answers(i))
      await site.reload()
      assert.equal((await site.get()).text, String(i))
    }
    await until(() => site.server.status().retiring === 0, "all are gone")
    assert.deepEqual(memory(), before)
  })
})

describe("the upstream over a reload", () => {
  it("goes on with its connections when its settings stay, and loses them when nobody leads there any more", async () => {
    await using app = await startGatedApp()
    const config = `[app]\nupstream = "${app.url}"\n`
    await using site = await serveSite(config)
    const ask = async () => {
      const answer = site.get()
      ;(await app.next()).end("from the app")
      assert.equal((await answer).text, "from the app")
    }
    await ask()
    await site.reload()
    await ask()
    await site.reload(`${config}[middleware.cors]\norigins = ["https://example.com"]`)
    await ask()
    assert.equal(app.connections, 1)
    await site.reload("")
    await until(() => app.open === 0, "the connection is closed")
    assert.equal((await site.get()).status, 404)
  })

  it("that a request waits for answers it, also when it is not configured any more", async () => {
    await using app = await startGatedApp()
    await using site = await serveSite(`[app]\nupstream = "${app.url}"`, { "public/index.html": "home" })
    const began = site.get()
    const held = await app.next()
    await site.reload('[app]\nstatic = "public"')
    assert.equal((await site.get()).text, "home")
    held.end("late")
    assert.equal((await began).text, "late")
  })

  it("can stream on after the grace, while the next snapshot serves", async () => {
    await using app = await startGatedApp()
    const config = `[app]\nupstream = "${app.url}"\n`
    const wrap = (version: number) =>
      plugin("probe", `export function onResponse(ctx) { ctx.response.setHeader("x-version", "${version}") }`)
    await using site = await serveSite(`${config}[plugins.probe]`, wrap(1), 'grace = "50ms"')
    const opened = site.open("/stream")
    const held = await app.next()
    held.write("first ")
    const response = await opened
    site.write(wrap(2))
    await site.reload()
    await site.reload("[plugins.probe]")
    assert.equal((await site.get("/404")).headers["x-version"], "2")
    assert.ok(site.server.status().retiring > 0, "the upstream is let go when its last response has ended")
    held.end("last")
    let text = ""
    for await (const chunk of response) text += chunk
    assert.deepEqual([response.headers["x-version"], text], ["1", "first last"])
    await until(() => site.server.status().retiring === 0, "all are gone")
  })
})

describe("built-in middleware over a reload", () => {
  const limit = '[middleware.rate_limit]\nrequests = 3\nwindow = "1h"\n'

  it("counts on where it was when its rule stays, also when other rules change", async () => {
    await using site = await serveSite(limit)
    const left = async () => /r=(\d+)/.exec(String((await site.get()).headers.ratelimit))?.[1]
    assert.equal(await left(), "2")
    await site.reload()
    assert.equal(await left(), "1")
    await site.reload(`${limit}[[middleware.rate_limit.rules]]\npath = "/login"\nrequests = 1\nwindow = "1m"`)
    assert.equal(await left(), "0")
    await site.reload(limit.replace("requests = 3", "requests = 5"))
    assert.equal(await left(), "4", "a rule that says something else begins anew")
  })

  it("reads a public key again that was replaced", async () => {
    const { generateKeyPairSync } = await import("node:crypto")
    const { SignJWT } = await import("jose")
    const pair = () => generateKeyPairSync("ed25519")
    const token = (key: ReturnType<typeof pair>) =>
      new SignJWT({ sub: "ada" }).setProtectedHeader({ alg: "EdDSA" }).setExpirationTime("1h").sign(key.privateKey)
    const pem = (key: ReturnType<typeof pair>) => ({
      "key.pem": String(key.publicKey.export({ type: "spki", format: "pem" })),
    })
    const [old, next] = [pair(), pair()]
    const config = '[middleware.auth]\nalgorithms = ["EdDSA"]\nkey_file = "key.pem"'
    await using site = await serveSite(config, pem(old))
    const status = async (key: ReturnType<typeof pair>) =>
      (await site.get("/", { authorization: `Bearer ${await token(key)}` })).status
    assert.deepEqual([await status(old), await status(next)], [404, 401])
    site.write(pem(next))
    await site.reload()
    assert.deepEqual([await status(old), await status(next)], [401, 404])
  })
})
