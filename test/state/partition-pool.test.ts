import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { PartitionPool } from "../../src/state/partition-pool.ts"
import { AsynchronousStore, StateServer } from "./asynchronous-store.ts"
import { entry, keyValueContract, PARTITION } from "./key-value-contract.ts"

const QUOTA = 1 << 20

describe("partition pool over a store that always waits", () => {
  keyValueContract("asynchronous", async () => new AsynchronousStore(new StateServer()))

  it("needs a partition to be prepared, and then answers without waiting", async (t) => {
    const { pool } = connect(t, new StateServer())
    assert.throws(() => pool.get(PARTITION), { code: "E_STATE_UNAVAILABLE", message: /before it is loaded/ })
    await pool.prepare(PARTITION)
    assert.equal(pool.prepare(PARTITION), undefined)
    const partition = pool.get(PARTITION)
    assert.equal(partition.set("k", "v", 0, QUOTA), true)
    assert.equal(partition.get("k"), "v")
  })

  it("sees a change that is committed while the partition is on its way", async (t) => {
    const server = new StateServer()
    const here = connect(t, server)
    const there = connect(t, server)
    const load = here.state.load.bind(here.state)
    t.mock.method(here.state, "load", async (partition: string) => {
      const old = await load(partition)
      // The message about the change overtakes the data.
      if (old.size === 0) await there.state.write(PARTITION, new Map([["k", entry("new")]]))
      await new Promise(setImmediate)
      return old
    })
    await here.pool.prepare(PARTITION)
    assert.equal(here.pool.get(PARTITION).get("k"), "new")
  })

  it("ends with the store's value on both sides when two write the same key", async (t) => {
    const server = new StateServer()
    const [here, there] = [connect(t, server), connect(t, server)]
    await Promise.all([here.pool.prepare(PARTITION), there.pool.prepare(PARTITION)])
    for (let i = 0; i < 50; i++) {
      here.pool.get(PARTITION).set("k", `here ${i}`, 0, QUOTA)
      there.pool.get(PARTITION).set("k", `there ${i}`, 0, QUOTA)
      if (i % 7 === 0) await here.pool.get(PARTITION).save()
      if (i % 5 === 0) await there.pool.get(PARTITION).save()
    }
    await Promise.all([here.pool.get(PARTITION).save(), there.pool.get(PARTITION).save()])
    await until(() => {
      const stored = server.partitions.get(PARTITION)?.get("k")?.value
      return here.pool.get(PARTITION).get("k") === stored && there.pool.get(PARTITION).get("k") === stored
    })
  })

  it("keeps changes the store could not take, says so to flush, and saves them once it is back", async (t) => {
    const server = new StateServer()
    const { pool } = connect(t, server)
    await pool.prepare(PARTITION)
    const partition = pool.get(PARTITION)
    partition.set("kept", "1", 0, QUOTA)
    partition.set("gone", "1", 0, QUOTA)
    await partition.flush()
    server.down = true
    partition.set("kept", "2", 0, QUOTA)
    partition.delete("gone")
    await assert.rejects(partition.flush(), { code: "E_STATE_UNAVAILABLE" })
    assert.equal(partition.get("kept"), "2")
    partition.set("kept", "3", 0, QUOTA)
    server.down = false
    await until(() => server.partitions.get(PARTITION)?.get("kept")?.value === "3")
    assert.equal(server.partitions.get(PARTITION)?.has("gone"), false)
  })

  it("does not gather removals of keys the store never had", async (t) => {
    const server = new StateServer()
    const { pool } = connect(t, server)
    await pool.prepare(PARTITION)
    const partition = pool.get(PARTITION)
    for (let i = 0; i < 10_000; i++) {
      partition.set(`k${i}`, "x", 0, QUOTA)
      partition.delete(`k${i}`)
    }
    assert.equal(partition.busy, false)
    assert.equal(partition.usedBytes, 0)
  })

  it("lets a value shrink although the quota was lowered below what is used", async (t) => {
    const { pool } = connect(t, new StateServer())
    await pool.prepare(PARTITION)
    const partition = pool.get(PARTITION)
    partition.set("k", "x".repeat(1000), 0, QUOTA)
    assert.equal(partition.set("k", "x".repeat(500), 0, 100), true)
    assert.equal(partition.set("k", "x".repeat(501), 0, 100), false)
  })

  it("removes from the store what expired, in batches and when it closes, but nothing set anew elsewhere", async (t) => {
    const server = new StateServer()
    const clock = { nowMs: 0 }
    const { pool } = connect(t, server, clock)
    await pool.prepare(PARTITION)
    const partition = pool.get(PARTITION)
    for (let i = 0; i < 600; i++) partition.set(`k${i}`, "x", 10, QUOTA)
    await partition.flush()
    clock.nowMs = 10
    server.partitions.get(PARTITION)!.set("k599", entry("anew", 99))
    assert.deepEqual(partition.keys("", 1000), [])
    assert.equal(partition.usedBytes, 0)
    await until(() => server.partitions.get(PARTITION)!.size <= 88)
    await pool[Symbol.asyncDispose]()
    assert.deepEqual([...server.partitions.get(PARTITION)!.keys()], ["k599"])
  })
})

function connect(t: TestContext, server: StateServer, clock = { nowMs: 0 }) {
  const state = new AsynchronousStore(server)
  const pool = new PartitionPool({ state, nowMs: () => clock.nowMs, maxBytes: 1 << 24 })
  t.after(async () => {
    await pool[Symbol.asyncDispose]()
    await state[Symbol.asyncDispose]()
  })
  return { state, pool }
}

async function until(holds: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 2000; attempt++) {
    if (holds()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.fail("did not become true in 10 seconds")
}
