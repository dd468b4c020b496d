import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { it, type TestContext } from "node:test"
import { setTimeout as pause } from "node:timers/promises"
import type { PluginStatus } from "../../src/admin/control.ts"
import { eventually, get, type Several, serveSeveral } from "../processes/several.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

const manifest = (name: string) => `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`
const section = (name: string) => `[plugins.${name}]\nmatch = [{ path = "/${name}" }]\n`

it("a machine without a CPU to spare: no plugin is stopped, moved or taken out of service for what others use", async (t) => {
  await using site = await servePlugins({ worker: WORKER, heavy: WORKER.replace("20_000", "100_000") })
  await using neighbours = startNeighbours(site.url, 2)
  startSpinners(t)
  let answered = 0
  for (const endMs = performance.now() + 4_000; performance.now() < endMs; answered++) {
    const { status, body } = await get(`${site.url}/worker`)
    assert.deepEqual([status, body], [200, "worked"])
    if (answered % 10 === 0) assert.equal((await get(`${site.url}/heavy`)).body, "worked")
    await pause(30)
  }
  const all = await pluginsOf(site)
  for (const { name, lane, quarantine, stats } of all) {
    assert.deepEqual([name, lane.now, lane.reason, quarantine], [name, "inline", null, null])
    for (const { failures } of Object.values(stats.hooks)) assert.deepEqual(failures, {}, name)
  }
  t.diagnostic(`${answered} calls of a millisecond or two and ${Math.ceil(answered / 10)} of five times that: all 200`)
  await unharmed(t, neighbours)
})

it("one crafted request, repeated 400 times by one client, takes no plugin out of service in any process", async (t) => {
  await using site = await servePlugins({ moody: MOODY })
  await using neighbours = startNeighbours(site.url)
  const crafted = async () => {
    for (let n = 0; n < 100; n++) assert.equal((await get(`${site.url}/moody?bad`)).status, 502)
  }
  await Promise.all(Array.from({ length: 4 }, crafted))
  const moody = (await pluginsOf(site)).filter(({ name }) => name === "moody")
  const failures = moody.map(({ stats }) => stats.hooks.on_request?.failures.E_GUEST_THREW ?? 0)
  assert.deepEqual(
    moody.map(({ quarantine }) => quarantine),
    [null, null],
  )
  assert.equal(failures[0]! + failures[1]!, 400)
  for (let n = 0; n < 8; n++) assert.equal((await get(`${site.url}/moody`)).body, "fine")
  t.diagnostic(`${failures.join(" and ")} failures in the two processes, all answered with 502; good requests 200`)
  await unharmed(t, neighbours)
})

it("a plugin that burns 90 % of its budget on each request moves in both processes, and its neighbours go on", async (t) => {
  await using site = await servePlugins({ burner: BURNER })
  await using neighbours = startNeighbours(site.url)
  const statuses = new Map<number, number>()
  let burning = true
  const burn = async () => {
    while (burning) {
      const { status } = await get(`${site.url}/burner`)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  const burners = Promise.all(Array.from({ length: 4 }, burn))
  const lanes = async () => {
    const all = await pluginsOf(site)
    return { burner: all.filter(({ name }) => name === "burner"), others: all.filter(({ name }) => name !== "burner") }
  }
  await eventually(async () => (await lanes()).burner.every(({ lane }) => lane.now === "worker"), "it has moved")
  const before = neighbours.answered
  await eventually(() => neighbours.answered > before + 200, "neighbours are answered beside it")
  const { burner, others } = await lanes()
  for (const { name, lane } of others) assert.equal(lane.now, "inline", name)
  for (const { lane, quarantine } of burner) {
    assert.match(lane.reason!, /^used \d+ % of the thread, 10 % allowed$/)
    assert.equal(quarantine, null)
  }
  burning = false
  await burners
  t.diagnostic(`the plugin ${burner.map(({ lane }) => lane.reason).join("; ")}`)
  t.diagnostic(`its clients: ${[...statuses].map(([status, count]) => `${count} x ${status}`).join(", ")}`)
  for (const status of statuses.keys()) assert.ok([200, 503].includes(status), `status ${status}`)
  await unharmed(t, neighbours)
})

/** Two processes with the neighbour and these plugins. @param sources - Name → source; each answers the path of its name. */
async function servePlugins(sources: Readonly<Record<string, string>>): Promise<Several> {
  const files: Record<string, string> = { ...NEIGHBOUR }
  let config = NEIGHBOUR_SECTION
  for (const [name, source] of Object.entries(sources)) {
    files[`plugins/${name}/plugin.toml`] = manifest(name)
    files[`plugins/${name}/index.js`] = source
    config += section(name)
  }
  const site = await serveSeveral({ config, files })
  await site.serving(2)
  return site
}

/** All plugins of all processes. */
async function pluginsOf(site: Several): Promise<readonly PluginStatus[]> {
  return (await site.serving(2)).flatMap(({ plugins }) => plugins)
}

/** Four processes that compute for nothing, for 20 seconds at most. */
function startSpinners(t: TestContext): void {
  for (let count = 0; count < 4; count++) {
    const spinner = spawn("timeout", ["20", process.execPath, "-e", "for (;;) {}"], { stdio: "ignore" })
    t.after(() => spinner.kill("SIGTERM"))
  }
}

/** A millisecond or two of its 50. */
const WORKER = `export function onRequest() {
  let sum = 0
  for (let n = 0; n < 20_000; n++) sum += n
  return new Response(sum > 0 ? "worked" : "")
}`

const MOODY = `export function onRequest({ query }) {
  if (query === "bad") throw new Error("no")
  return new Response("fine")
}`

const BURNER = `export function onRequest() {
  for (const end = Date.now() + 45; Date.now() < end; );
  return new Response("burnt")
}`
