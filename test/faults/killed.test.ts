import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ProcessStatus } from "../../src/admin/control.ts"
import { eventually, get, type Several, serveSeveral } from "../processes/several.ts"
import { startLoginApp } from "../support/login-app.ts"
import { serveChild } from "../support/serve.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { logIn, logOut, whoAmI } from "./sessions.ts"
import { unharmed } from "./unharmed.ts"

const CLIENTS = 3

describe("processes that are killed under load", { concurrency: 2 }, () => {
  it("a process that dies of a fault of its own or for want of memory is replaced, under load, the leader too", async (t) => {
    await using site = await serveSeveral({ config: NEIGHBOUR_SECTION, files: NEIGHBOUR })
    await site.serving(2)
    await using neighbours = startNeighbours(site.url, CLIENTS)
    const signals = ["SIGSEGV", "SIGABRT", "SIGKILL"] as const
    for (const signal of signals) {
      const before = await site.serving(2)
      // Leaders first: who leads moves on each time.
      const victim = before.find(({ leader }) => leader) ?? before[0]!
      process.kill(victim.pid, signal)
      await eventually(() => site.logged(/a serving process ended/).some(({ pid }) => pid === victim.pid), "it is seen")
      const after = await site.serving(2)
      assert.ok(after.every(({ pid }) => pid !== victim.pid))
      await eventually(async () => (await site.serving(2)).filter(({ leader }) => leader).length === 1, "one leads")
    }
    const ended = site.logged(/a serving process ended/).map(({ signal }) => signal)
    assert.deepEqual(ended, signals)
    t.diagnostic(`ended by ${ended.join(", ")}: ${neighbours.broken.length} connections broken`)
    await unharmed(t, neighbours, CLIENTS * signals.length)
  })

  it("a process killed while a reload is being prepared: the reload is made all the same, and all serve it", async (t) => {
    await using site = await serveSeveral({
      config: `${NEIGHBOUR_SECTION}[plugins.slow]\nmatch = [{ path = "/slow-start" }]\n`,
      files: { ...NEIGHBOUR, ...SLOW },
    })
    await site.serving(2)
    await using neighbours = startNeighbours(site.url, CLIENTS)
    await site.edit("plugins/slow/index.js", `"1"`, `"2"`)
    const [victim] = await site.serving(2)
    process.kill(site.pid, "SIGHUP")
    await eventually(() => site.logged(/^slow starts 2/).length > 0, "it is being prepared")
    process.kill(victim!.pid, "SIGKILL")
    await eventually(async () => (await site.status()).lastReload !== null, "the reload has an outcome")
    const { lastReload } = await site.status()
    assert.ok(lastReload!.ok, JSON.stringify(lastReload))
    await site.serving(2)
    assert.deepEqual(await versionsOf(site), new Set(["2"]))
    await unharmed(t, neighbours, CLIENTS)
  })

  it("a process killed while a plugin's folder holds what does not load: the other serves on, and the successor starts once it is repaired", async (t) => {
    await using site = await serveSeveral({
      config: `${NEIGHBOUR_SECTION}[plugins.slow]\nmatch = [{ path = "/slow-start" }]\n`,
      files: { ...NEIGHBOUR, ...SLOW },
    })
    const [victim, other] = await site.serving(2)
    await using neighbours = startNeighbours(site.url, CLIENTS)
    await site.edit("plugins/slow/index.js", "export const onRequest", "export const onRequest = (((")
    process.kill(victim!.pid, "SIGKILL")
    await eventually(() => site.logged(/could not start/).length > 0, "the successor does not start")
    assert.equal(site.logged(/could not start/)[0]!.code, "E_PLUGIN_LOAD_FAILED")
    const before = neighbours.answered
    await eventually(() => neighbours.answered > before + 100, "the other serves on")
    await site.edit("plugins/slow/index.js", "export const onRequest = (((", "export const onRequest")
    const [, stayed] = await site.serving(2)
    assert.equal(stayed!.pid, other!.pid)
    await unharmed(t, neighbours, CLIENTS)
  })

  it("processes killed while sessions are being ended: whoever was told that a session is over can rely on it", async (t) => {
    await using app = await startLoginApp()
    const env = { FAULTS_SESSION_KEY: "a key of more than 32 bytes for the sessions of one test" }
    const routes = ["login", "logout", "whoami"].map(
      (path) => `[[routes]]\npath = "/${path}"\nupstream = "${app.origin}"\nforward_user = true\n`,
    )
    const session = `[middleware.session]\nsecrets = ["env:FAULTS_SESSION_KEY"]\nlogin_paths = ["/login", "/logout"]\n`
    await using site = await serveSeveral({
      config: NEIGHBOUR_SECTION + session + routes.join(""),
      files: NEIGHBOUR,
      env,
    })
    await site.serving(2)
    const cookies = await Promise.all(Array.from({ length: 60 }, () => logIn(site.url)))
    await using neighbours = startNeighbours(site.url, CLIENTS)
    const told: string[] = []
    const untold: string[] = []
    const endAll = Promise.all(
      [0, 1, 2, 3].map(async (client) => {
        for (let n = client; n < cookies.length; n += 4) {
          const cookie = cookies[n]!
          const ended = await logOut(site.url, cookie).catch(() => null)
          if (ended?.status === 303) told.push(cookie)
          else untold.push(cookie)
        }
      }),
    )
    await eventually(() => told.length > 10, "some are over")
    process.kill((await site.status()).processes[0]!.pid, "SIGKILL")
    await endAll
    await site.serving(2)
    for (let n = 0; n < 2; n++) {
      for (const cookie of told) assert.equal(await whoAmI(site.url, cookie), null)
    }
    t.diagnostic(`${told.length} sessions ended, ${untold.length} requests to end one lost with the process`)
    await unharmed(t, neighbours, CLIENTS)
    assert.equal(await site.end("SIGKILL"), "SIGKILL")
    await using again = await serveChild([], { folder: site.folder, processes: "configured", env })
    for (const cookie of told) assert.equal(await whoAmI(again.url, cookie), null, "also after kill -9 of all")
  })

  it("a process killed while its lane works: others go on, and the lane of its successor works with all that was flushed", async (t) => {
    await using site = await serveSeveral({
      config: `${NEIGHBOUR_SECTION}[plugins.laned]\nlane = "worker"\nmatch = [{ path = "/laned/**" }]\nlimits = { max_cpu_ms = 3000 }\n`,
      files: { ...NEIGHBOUR, ...LANED },
    })
    await site.serving(2)
    await using neighbours = startNeighbours(site.url, CLIENTS)
    const counted = async () => Number((await get(`${site.url}/laned/count`)).body)
    for (let n = 0; n < 10; n++) assert.equal((await get(`${site.url}/laned/add`)).body, "flushed")
    const busy = Promise.allSettled(Array.from({ length: 4 }, () => get(`${site.url}/laned/work`)))
    let victim: ProcessStatus | undefined
    await eventually(async () => {
      victim = (await site.status()).processes.find(({ requestsInFlight, plugins }) => {
        const laned = plugins.find(({ name }) => name === "laned")
        return requestsInFlight > 0 && (laned?.stats.hooks.on_request?.calls ?? 0) > 0
      })
      return victim !== undefined
    }, "a lane works")
    process.kill(victim!.pid, "SIGKILL")
    const settled = await busy
    const lost = settled.filter(({ status }) => status === "rejected").length
    for (const one of settled) if (one.status === "fulfilled") assert.equal(one.value.body, "worked")
    const after = await site.serving(2)
    for (const { plugins } of after) {
      const { lane, quarantine } = plugins.find(({ name }) => name === "laned")!
      assert.deepEqual([lane.now, quarantine], ["worker", null])
    }
    for (let n = 0; n < 6; n++) assert.equal(await counted(), 10)
    t.diagnostic(`${lost} of 4 calls at work were lost with their process`)
    await unharmed(t, neighbours, CLIENTS)
  })
})

/** The versions of the plugin that answer. */
async function versionsOf(site: Several): Promise<ReadonlySet<string>> {
  const versions = new Set<string>()
  const processes = new Set<unknown>()
  await eventually(async () => {
    const answer = await get(`${site.url}/slow-start`).catch(() => null)
    if (answer === null) return false
    versions.add(answer.body)
    processes.add(answer.headers["x-process"])
    return processes.size >= 2
  }, "both processes answer")
  return versions
}

const SLOW = {
  "plugins/slow/plugin.toml": `[manifest]\nname = "slow"\nversion = "1.0.0"\ncapabilities = ["middleware", "lifecycle"]\n`,
  "plugins/slow/index.js": `const version = "1"
export async function onServerStart() {
  console.log("slow starts " + version)
  await new Promise((later) => setTimeout(later, 700))
}
export const onRequest = () => new Response(version)`,
}

const LANED = {
  "plugins/laned/plugin.toml": `[manifest]\nname = "laned"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
  "plugins/laned/index.js": `export async function onRequest({ path }) {
  if (path === "/laned/count") return new Response(String(bext.storage.get("count")))
  if (path === "/laned/add") {
    await bext.storage.incr("count")
    await bext.storage.flush()
    return new Response("flushed")
  }
  for (const end = Date.now() + 1000; Date.now() < end; );
  return new Response("worked")
}`,
}
