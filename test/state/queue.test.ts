import assert from "node:assert/strict"
import { join } from "node:path"
import { describe, it } from "node:test"
import { open as openRaw } from "lmdb"
import type { Lease, Outcome } from "../../src/state/state.ts"
import { done, lease, message, openQueues, SETTINGS, TestClock, values } from "./queue-project.ts"

const HOUR_MS = 3_600_000

describe("queue store", () => {
  it("hands out a message once, with everything it was pushed with, and forgets it when it is done", async (t) => {
    const { queues } = openQueues(t)
    const value = { text: "é\u0000\u{1f600}", list: [1, null] }
    const id = await queues.push(SETTINGS, message(value, { key: "order \u0000\n 7", tenant: "acme" }))
    const [first, ...others] = await lease(queues)
    assert.deepEqual(others, [])
    assert.deepEqual(
      {
        id: first!.id,
        value: JSON.parse(first!.value),
        key: first!.key,
        tenant: first!.tenant,
        attempt: first!.attempt,
      },
      { id, value, key: "order \u0000\n 7", tenant: "acme", attempt: 1 },
    )
    assert.match(id, /^[0-9a-f]{24}$/)
    assert.deepEqual(await lease(queues), [])
    assert.equal(await done(queues, [first!]), 0)
    assert.deepEqual(await queues.lease(SETTINGS, 10), { leases: [], nextMs: null })
  })

  it("gives every message another id, also in another queue", async (t) => {
    const { queues } = openQueues(t, { clock: new TestClock() })
    const ids = new Set<string>()
    for (const queue of ["a", "a", "b"]) ids.add(await queues.push({ ...SETTINGS, queue }, message(1)))
    assert.equal(ids.size, 3, [...ids].join(" "))
  })

  it("keeps queues apart whose names begin with one another", async (t) => {
    const { queues } = openQueues(t)
    for (const queue of ["a", "a.b", "ab", "a-"]) await queues.push({ ...SETTINGS, queue }, message(queue))
    for (const queue of ["a", "a.b", "ab", "a-"]) {
      assert.deepEqual(values(await lease(queues, 10, { ...SETTINGS, queue })), [queue])
    }
  })

  it("gives a message to exactly one of two stores that race for it, many times", async (t) => {
    const one = openQueues(t)
    const two = openQueues(t, { dir: one.dir })
    for (let round = 0; round < 200; round++) {
      await one.queues.push(SETTINGS, message(round))
      const both = await Promise.all([lease(one.queues), lease(two.queues)])
      assert.equal(both.flat().length, 1, `round ${round}`)
      const [winner, held] = both[0].length === 1 ? [one, both[0]] : [two, both[1]]
      assert.equal(await done(winner.queues, held), 0)
    }
  })

  it("hands out messages of a key one at a time in the order of their pushes, a failing one first until it is dead", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    for (const n of [1, 2, 3]) await queues.push(SETTINGS, message(n, { key: "k" }))
    await queues.push(SETTINGS, message("other", { key: "l" }))
    let leases = await lease(queues)
    assert.deepEqual(values(leases), [1, "other"])
    assert.deepEqual(await lease(queues), [])
    await queues.settle(SETTINGS, [{ lease: leases[0]!, as: "retry", delayMs: 5000, counted: true }])
    assert.deepEqual(await lease(queues), [], "2 waits for 1, which waits for its next attempt")
    clock.pass(5000)
    leases = await lease(queues)
    assert.deepEqual(values(leases), [1])
    assert.equal(leases[0]!.attempt, 2)
    await queues.settle(SETTINGS, [{ lease: leases[0]!, as: "dead", error: "E_GUEST_THREW: no" }])
    leases = await lease(queues)
    assert.deepEqual(values(leases), [2])
    await done(queues, leases)
    assert.deepEqual(values(await lease(queues)), [3])
  })

  it("lets a delayed message hold back those behind it in its key, and no others", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("late", { key: "k", delayMs: 60_000 }))
    await queues.push(SETTINGS, message("behind", { key: "k" }))
    await queues.push(SETTINGS, message("free"))
    assert.deepEqual(values(await lease(queues)), ["free"])
    clock.pass(60_000)
    const leases = await lease(queues)
    assert.deepEqual(
      values(leases).filter((value) => value !== "free"),
      ["late"],
    )
    await done(queues, leases)
    assert.deepEqual(values(await lease(queues)), ["behind"])
  })

  it("hands out a delayed message when it is due, and says how long that takes", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("later", { delayMs: 10_000 }))
    assert.deepEqual(await queues.lease(SETTINGS, 10), { leases: [], nextMs: 10_000 })
    clock.pass(9_999)
    assert.deepEqual(await queues.lease(SETTINGS, 10), { leases: [], nextMs: 1 })
    clock.pass(1)
    assert.deepEqual(values(await lease(queues)), ["later"])
  })

  it("neither lets new messages starve retries nor retries new messages", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    for (let n = 0; n < 10; n++) await queues.push(SETTINGS, message(`late ${n}`, { delayMs: 1 }))
    clock.pass(10)
    for (let n = 0; n < 10; n++) await queues.push(SETTINGS, message(`new ${n}`))
    assert.deepEqual(values(await lease(queues, 4)), ["late 0", "late 1", "new 0", "new 1"])
  })

  it("hands a message out again when its lease ended, and ignores the late acknowledgement", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("m"))
    const [lost] = await lease(queues)
    clock.pass(SETTINGS.visibilityMs - 1)
    assert.deepEqual(await lease(queues), [])
    clock.pass(1)
    const [found] = await lease(queues)
    assert.equal(found!.attempt, 2)
    assert.equal(await done(queues, [lost!]), 1)
    assert.deepEqual(await queues.extend(SETTINGS, [lost!]), [lost])
    assert.equal(await done(queues, [found!]), 0)
  })

  it("keeps a lease that is prolonged, and does not take another store's", async (t) => {
    const clock = new TestClock()
    const one = openQueues(t, { clock })
    const two = openQueues(t, { clock, dir: one.dir })
    await one.queues.push(SETTINGS, message("m"))
    const leases = await lease(one.queues)
    for (let turn = 0; turn < 5; turn++) {
      clock.pass(20_000)
      assert.deepEqual(await one.queues.extend(SETTINGS, leases), [])
      assert.deepEqual(await lease(two.queues), [])
      assert.equal(await done(two.queues, leases), 1)
    }
    assert.equal(await done(one.queues, leases), 0)
  })

  it("buries a message whose holders all died, as it does one that failed every time", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    const id = await queues.push(SETTINGS, message("poison", { tenant: "acme", key: "k" }))
    for (let attempt = 1; attempt <= SETTINGS.maxAttempts; attempt++) {
      assert.equal((await lease(queues))[0]!.attempt, attempt)
      clock.pass(SETTINGS.visibilityMs)
    }
    assert.deepEqual(await lease(queues), [])
    const [dead] = await queues.show("mail", "dead", 10)
    assert.deepEqual(
      [dead!.id, dead!.attempts, dead!.error, dead!.tenant, dead!.key],
      [id, 3, "the lease ended: the process died, or hung", "acme", "k"],
    )
  })

  it("does not count a delivery that is given back uncounted", async (t) => {
    const { queues } = openQueues(t)
    await queues.push(SETTINGS, message("m"))
    for (let turn = 0; turn < 10; turn++) {
      const [held] = await lease(queues)
      assert.equal(held!.attempt, 1)
      await queues.settle(SETTINGS, [{ lease: held!, as: "retry", delayMs: 0, counted: false }])
    }
  })

  it("refuses a push over the bound, keeps the rest of the same moment, and takes pushes again once there is room", async (t) => {
    const { queues } = openQueues(t)
    const small = { ...SETTINGS, maxMessages: 3 }
    const results = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => queues.push(small, message(n))))
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected"],
    )
    await assert.rejects(queues.push(small, message(6)), { code: "E_LIMIT_QUEUE" })
    const leases = await lease(queues)
    assert.deepEqual(values(leases), [1, 2, 3])
    await assert.rejects(queues.push(small, message(7)), { code: "E_LIMIT_QUEUE" }, "leased ones count")
    await done(queues, leases)
    await queues.push(small, message(8))
  })

  it("keeps as many dead letters as messages, the newest, and none for longer than the retention", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    const small = { ...SETTINGS, maxMessages: 2 }
    for (const n of [1, 2, 3]) {
      await queues.push(small, message(n))
      const outcomes = (await lease(queues)).map(
        (held): Outcome => ({ lease: held, as: "dead", error: "x".repeat(5000) }),
      )
      await queues.settle(small, outcomes)
      clock.pass(10)
    }
    const dead = await queues.show("mail", "dead", 10)
    assert.deepEqual(
      dead.map(({ value }) => value),
      ["2", "3"],
    )
    assert.equal(dead[0]!.error!.length, 1024)
    clock.pass(small.retentionMs + 60_000)
    await queues.lease(small, 1)
    assert.deepEqual(await queues.show("mail", "dead", 10), [])
    assert.equal((await queues.list())[0]!.dead, 0)
  })

  it("tells operators what every queue holds", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    const oldestAtMs = clock.nowMs()
    await queues.push(SETTINGS, message("leased"))
    await lease(queues)
    clock.pass(5)
    await queues.push(SETTINGS, message("delayed", { delayMs: 1000 }))
    await queues.push(SETTINGS, message("waits"))
    await queues.push({ ...SETTINGS, queue: "empty" }, message(1))
    const empty = { ...SETTINGS, queue: "empty" }
    await done(queues, await lease(queues, 1, empty), empty)
    assert.deepEqual(await queues.list(), [
      { queue: "empty", messages: 0, delayed: 0, leased: 0, dead: 0, oldestAtMs: null },
      { queue: "mail", messages: 3, delayed: 1, leased: 1, dead: 0, oldestAtMs },
    ])
    assert.deepEqual(
      (await queues.show("mail", "live", 2)).map(({ value }) => value),
      ['"leased"', '"delayed"'],
    )
  })

  it("gives dead letters another round under their old ids, all or those that are named", async (t) => {
    const { queues } = openQueues(t)
    const ids: string[] = []
    for (let n = 0; n < 1200; n++) ids.push(await queues.push({ ...SETTINGS, maxMessages: 5000 }, message(n)))
    for (let left = 1200; left > 0; ) {
      const leases = await lease(queues, 500)
      left -= leases.length
      const outcomes = leases.map((held): Outcome => ({ lease: held, as: "dead", error: "no" }))
      await queues.settle({ ...SETTINGS, maxMessages: 5000 }, outcomes)
    }
    assert.equal(await queues.revive("mail", [ids[7]!, "0".repeat(24)]), 1)
    const [back] = await lease(queues)
    assert.deepEqual([back!.id, back!.attempt, JSON.parse(back!.value)], [ids[7], 1, 7])
    assert.equal(await queues.revive("mail", null), 1199)
    assert.deepEqual(await queues.show("mail", "dead", 10), [])
    assert.equal((await queues.list())[0]!.messages, 1200)
  })

  it("keeps one at a time when a dead letter comes back while others of its key are there", async (t) => {
    const { queues } = openQueues(t)
    for (const n of [1, 2, 3]) await queues.push(SETTINGS, message(n, { key: "k" }))
    const [first] = await lease(queues)
    await queues.settle(SETTINGS, [{ lease: first!, as: "dead", error: "no" }])
    const second = await lease(queues)
    assert.equal(await queues.revive("mail", null), 1)
    assert.deepEqual(await lease(queues), [])
    await done(queues, second)
    const next = await lease(queues)
    assert.deepEqual(values(next), [1])
    await done(queues, next)
    assert.deepEqual(values(await lease(queues)), [3])
  })

  it("removes messages for good, a thousand behind one key too, but not what is pushed meanwhile", async (t) => {
    const { queues } = openQueues(t)
    const large = { ...SETTINGS, maxMessages: 100_000 }
    const pushes: Promise<string>[] = []
    for (let n = 0; n < 1500; n++) pushes.push(queues.push(large, message(n, { key: n % 3 === 0 ? null : "k" })))
    await Promise.all(pushes)
    const leased = await lease(queues, 10)
    const [purged] = await Promise.all([
      queues.purge("mail", "live"),
      queues.push(large, message("new", { key: "k" })),
      queues.push(large, message("free")),
    ])
    assert.equal(purged, 1500)
    assert.equal(await done(queues, leased), 10)
    assert.deepEqual(values(await lease(queues)).sort(), ["free", "new"])
    assert.deepEqual((await queues.list())[0]!.messages, 2)
  })

  it("survives a clock that is set forwards by hours: delayed messages are early, leases stay", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("held"))
    const held = await lease(queues)
    await queues.push(SETTINGS, message("delayed", { delayMs: HOUR_MS }))
    clock.set(5 * HOUR_MS)
    assert.deepEqual(values(await lease(queues)), ["delayed"])
    clock.pass(1000)
    assert.deepEqual(await queues.extend(SETTINGS, held), [])
    clock.pass(SETTINGS.visibilityMs - 1001)
    assert.deepEqual(await lease(queues), [], "its holder has renewed it")
    assert.equal(await done(queues, held), 0)
  })

  it("survives a clock that is set back by hours: no message waits longer than its delay anew", async (t) => {
    const clock = new TestClock()
    const { queues } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("delayed", { delayMs: 60_000 }))
    await queues.push(SETTINGS, message("now"))
    clock.pass(1000)
    clock.set(-5 * HOUR_MS)
    const leases = await lease(queues)
    assert.deepEqual(values(leases), ["now"])
    await done(queues, leases)
    clock.pass(59_999)
    assert.deepEqual(await lease(queues), [])
    clock.pass(1)
    assert.ok(values(await lease(queues)).includes("delayed"))
  })

  it("survives a clock that was set back while no process ran", async (t) => {
    const clock = new TestClock()
    const { queues, dir, close } = openQueues(t, { clock })
    await queues.push(SETTINGS, message("leased"))
    await lease(queues)
    await queues.push(SETTINGS, message("delayed", { delayMs: 1000 }))
    await close()
    clock.set(-5 * HOUR_MS)
    const next = openQueues(t, { clock, dir })
    assert.deepEqual(values(await lease(next.queues)), ["leased"], "a lease that ends in five hours is none")
    clock.pass(1000)
    assert.deepEqual(values(await lease(next.queues)), ["delayed"])
  })

  it("frees the lease of a dead process after the clock was set back under it", async (t) => {
    const clock = new TestClock()
    const one = openQueues(t, { clock })
    const two = openQueues(t, { clock, dir: one.dir })
    await lease(two.queues)
    await one.queues.push(SETTINGS, message("m"))
    assert.equal((await lease(one.queues)).length, 1)
    clock.set(-5 * HOUR_MS)
    assert.deepEqual(await lease(two.queues), [], "its holder may live, and renews it first")
    clock.pass(SETTINGS.visibilityMs)
    assert.deepEqual(values(await lease(two.queues)), ["m"])
  })

  it("skips a damaged message with a line in the log, also as the first of its key", async (t) => {
    const lines: string[] = []
    const { queues, dir } = openQueues(t, { log: { error: (_detail, text) => lines.push(text) } })
    for (const n of [1, 2, 3]) await queues.push(SETTINGS, message(n, { key: "k" }))
    await damage(dir, "queue-messages", 0)
    assert.deepEqual(await lease(queues), [])
    assert.deepEqual(values(await lease(queues)), [2])
    assert.match(lines.join(), /queue mail: message \d+ is damaged and was dropped/)
    assert.equal((await queues.list())[0]!.messages, 2)
  })

  it("never fails on damaged places, counters and dead letters", async (t) => {
    const { queues, dir } = openQueues(t)
    for (const n of [1, 2, 3]) await queues.push(SETTINGS, message(n))
    await queues.settle(SETTINGS, [{ lease: (await lease(queues, 1))[0]!, as: "dead", error: "no" }])
    for (const name of ["queue-places", "queues", "queue-dead"]) await damage(dir, name, 0)
    assert.deepEqual(values(await lease(queues)), [2, 3])
    assert.equal((await queues.list())[0]!.messages, 2)
    assert.deepEqual(await queues.show("mail", "dead", 10), [])
    await queues.push(SETTINGS, message(4))
    assert.deepEqual(values(await lease(queues)), [4])
  })

  it("leases large messages some at a time, and loses none", async (t) => {
    const { queues } = openQueues(t)
    const text = "x".repeat(250_000)
    await Promise.all(Array.from({ length: 40 }, () => queues.push(SETTINGS, message(text))))
    const first = await lease(queues)
    assert.ok(first.length < 40, `${first.length}`)
    const others = [...(await lease(queues)), ...(await lease(queues))]
    assert.equal(first.length + others.length, 40)
  })

  it("wakes who waits, in another store too", async (t) => {
    const one = openQueues(t)
    const two = openQueues(t, { dir: one.dir })
    const woken = Promise.withResolvers<void>()
    two.queues.watch(() => woken.resolve())
    await one.queues.push(SETTINGS, message(1))
    await woken.promise
  })

  it("gives back every message after it was closed and opened again", async (t) => {
    const { queues, dir, close } = openQueues(t)
    const ids: string[] = []
    for (let n = 0; n < 10; n++) ids.push(await queues.push(SETTINGS, message(n)))
    await close()
    const again = openQueues(t, { dir })
    assert.deepEqual(
      (await lease(again.queues)).map(({ id }: Lease) => id),
      ids,
    )
  })

  it("refuses work after it was closed", async (t) => {
    const { queues, close } = openQueues(t)
    await close()
    await assert.rejects(queues.push(SETTINGS, message(1)), { code: "E_STATE_UNAVAILABLE" })
    await assert.rejects(queues.lease(SETTINGS, 1), { code: "E_STATE_UNAVAILABLE" })
  })
})

/** Overwrites the first record of a database with something else. */
async function damage(dir: string, name: string, index: number): Promise<void> {
  const root = openRaw({ path: join(dir, "state"), maxDbs: 32, noSubdir: false })
  const database = root.openDB<Buffer, Buffer>({ name, encoding: "binary", keyEncoding: "binary" })
  const key = [...database.getKeys({})][index]!
  await database.put(Buffer.from(key), Buffer.from("damaged"))
  await root.close()
}
