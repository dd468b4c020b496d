import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { ask } from "../admin/ask.ts"
import { runBext } from "../cli/run-bext.ts"
import { eventually, get, type Several, serveSeveral } from "../processes/several.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

const CONFIG = `${NEIGHBOUR_SECTION}[queues.jobs]
visibility_timeout = "1s"
max_attempts = 2
backoff = "100ms"
[plugins.jobs]
match = [{ path = "/jobs/**" }]
grant = { queues = ["jobs"] }
limits = { max_time_ms = 4000 }
`

describe("queues of several processes under load", { concurrency: 2 }, () => {
  it("a message is delivered though its process is killed after the push, or while it handles it, with three processes", async (t) => {
    await using site = await serveSeveral({ processes: 3, config: CONFIG, files: { ...NEIGHBOUR, ...JOBS } })
    await site.serving(3)
    await using neighbours = startNeighbours(site.url)

    const pusher = await killWho(site, "on_request", () => push(site, "later", 3000))
    assert.ok(!(await done(site)).has("later"))
    await eventually(async () => (await done(site)).has("later"), "it comes although its pusher is dead")

    await site.serving(3)
    const holder = await killWho(site, "on_queue_message", () => push(site, "held", 0))
    await eventually(async () => (await done(site)).has("held"), "it comes again")
    const deliveries = site.logged(/^attempt \d of held/).map(({ msg }) => String(msg))
    assert.deepEqual(
      deliveries.map((line) => line.split(" ").slice(0, 2).join(" ")),
      ["attempt 1", "attempt 2"],
    )
    assert.equal(new Set(deliveries.map((line) => line.split(" ").at(-1))).size, 1, "under the same id")
    const ended = site.logged(/a serving process ended/).map(({ pid }) => pid)
    assert.deepEqual(ended, [pusher, holder])
    t.diagnostic(`${deliveries.join(", then ")}; processes ${ended.join(" and ")} killed`)
    await site.serving(3)
    await unharmed(t, neighbours, 2 * 3)
  })

  it("poison messages become dead letters beside good ones, which are all handled, with two processes", async (t) => {
    await using site = await serveSeveral({ config: CONFIG, files: { ...NEIGHBOUR, ...JOBS } })
    await site.serving(2)
    await using neighbours = startNeighbours(site.url)
    const poison = ["throw", "spin", "hang", "grow"]
    const good = Array.from({ length: 80 }, (_, n) => `good-${n}`)
    for (const [n, value] of good.entries()) {
      if (n % 20 === 10) await push(site, poison[Math.floor(n / 20)]!, 0)
      await push(site, value, 0)
    }
    const metrics = async () => (await ask({ socketPath: site.project.path(".bext/admin.sock") }, "/metrics")).text
    await eventually(async () => (await done(site)).size === good.length, "all good ones are handled")
    const show = () => runBext(["queue", "show", "jobs", "--dead", "--json"], { cwd: site.folder })
    // A push whose answer was lost is made again: there may be more than one of a kind.
    for (const code of ["E_GUEST_THREW", "E_LIMIT_CPU", "E_LIMIT_TIME", "E_LIMIT_MEMORY"]) {
      await eventually(async () => (await show()).out.includes(code), `${code} is among the dead letters`)
    }
    const empty = /^bext_queue_messages\{queue="jobs"\} 0$/m
    await eventually(async () => empty.test(await metrics()), "nothing is left to deliver")
    for (const { plugins, crashes } of await site.serving(2)) {
      assert.equal(crashes, 0)
      for (const { name, quarantine } of plugins) assert.equal(quarantine, null, name)
    }
    const twice = site.logged(/^attempt [2-9] of good/).length
    t.diagnostic(`80 good messages handled, ${twice} of them delivered again; dead letters of four kinds`)
    await unharmed(t, neighbours)
  })
})

/** Again when a poison message broke the instance in which the push was under way. */
async function push(site: Several, value: string, delayMs: number): Promise<void> {
  const { body } = await get(`${site.url}/jobs/push?${value}=${delayMs}`)
  if (body.includes("E_INSTANCE_RESET")) return push(site, value, delayMs)
  assert.match(body, /^[0-9a-f]{24}$/)
}

/** The messages that were handled. */
async function done({ url }: Several): Promise<ReadonlySet<string>> {
  const answer = await get(`${url}/jobs/done`).catch(() => null)
  return new Set(answer?.status === 200 ? answer.body.split(" ").filter(Boolean) : [])
}

/** Kills the process that begins a call of this hook once `action` has begun. @returns its number. */
async function killWho(site: Several, hook: "on_request" | "on_queue_message", action: () => Promise<void>) {
  const calls = async () => {
    const { processes } = await site.status()
    return new Map(
      processes.map(({ pid, plugins }) => {
        const jobs = plugins.find(({ name }) => name === "jobs")
        return [pid, jobs?.stats.hooks[hook]?.calls ?? 0]
      }),
    )
  }
  const before = await calls()
  await action()
  let busy: number | undefined
  await eventually(async () => {
    for (const [pid, count] of await calls()) if (count > (before.get(pid) ?? 0)) busy = pid
    return busy !== undefined
  }, "a process is busy with it")
  process.kill(busy!, "SIGKILL")
  return busy!
}

const JOBS = {
  "plugins/jobs/plugin.toml": `[manifest]
name = "jobs"
version = "1.0.0"
capabilities = ["middleware", "lifecycle"]
[sandbox]
max_memory_mb = 16
[permissions]
queues = ["jobs"]
`,
  "plugins/jobs/index.js": `
export async function onRequest({ path, query }) {
  if (path === "/jobs/done") return new Response(bext.storage.keys("done ").map((key) => key.slice(5)).join(" "))
  const [value, delayMs] = query.split("=")
  return new Response(await bext.queue.push("jobs", value, { delayMs: Number(delayMs) }))
}
export async function onQueueMessage({ id, value, attempt }) {
  console.log("attempt " + attempt + " of " + value + " " + id)
  if (value === "held" && attempt === 1) await new Promise(() => {})
  if (value === "throw") throw new Error("poison")
  if (value === "spin") for (;;);
  if (value === "hang") await new Promise(() => {})
  if (value === "grow") for (const all = []; ; ) all.push(new Uint8Array(1e6))
  await bext.storage.incr("done " + value)
}`,
}
