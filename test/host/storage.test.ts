import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { describe, it, type TestContext } from "node:test"
import { isStorageKey, PartitionStorage, type StorageIdentity } from "../../src/host/storage.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import { PartitionPool } from "../../src/state/partition-pool.ts"
import { ENTRY_BYTES } from "../../src/state/resident-partition.ts"

const MINE: StorageIdentity = { plugin: "peer", owner: "test", tenant: null }

describe("guest storage", () => {
  it("tells text and bytes apart and sees its own changes at once", async (t) => {
    const { storage } = await open(t)
    storage.set("text", "1", 0)
    storage.set("bytes", Uint8Array.of(49), 0)
    assert.equal(storage.get("text"), "1")
    assert.deepEqual(storage.get("bytes"), Uint8Array.of(49))
    assert.equal(storage.delete("text"), true)
    assert.equal(storage.delete("text"), false)
    assert.equal(storage.get("text"), undefined)
  })

  it("keeps a copy of bytes: a guest that writes to its memory afterwards changes nothing", async (t) => {
    const { storage } = await open(t)
    const memory = Uint8Array.of(1, 2, 3)
    storage.set("key", memory, 0)
    memory.fill(9)
    assert.deepEqual(storage.get("key"), Uint8Array.of(1, 2, 3))
  })

  it("treats names that objects inherit as plain keys", async (t) => {
    const { storage } = await open(t)
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      assert.equal(storage.get(key), undefined)
      storage.set(key, key, 0)
      assert.equal(storage.get(key), key)
    }
    assert.deepEqual(storage.keys("", 10), ["__proto__", "constructor", "hasOwnProperty", "toString"])
  })

  it("refuses keys that look like paths, are empty, too long or not well-formed", async (t) => {
    const { storage } = await open(t)
    const bad = [
      "",
      "a/b",
      "..",
      "a..b",
      "a\\b",
      "a\0b",
      "k".repeat(513),
      "é".repeat(257),
      "\ud800",
      "../../etc/passwd",
    ]
    for (const key of bad) {
      const refused = { code: "E_STORAGE_KEY", plugin: "peer" }
      assert.throws(() => storage.get(key), refused)
      assert.throws(() => storage.set(key, "x", 0), refused)
      assert.throws(() => storage.delete(key), refused)
      await assert.rejects(storage.incr(key, 1, 0), refused)
      await assert.rejects(storage.cas(key, undefined, "x", 0), refused)
    }
    for (const key of ["a.b", ".", "k".repeat(512), "é".repeat(256), "😀", "a b"]) assert.equal(isStorageKey(key), true)
    assert.equal(isStorageKey(5), false)
  })

  it("shows nothing invisible of a key in its errors", async (t) => {
    const { storage } = await open(t, { quotaBytes: 10 })
    assert.throws(() => storage.set("a\n\u001b[31m\u202e", "x", 0), {
      message: /^peer: no room for "a\\n\\u001b\[31m\\u\{202e\}":/,
    })
  })

  it("takes a value that uses the quota up exactly and refuses one byte more", async (t) => {
    const { storage } = await open(t, { quotaBytes: 1000 })
    const room = 1000 - ENTRY_BYTES - 1
    assert.throws(() => storage.set("k", "x".repeat(room + 1), 0), { code: "E_LIMIT_STORAGE" })
    storage.set("k", "x".repeat(room), 0)
    assert.throws(() => storage.set("l", "", 0), { code: "E_LIMIT_STORAGE" })
    storage.set("k", "é".repeat(room / 2), 0)
    assert.throws(() => storage.set("k", "é".repeat(room / 2 + 1), 0), { code: "E_LIMIT_STORAGE" })
    assert.equal(String(storage.get("k")).length, Math.floor(room / 2))
  })

  it("gives room back on overwrite, delete and expiry", async (t) => {
    const clock = { nowMs: 1000 }
    const { storage } = await open(t, { quotaBytes: 1000, clock })
    storage.set("a", "x".repeat(900), 0)
    storage.set("a", "x", 0)
    storage.set("b", "x".repeat(800), 0)
    storage.delete("b")
    storage.set("c", "x".repeat(800), 50)
    assert.throws(() => storage.set("d", "x".repeat(800), 0), { code: "E_LIMIT_STORAGE" })
    clock.nowMs += 50
    storage.set("d", "x".repeat(800), 0)
    assert.equal(storage.get("c"), undefined)
  })

  it("forgets a key when its time is over, by the clock it was given", async (t) => {
    const clock = { nowMs: 5000 }
    const { storage } = await open(t, { clock })
    storage.set("short", "x", 10)
    storage.set("long", "x", 1000)
    clock.nowMs += 9
    assert.equal(storage.get("short"), "x")
    clock.nowMs += 1
    assert.equal(storage.get("short"), undefined)
    assert.equal(storage.delete("short"), false)
    assert.deepEqual(storage.keys("", 10), ["long"])
    for (const ttl of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e15]) {
      assert.throws(() => storage.set("k", "x", ttl), { code: "E_GUEST_RESULT_INVALID" })
    }
  })

  it("lists keys by prefix, sorted and at most as many as asked", async (t) => {
    const { storage } = await open(t)
    for (const key of ["b2", "a", "b10", "b1"]) storage.set(key, "", 0)
    assert.deepEqual(storage.keys("b", 2), ["b1", "b10"])
    assert.deepEqual(storage.keys("", 0), ["a"])
    assert.equal(storage.keys("", Number.NaN).length, 4)
  })

  it("counts atomically, keeps the counter's expiry and refuses what is no counter", async (t) => {
    const clock = { nowMs: 0 }
    const { storage } = await open(t, { clock })
    assert.deepEqual(await Promise.all([storage.incr("n", 1, 100), storage.incr("n", 2, 9999)]), [1, 3])
    assert.equal(storage.get("n"), "3")
    clock.nowMs = 100
    assert.equal(storage.get("n"), undefined)
    assert.equal(await storage.incr("n", -4, 0), -4)
    storage.set("text", "seven", 0)
    await assert.rejects(storage.incr("text", 1, 0), { code: "E_GUEST_RESULT_INVALID" })
    await assert.rejects(storage.incr("n", 0.5, 0), { code: "E_GUEST_RESULT_INVALID" })
    storage.set("max", String(Number.MAX_SAFE_INTEGER), 0)
    await assert.rejects(storage.incr("max", 1, 0), { code: "E_GUEST_RESULT_INVALID" })
    assert.equal(storage.get("max"), String(Number.MAX_SAFE_INTEGER))
  })

  it("takes a thousand atomic operations at a time and refuses more until some are done", async (t) => {
    const { storage } = await open(t)
    const flood = await Promise.allSettled(Array.from({ length: 1500 }, () => storage.incr("n", 1, 0)))
    assert.equal(flood.filter(({ status }) => status === "fulfilled").length, 1000)
    const refused = flood.find((result) => result.status === "rejected")
    assert.equal(refused?.reason.code, "E_LIMIT_STORAGE")
    assert.equal(await storage.incr("n", 1, 0), 1001)
  })

  it("bounds the values that atomic operations under way hold, and takes more when they are done", async (t) => {
    const { storage } = await open(t, { quotaBytes: 4 * 1024 * 1024 })
    const large = new Uint8Array(3 * 1024 * 1024)
    const flood = await Promise.allSettled(Array.from({ length: 10 }, () => storage.cas("n", undefined, large, 0)))
    assert.equal(flood.filter(({ status }) => status === "fulfilled").length, 2)
    const refused = flood.find((result) => result.status === "rejected")
    assert.equal(refused?.reason.code, "E_LIMIT_STORAGE")
    assert.equal(await storage.cas("n", large, large, 0), true)
  })

  it("compares and sets, telling text from bytes and absent from empty", async (t) => {
    const { storage } = await open(t, { quotaBytes: 200 })
    assert.equal(await storage.cas("k", "", "no", 0), false)
    assert.equal(await storage.cas("k", undefined, "1", 0), true)
    assert.equal(await storage.cas("k", undefined, "2", 0), false)
    assert.equal(await storage.cas("k", Uint8Array.of(49), "2", 0), false)
    assert.equal(await storage.cas("k", "1", Uint8Array.of(2), 0), true)
    assert.equal(await storage.cas("k", Uint8Array.of(2), "3", 0), true)
    assert.equal(storage.get("k"), "3")
    await assert.rejects(storage.cas("k", "3", "x".repeat(200), 0), { code: "E_LIMIT_STORAGE" })
    assert.equal(storage.get("k"), "3")
  })

  it("keeps plugins, owners and tenants apart", async (t) => {
    const { storage, of } = await open(t)
    storage.set("k", "mine", 0)
    for (const other of [
      { ...MINE, plugin: "other" },
      { ...MINE, owner: "someone-else" },
      { ...MINE, tenant: "null" },
      { ...MINE, tenant: "" },
    ]) {
      assert.equal(of(other).get("k"), undefined)
    }
    assert.equal(of(MINE).get("k"), "mine")
  })

  it("has everything flushed back after a restart, and not what was deleted or expired", async (t) => {
    const dir = temporary(t)
    const clock = { nowMs: 0 }
    {
      await using first = connect(dir, { clock })
      first.storage.set("kept", Uint8Array.of(0, 255), 0)
      first.storage.set("gone", "x", 0)
      first.storage.set("short", "x", 10)
      await first.storage.flush()
      first.storage.delete("gone")
      first.storage.set("late", "saved on close", 0)
    }
    clock.nowMs = 10
    await using second = connect(dir, { clock })
    assert.deepEqual(second.storage.keys("", 10), ["kept", "late"])
    assert.deepEqual(second.storage.get("kept"), Uint8Array.of(0, 255))
  })

  it("keeps memory bounded: partitions not in use are put out and come back when needed", async (t) => {
    const { of, pool } = await open(t, { maxBytes: 100_000 })
    for (let tenant = 0; tenant < 50; tenant++) {
      const storage = of({ ...MINE, tenant: String(tenant) })
      storage.set("k", String(tenant).padStart(10_000, "x"), 0)
      await storage.flush()
    }
    assert.ok(pool.bytes <= 100_000, `${pool.bytes} bytes are resident`)
    for (let tenant = 0; tenant < 50; tenant++) {
      assert.equal(of({ ...MINE, tenant: String(tenant) }).get("k"), String(tenant).padStart(10_000, "x"))
    }
    assert.ok(pool.bytes <= 100_000)
  })

  it("never puts out a partition with changes that are not saved", async (t) => {
    const { of } = await open(t, { maxBytes: 1 })
    const first = of({ ...MINE, tenant: "first" })
    first.set("k", "not saved yet", 0)
    for (let tenant = 0; tenant < 5; tenant++) of({ ...MINE, tenant: String(tenant) }).get("k")
    assert.equal(first.get("k"), "not saved yet")
  })

  it("shares set, delete and incr between two processes", async (t) => {
    const dir = temporary(t)
    const here = connect(dir, {})
    t.after(() => here[Symbol.asyncDispose]())
    const ask = peer(t, dir)
    assert.equal(await ask({ op: "get", key: "k" }), null)

    here.storage.set("k", "from here", 0)
    await until(async () => (await ask({ op: "get", key: "k" })) === "from here")
    await ask({ op: "set", key: "k", value: "from there" })
    await until(() => here.storage.get("k") === "from there")
    here.storage.delete("k")
    await until(async () => (await ask({ op: "get", key: "k" })) === null)

    const theirs = ask({ op: "incr", key: "n", times: 100 })
    for (let i = 0; i < 100; i++) await here.storage.incr("n", 1, 0)
    await theirs
    await until(() => here.storage.get("n") === "200")
  })

  it("agrees with the other process in the end when both write the same key at the same time", async (t) => {
    const dir = temporary(t)
    const here = connect(dir, {})
    t.after(() => here[Symbol.asyncDispose]())
    const ask = peer(t, dir)
    for (let round = 0; round < 20; round++) {
      here.storage.set("k", `here ${round}`, 0)
      await ask({ op: "set", key: "k", value: `there ${round}` })
      if (round % 3 === 0) await here.storage.flush()
    }
    let winner: unknown
    await until(async () => {
      winner = here.storage.get("k")
      return String(winner).endsWith(" 19") && (await ask({ op: "get", key: "k" })) === winner
    })
  })

  it("uses little disk and no time for a key that is set over and over", async (t) => {
    const { storage } = await open(t)
    for (let i = 0; i < 100_000; i++) storage.set("k", String(i), 0)
    await storage.flush()
    assert.equal(storage.get("k"), "99999")
  })
})

interface Settings {
  readonly clock?: { nowMs: number }
  readonly quotaBytes?: number
  readonly maxBytes?: number
}

async function open(t: TestContext, settings: Settings = {}) {
  const connection = connect(temporary(t), settings)
  t.after(() => connection[Symbol.asyncDispose]())
  return connection
}

function connect(dir: string, settings: Settings) {
  const nowMs = settings.clock === undefined ? Date.now : () => settings.clock!.nowMs
  const state = openLmdbStore({ dir, log: { error: () => {} } })
  const pool = new PartitionPool({ state, nowMs, maxBytes: settings.maxBytes ?? 1 << 24 })
  const of = (identity: StorageIdentity) =>
    new PartitionStorage(identity, { pool, nowMs, quotaBytes: settings.quotaBytes ?? 1 << 20 })
  return {
    pool,
    of,
    storage: of(MINE),
    async [Symbol.asyncDispose]() {
      await pool[Symbol.asyncDispose]()
      await state[Symbol.asyncDispose]()
    },
  }
}

/** Starts a second process; the function sends it one request and gives its answer. */
function peer(t: TestContext, dir: string): (request: object) => Promise<unknown> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "children", "storage-peer.ts"), dir], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  t.after(() => child.kill("SIGKILL"))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return async (request) => {
    child.stdin.write(`${JSON.stringify(request)}\n`)
    return JSON.parse((await lines.next()).value ?? '{"answer":"the process is gone"}').answer
  }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 2000; attempt++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.fail("did not become true in 10 seconds")
}

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "bext-storage-"))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
