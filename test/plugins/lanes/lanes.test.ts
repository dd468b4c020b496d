import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { PluginError } from "../../../src/errors.ts"
import type { LanedSandbox } from "../../../src/plugins/lanes/laned-sandbox.ts"
import type { LanesOptions } from "../../../src/plugins/lanes/lanes.ts"
import { createQuickjsLaneTier, createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { event, LIMITS, request } from "../../contracts/sandbox-contract.ts"
import { LaneBench, TestClock, until } from "./lane-fixtures.ts"

/** Counts its calls; /burn uses 30 ms of CPU time, /wait waits. */
const COUNTER = `
let calls = 0
const seen = []
let release = () => {}
export function onRequest(ctx) {
  const own = ++calls
  const answer = () => ({ action: "respond", body: String(own) })
  if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
  if (ctx.path === "/wait") return new Promise((resolve) => { release = () => resolve(answer()) })
  if (ctx.path === "/release") release()
  if (ctx.path === "/behind") ctx.waitUntil(new Promise((resolve) => { release = resolve }))
  return answer()
}
`

async function benchOf(t: TestContext, options: Partial<LanesOptions> = {}): Promise<LaneBench> {
  const bench = await LaneBench.open(options)
  t.after(() => bench[Symbol.asyncDispose]())
  return bench
}

async function ask(guest: LanedSandbox, path: string, signal: AbortSignal | null = null): Promise<string> {
  const exchange = new RecordingExchange(path)
  await guest.call({ ...request(exchange), signal })
  return exchange.text ?? ""
}

/** Uses up the share, and has it noticed: from here on the guest leaves as soon as it can. @returns its calls. */
async function overdo(bench: LaneBench, guest: LanedSandbox, clock: TestClock): Promise<number> {
  await bench.lanes.lane.up
  const startMs = guest.busyMs
  let calls = 0
  // Not one more than it takes: that would be held.
  for (; guest.busyMs - startMs < 100 && guest.status.waiting === 0; calls++) {
    void guest.call(request(new RecordingExchange("/burn")))
  }
  clock.pass(200, 1)
  bench.lanes.look()
  await new Promise(setImmediate)
  return calls
}

describe("the share of a plugin", () => {
  it("moves the plugin that is over it to a lane, says so with numbers, and leaves the others where they are", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const [burner, innocent] = [await bench.open(COUNTER), await bench.open(COUNTER)]
    await ask(innocent, "/")
    await overdo(bench, burner, clock)
    await until(() => burner.status.now === "worker")
    assert.match(burner.status.reason ?? "", /^used \d\d+ % of the thread, 10 % allowed$/)
    assert.ok(burner.status.used > 0.1 && burner.status.movedAtMs !== null)
    assert.deepEqual(
      { ...innocent.status, used: 0 },
      { now: "inline", wanted: "auto", share: 0.1, used: 0, reason: null, movedAtMs: null, waiting: 0 },
    )
    const lines = bench.logged.filter(({ lane }) => lane === "worker")
    assert.equal(lines.length, 1)
    assert.match(lines[0]!.msg, /^guest-1 moved to a worker thread: used \d+ % of the thread, 10 % allowed$/)
  })

  it("counts CPU time: on an overloaded machine time on the stack grows, and the plugin stays", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const guest = await bench.open(COUNTER)
    for (let i = 0; i < 5; i++) {
      clock.pass(200, 0.2)
      await ask(guest, "/burn")
    }
    bench.lanes.look()
    assert.equal(guest.status.now, "inline")
    assert.equal(guest.status.reason, null)
    assert.ok(guest.status.used > 0 && guest.status.used < 0.1)
  })

  it("is looked after before the next call of one that is over it, however late the timers are", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const guest = await bench.open(COUNTER)
    await bench.lanes.lane.up
    clock.pass(300, 1)
    let inline = 0
    let held: unknown
    // Synchronous, so that no timer has its turn.
    for (const endMs = performance.now() + 20_000; performance.now() < endMs && inline < 50; inline++) {
      held = guest.call(request(new RecordingExchange("/burn")))
      if (held instanceof Promise) break
    }
    await held
    assert.ok(inline >= 4 && inline <= 6, String(inline))
  })

  it("stays when its calls are so short that to send them away would cost more", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const guest = await bench.open(COUNTER)
    await bench.lanes.lane.up
    while (guest.busyMs < 150) await ask(guest, "/")
    clock.pass(200, 1)
    bench.lanes.look()
    await new Promise(setImmediate)
    assert.equal(guest.status.now, "inline")
    assert.deepEqual([guest.generation, guest.status.reason], [0, null])
  })

  it("does not count what loading took", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const slow = `for (const end = Date.now() + 150; Date.now() < end; );\n${COUNTER}`
    const guest = await bench.open(slow)
    clock.pass(200, 1)
    bench.lanes.look()
    assert.equal(guest.status.now, "inline")
  })

  it("never moves a plugin with lane = inline, and moves one with lane = worker before its first call", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const pinned = await bench.open(COUNTER, { wanted: "inline" })
    await overdo(bench, pinned, clock)
    assert.equal(pinned.status.now, "inline")
    const away = await bench.open(COUNTER, { wanted: "worker" })
    assert.deepEqual([away.status.now, away.status.reason], ["worker", 'lane = "worker"'])
    assert.equal(await ask(away, "/"), "1")
    assert.equal(away.generation, 0)
  })

  it("lets a plugin come back that has been calm, later each time", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock, calmMs: 3000 })
    const guest = await bench.open(COUNTER)
    const windowsUntilBack = async () => {
      let windows = 0
      while (guest.status.now === "worker" && windows < 100) {
        clock.pass(1000, 0.01)
        bench.lanes.look()
        windows++
        // The state is on its way: let it arrive.
        for (let i = 0; i < 50 && guest.status.now === "worker" && windows >= 4; i++) await ask(guest, "/")
      }
      return windows
    }
    await overdo(bench, guest, clock)
    await until(() => guest.status.now === "worker")
    const first = await windowsUntilBack()
    assert.match(guest.status.reason ?? "", /^used less than half of its share for 3 s$/)
    await overdo(bench, guest, clock)
    await until(() => guest.status.now === "worker")
    const second = await windowsUntilBack()
    assert.ok(first >= 3 && second >= first + 2, `${first}, then ${second}`)
  })
})

describe("a move", () => {
  it("back ends well when the storage cannot be read: it takes longer to see what was written elsewhere", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock, calmMs: 1000 })
    let asked = 0
    const storage = {
      flushStorage: async () => {},
      refreshStorage() {
        asked++
        return Promise.reject(new PluginError("E_STATE_UNAVAILABLE", "guest", "the disk is gone"))
      },
    }
    const guest = await bench.open(COUNTER, { storage })
    const calls = await overdo(bench, guest, clock)
    await until(() => guest.status.now === "worker")
    for (let windows = 0; asked === 0; windows++) {
      assert.ok(windows < 100)
      clock.pass(1000, 0.01)
      bench.lanes.look()
      await ask(guest, "/release")
      clock.pass(1000, 0.01)
    }
    await until(() => guest.status.now === "inline")
    assert.ok(Number(await ask(guest, "/")) > calls, "its memory came along")
    assert.ok(bench.logged.some(({ msg }) => msg.includes("the disk is gone")))
  })

  it("takes the state of the module along, there and back, and counts as a generation each time", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock, calmMs: 0 })
    const guest = await bench.open(COUNTER)
    assert.equal(await ask(guest, "/"), "1")
    const burns = await overdo(bench, guest, clock)
    assert.equal(await ask(guest, "/"), String(burns + 2))
    assert.deepEqual([guest.status.now, guest.generation], ["worker", 1])
    clock.pass(2000, 0)
    bench.lanes.look()
    clock.pass(2000, 0)
    bench.lanes.look()
    assert.equal(await ask(guest, "/"), String(burns + 3))
    assert.deepEqual([guest.status.now, guest.generation], ["inline", 2])
    assert.equal(await ask(guest, "/"), String(burns + 4))
  })

  it("waits until nothing of a call is left, also behind an answer; calls that come meanwhile end with the plugin", async (t) => {
    for (const left of ["/wait", "/behind"]) {
      const clock = new TestClock()
      const bench = await benchOf(t, { clock })
      const guest = await bench.open(COUNTER)
      const waiting = ask(guest, left)
      await overdo(bench, guest, clock)
      const held = [ask(guest, "/"), ask(guest, "/"), ask(guest, "/")]
      assert.deepEqual([guest.status.now, guest.status.waiting], ["inline", 3])
      await guest[Symbol.asyncDispose]()
      for (const call of held) await assert.rejects(call, { code: "E_GUEST_EXITED" })
      await waiting.catch(() => {})
      assert.equal(guest.status.waiting, 0)
    }
  })

  it("happens once the last waiting call is over; the calls held go on in the lane, in order", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const services = new RecordingServices()
    let answer = () => {}
    services.respond = async ({ url }) => {
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return { url, status: 200, headers: [], body: Buffer.from("fetched") }
    }
    const fetching = await bench.open(
      `let calls = 0
export async function onRequest(ctx) {
  const own = ++calls
  if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
  const body = ctx.path === "/fetch" ? await (await bext.fetch("http://example.com/")).text() : ""
  return { action: "respond", body: body + own }
}`,
      { services },
    )
    const waiting = ask(fetching, "/fetch")
    const burns = await overdo(bench, fetching, clock)
    const held = [ask(fetching, "/"), ask(fetching, "/"), ask(fetching, "/")]
    assert.deepEqual([fetching.status.now, fetching.status.waiting], ["inline", 3])
    answer()
    assert.equal(await waiting, "fetched1")
    assert.deepEqual(
      await Promise.all(held),
      [2, 3, 4].map((n) => String(burns + n)),
    )
    assert.equal(fetching.status.now, "worker")
  })

  it("of a fresh plugin waits for nobody: calls at work end where they are, new ones are in the lane", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const services = new RecordingServices()
    let answer = () => {}
    services.respond = async ({ url }) => {
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return { url, status: 200, headers: [], body: Buffer.from("fetched") }
    }
    const guest = await bench.open(
      `export async function onRequest(ctx) {
        if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
        const body = ctx.path === "/fetch" ? await (await bext.fetch("http://example.com/")).text() : "at once"
        return { action: "respond", body }
      }`,
      { services, instance: "fresh" },
    )
    const waiting = ask(guest, "/fetch")
    await overdo(bench, guest, clock)
    assert.equal(await ask(guest, "/"), "at once")
    assert.equal(guest.status.now, "worker")
    bench.lanes.lane.kill("was killed by a test")
    assert.equal(await ask(guest, "/"), "at once")
    answer()
    assert.equal(await waiting, "fetched")
  })

  it("loses nothing of the storage and shows nothing old, there and back and there again", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock, calmMs: 0 })
    const guest = await bench.open(
      `export function onRequest(ctx) {
        if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
        const n = Number(bext.storage.get("n") ?? 0) + 1
        bext.storage.set("n", String(n))
        return { action: "respond", body: String(n) }
      }`,
      { stored: true },
    )
    let expected = 0
    for (let round = 0; round < 3; round++) {
      assert.equal(await ask(guest, "/"), String(++expected))
      expected += await overdo(bench, guest, clock)
      assert.equal(await ask(guest, "/"), String(++expected))
      assert.equal(guest.status.now, "worker")
      assert.equal(await ask(guest, "/"), String(++expected))
      while (guest.status.now === "worker") {
        clock.pass(2000, 0)
        bench.lanes.look()
        assert.equal(await ask(guest, "/"), String(++expected))
      }
    }
    assert.equal(guest.generation, 6)
  })

  it("does not open an earlier request to a guest that kept its context", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const guest = await bench.open(`
let kept = null
export function onRequest(ctx) {
  if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
  if (ctx.path === "/keep") { kept = ctx; return }
  if (ctx.path !== "/look") return
  try { return { action: "respond", body: kept.headers.get("x-one") + kept.path } }
  catch (error) { return { action: "respond", body: error.message } }
}`)
    await ask(guest, "/keep")
    await overdo(bench, guest, clock)
    for (let i = 0; i < 10; i++) assert.match(await ask(guest, "/look"), /is over/)
    assert.equal(guest.status.now, "worker")
  })

  it("does not turn the guest's clock back", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const guest = await bench.open(`
export function onRequest(ctx) {
  if (ctx.path === "/burn") for (const end = Date.now() + 30; Date.now() < end; );
  return { action: "respond", body: String(performance.now()) }
}`)
    const before = Number(await ask(guest, "/"))
    await overdo(bench, guest, clock)
    const after = Number(await ask(guest, "/"))
    assert.equal(guest.status.now, "worker")
    assert.ok(after >= before + 150 && after < before + 60_000, `${before}, then ${after}`)
  })

  it("does not happen when what the plugin wrote cannot be saved first", async (t) => {
    const clock = new TestClock()
    const bench = await benchOf(t, { clock })
    const flushStorage = () => Promise.reject(new Error("disk full"))
    const storage = { flushStorage, refreshStorage: async () => {} }
    const guest = await bench.open(COUNTER, { storage })
    const burns = await overdo(bench, guest, clock)
    assert.equal(await ask(guest, "/"), String(burns + 1))
    assert.equal(guest.status.now, "inline")
    assert.match(guest.status.reason ?? "", /cannot move: Error: disk full/)
  })
})

describe("a lane", () => {
  it("serves its plugins in turns: a burner does not starve the others", async (t) => {
    const bench = await benchOf(t)
    const [burner, innocent] = [
      await bench.open(COUNTER, { wanted: "worker" }),
      await bench.open(COUNTER, { wanted: "worker" }),
    ]
    const ends: string[] = []
    const burns = Array.from({ length: 10 }, () => ask(burner, "/burn").then(() => ends.push("burner")))
    const calls = Array.from({ length: 5 }, () => ask(innocent, "/").then(() => ends.push("innocent")))
    await Promise.all([...burns, ...calls])
    // Turn by turn: the last of five calls has at most a few of the burner's before it.
    assert.ok(ends.lastIndexOf("innocent") <= 12, ends.join())
  })

  it("refuses what is over its bound at once, and takes calls again afterwards", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    const results = await Promise.allSettled(Array.from({ length: 80 }, () => ask(guest, "/")))
    const refused = results.filter((result) => result.status === "rejected")
    assert.equal(refused.length, 16)
    for (const { reason } of refused) assert.equal((reason as { code: string }).code, "E_LANE_FULL")
    assert.equal(guest.status.waiting, 0)
    assert.equal(await ask(guest, "/"), "65")
  })

  it("counts the bytes that wait, too", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    const large = () => {
      const exchange = new RecordingExchange("/")
      exchange.bodies.request = Buffer.alloc(6 * 1024 * 1024)
      return guest.call(request(exchange))
    }
    const results = await Promise.allSettled(Array.from({ length: 4 }, async () => large()))
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "fulfilled", "rejected", "rejected"],
    )
    await large()
  })

  it("does not let calls that wait for themselves keep others out", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(
      `export async function onRequest(ctx) {
        if (ctx.path === "/wait") await new Promise((resolve) => setTimeout(resolve, 300))
        return { action: "respond", body: "done" }
      }`,
      { wanted: "worker" },
    )
    const waiting: Promise<string>[] = []
    for (let i = 0; i < 3; i++) {
      waiting.push(...Array.from({ length: 60 }, () => ask(guest, "/wait")))
      await until(() => guest.status.waiting === 0)
    }
    assert.equal(await ask(guest, "/"), "done")
    assert.ok((await Promise.all(waiting)).every((text) => text === "done"))
  })

  it("gives up a call whose client went away: in its queue, and while it waits", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    const abort = new AbortController()
    const waiting = ask(guest, "/wait", abort.signal)
    await until(() => guest.status.waiting === 0)
    abort.abort(new Error("gone"))
    await assert.rejects(waiting, { code: "E_LIMIT_TIME" })
    // Half a second of work in front of those that are given up in the queue.
    const burns = Array.from({ length: 16 }, () => ask(guest, "/burn"))
    const leaving = new AbortController()
    const queued = ask(guest, "/", leaving.signal)
    leaving.abort(new Error("gone"))
    await assert.rejects(queued, { code: "E_LIMIT_TIME" })
    await assert.rejects(ask(guest, "/", AbortSignal.abort()), { code: "E_LIMIT_TIME" })
    await Promise.all(burns)
    await until(() => guest.idle)
    assert.equal(await ask(guest, "/"), "18", "those two never ran")
  })

  it("lets the wall clock count from the arrival in the serving thread, and blames the lane for what never had its turn", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    await ask(guest, "/")
    const burning = ask(guest, "/burn")
    const call = guest.call(request(new RecordingExchange("/"), { wallMs: 10 }))
    await assert.rejects(async () => call, { code: "E_LANE_FULL" })
    await burning
    assert.equal(await ask(guest, "/"), "3")
  })

  it("brings errors with the guest's words and places as their cause", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(`export function onRequest() { throw new TypeError("not today") }`, {
      wanted: "worker",
    })
    await assert.rejects(ask(guest, "/"), (error: Error) => {
      assert.match(error.message, /^guest-1: on_request: TypeError: not today \(index\.js:1:\d+\) \[E_GUEST_THREW\]$/)
      assert.match((error.cause as Error).stack ?? "", /^TypeError: not today\n +at onRequest \(index\.js:1:\d+\)$/)
      return true
    })
  })

  it("bounds what a guest says by way of its log and its metrics", async (t) => {
    const bench = await benchOf(t)
    const services = new RecordingServices()
    const guest = await bench.open(
      `export function onRequest() {
        for (let i = 0; i < 8000; i++) { console.log("x".repeat(9000)); bext.metric("m", i) }
      }`,
      { wanted: "worker", services },
    )
    await assert.doesNotReject(async () =>
      guest.call(request(new RecordingExchange("/"), { cpuMs: 60_000, wallMs: 120_000 })),
    )
    assert.ok(services.lines.length > 0 && services.lines.length <= 9000, String(services.lines.length))
    assert.ok(services.lines.every((line) => line.length <= 8200))
    assert.ok(services.metrics.length > 0)
  })

  it("bounds the work of the serving thread with fetches that are refused", async (t) => {
    const bench = await benchOf(t)
    const services = new RecordingServices()
    services.respond = () => Promise.reject(new PluginError("E_FETCH_FORBIDDEN", "guest", "matches no allowed URL"))
    const guest = await bench.open(
      `export async function onRequest() {
        const codes = {}
        for (let i = 0; i < 1500; i++) {
          const { code } = await bext.fetch("http://example.com/").catch((error) => error)
          codes[code] = (codes[code] ?? 0) + 1
        }
        return Response.json(codes)
      }`,
      { wanted: "worker", services },
    )
    const exchange = new RecordingExchange("/")
    await guest.call(request(exchange, { cpuMs: 60_000, wallMs: 120_000 }))
    const { E_FETCH_FORBIDDEN: asked, E_LIMIT_FETCH: refused } = JSON.parse(exchange.text!)
    assert.equal(asked + refused, 1500)
    assert.ok(refused > 0 && services.requests.length === asked, `${asked} asked, ${refused} refused in the lane`)
  })

  it("stops a fetch when the guest's call ends", async (t) => {
    const bench = await benchOf(t)
    const services = new RecordingServices()
    let stopped = false
    services.respond = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          stopped = true
          reject(new Error("stopped"))
        })
      })
    const guest = await bench.open(`export async function onRequest() { await bext.fetch("http://example.com/") }`, {
      wanted: "worker",
      services,
    })
    const call = guest.call(request(new RecordingExchange("/"), { wallMs: 1500 }))
    await until(() => services.requests.length === 1)
    await assert.rejects(async () => call, { code: "E_LIMIT_TIME" })
    await until(() => stopped)
  })

  it("is replaced when its thread dies: calls in flight fail, and the next ones find the image", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    assert.deepEqual([await ask(guest, "/"), await ask(guest, "/")], ["1", "2"])
    const inFlight = [ask(guest, "/wait"), ask(guest, "/burn")]
    bench.lanes.lane.kill("was killed by a test")
    for (const call of inFlight) await assert.rejects(call, { code: "E_INSTANCE_RESET" })
    assert.equal(guest.status.waiting, 0)
    assert.equal(await ask(guest, "/"), "1")
    assert.deepEqual([guest.status.now, guest.generation], ["worker", 1])
  })

  it("is ended when its thread answers nothing any more", { timeout: 60_000 }, async (t) => {
    const bench = await benchOf(t, { entry: new URL("./thread-that-hangs.ts", import.meta.url) })
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    const call = guest.call(request(new RecordingExchange("/"), { wallMs: 100 }))
    await assert.rejects(async () => call, { code: "E_LIMIT_TIME" })
    await until(() => bench.logged.some(({ msg }) => msg.includes("answered nothing any more")))
    assert.deepEqual([guest.status.now, guest.generation], ["worker", 1])
  })

  it("does not take guests when the files of bext are others than when the process began", async () => {
    const tier = await createQuickjsTier()
    const parts = tier.moving!.openThread() as { operations: string }
    assert.throws(() => createQuickjsLaneTier({ ...parts, operations: `${parts.operations},more` }), /updated on disk/)
  })

  it("that cannot start leaves its plugins in the serving thread", async (t) => {
    const bench = await benchOf(t, { entry: new URL("./thread-that-fails.ts", import.meta.url) })
    const guest = await bench.open(COUNTER, { wanted: "worker" })
    assert.equal(guest.status.now, "inline")
    assert.match(guest.status.reason ?? "", /cannot move: Error: the thread failed: no such thread/)
    assert.equal(await ask(guest, "/"), "1")
  })

  it("runs hooks without a request, and gives their answers", async (t) => {
    const bench = await benchOf(t)
    const guest = await bench.load(
      "answer-events",
      { services: new RecordingServices(), limits: LIMITS, instance: "fresh" },
      { wanted: "worker" },
    )
    await guest.ready(null)
    assert.deepEqual(await guest.call(event("cache_get", ["k"])), { key: "k", greeting: "from this" })
  })
})
