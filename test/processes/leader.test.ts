import assert from "node:assert/strict"
import { Agent } from "node:http"
import { describe, it } from "node:test"
import { eventually, get, type Several, serveSeveral } from "./several.ts"

describe("ctx.leader", () => {
  it("is true in exactly one of several processes", async () => {
    await using server = await serveSeveral({ processes: 3 })
    const leads = await roles(server, 3)
    assert.deepEqual([...leads.values()].sort(), ["false", "false", "true"])
    const { processes } = await server.status()
    assert.equal(processes.filter(({ leader }) => leader).length, 1)
  })

  it("moves on when the leader is killed or replaced, and is never true in two", async () => {
    await using server = await serveSeveral()
    await using watch = watchLeaders(server.url)
    for (let round = 0; round < 3; round++) {
      const led = watch.leaders.size
      const { processes } = await server.status()
      process.kill(processes.find(({ leader }) => leader)!.pid, "SIGKILL")
      await eventually(() => watch.leaders.size > led, "another leads")
      await server.serving(2)
    }
    const led = watch.leaders.size
    await server.edit("bext.config.toml", 'grace = "5s"', 'grace = "6s"')
    process.kill(server.pid, "SIGHUP")
    await eventually(() => server.logged(/the configuration was reloaded/).length > 0, "all are replaced")
    await eventually(() => watch.leaders.size > led, "one of the new processes leads")
    await watch.stop()
    assert.deepEqual(watch.violations, [])
    const leads = await roles(server, 2)
    assert.deepEqual([...leads.values()].sort(), ["false", "true"])
  })

  it("waits for a leader that stands still: it may go on at any moment", async () => {
    await using server = await serveSeveral()
    const { processes } = await server.status()
    const leader = processes.find((one) => one.leader)!
    process.kill(leader.pid, "SIGSTOP")
    const during = await server.status()
    assert.deepEqual(
      during.processes.filter((one) => one.leader).map(({ pid, state }) => [pid, state]),
      [[leader.pid, "unresponsive"]],
    )
    process.kill(leader.pid, "SIGKILL")
    await eventually(async () => {
      const now = await server.status()
      return now.processes.some((one) => one.leader && one.pid !== leader.pid)
    }, "another leads")
  })
})

describe("storage", () => {
  it("written in one process is seen in all others", async () => {
    await using server = await serveSeveral({ processes: 3 })
    const writer = await get(`${server.url}/set?from-one`)
    assert.equal(writer.status, 200)
    const readers = new Set<unknown>()
    await eventually(async () => {
      const { body, headers } = await get(`${server.url}/get`)
      if (body === "?from-one" || body === "from-one") readers.add(headers["x-process"])
      return readers.size === 3
    }, "all see it")
  })
})

/** What each process says of itself. */
async function roles(server: Several, count: number): Promise<Map<unknown, unknown>> {
  const leads = new Map<unknown, unknown>()
  await eventually(async () => {
    const { headers } = await get(server.url)
    leads.set(headers["x-process"], headers["x-leader"])
    return leads.size === count
  }, "all answer")
  return leads
}

/**
 * Asks all the time who leads. Leadership never comes back, so a process that says that it leads in answer to a request
 * that was sent after another one had said so, although it had led before that, led together with the other.
 */
function watchLeaders(url: string) {
  /** Process → monotonic milliseconds when it was first seen to lead. */
  const leaders = new Map<unknown, number>()
  const violations: string[] = []
  let stopped = false
  const ask = async () => {
    while (!stopped) {
      const sentMs = performance.now()
      const answer = await get(url, new Agent({ keepAlive: false })).catch(() => null)
      if (answer?.headers["x-leader"] !== "true") continue
      const who = answer.headers["x-process"]
      const sinceMs = leaders.get(who)
      if (sinceMs === undefined) leaders.set(who, performance.now())
      for (const [other, otherSinceMs] of leaders) {
        if (other !== who && sinceMs !== undefined && otherSinceMs > sinceMs && otherSinceMs < sentMs) {
          violations.push(`${who} still leads after ${other}`)
        }
      }
    }
  }
  const done = Promise.all([ask(), ask(), ask()])
  const stop = async () => {
    stopped = true
    await done
  }
  return { leaders, violations, stop, [Symbol.asyncDispose]: stop }
}
