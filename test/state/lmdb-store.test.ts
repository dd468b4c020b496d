import assert from "node:assert/strict"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { describe, it, type TestContext } from "node:test"
import { open as openRaw } from "lmdb"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import { entry, keyValueContract, PARTITION } from "./key-value-contract.ts"

const silent = { error: () => {} }

describe("LMDB store", () => {
  keyValueContract("lmdb", async () => {
    const dir = mkdtempSync(join(tmpdir(), "bext-state-"))
    const store = openLmdbStore({ dir, log: silent })
    const close = store[Symbol.asyncDispose].bind(store)
    store[Symbol.asyncDispose] = async () => {
      await close()
      rmSync(dir, { recursive: true, force: true })
    }
    return store
  })

  it("keeps its folder to the user that runs the server", async (t) => {
    const dir = temporary(t)
    await using _store = openLmdbStore({ dir, log: silent })
    assert.equal(statSync(join(dir, "state")).mode & 0o777, 0o700)
  })

  it("gives everything back after it was closed and opened again", async (t) => {
    const dir = temporary(t)
    {
      await using store = openLmdbStore({ dir, log: silent })
      await store.write(PARTITION, new Map([["a", entry("1", 99)]]))
    }
    await using store = openLmdbStore({ dir, log: silent })
    assert.deepEqual(store.read(PARTITION, "a"), entry("1", 99))
  })

  it("loses no flushed key and tears no value when the process is killed with SIGKILL between writes", async (t) => {
    const dir = temporary(t)
    const flushed = new Set<number>()
    for (let round = 0; round < 3; round++) {
      const child = start(t, "write-until-killed.ts", dir)
      const wanted = 5 + round * 7
      let seen = 0
      for await (const line of createInterface({ input: child.stdout! })) {
        flushed.add(Number(line))
        if (++seen === wanted) child.kill("SIGKILL")
      }
    }
    await using store = openLmdbStore({ dir, log: silent })
    const all = await store.load(PARTITION)
    for (const number of flushed) assert.ok(all.has(`key-${number}`), `key-${number} was flushed and is gone`)
    for (const [key, { value }] of all) {
      const unit = key === "same" ? String(value).slice(0, 1) : key.slice(4).padStart(8, "0")
      assert.equal(value, unit.repeat(key === "same" ? 20_000 : 2000), `${key} is torn`)
    }
  })

  it("goes on when another process is killed while it writes, holding the lock or not", async (t) => {
    const dir = temporary(t)
    await using store = openLmdbStore({ dir, log: silent })
    for (let round = 0; round < 5; round++) {
      const child = start(t, "write-until-killed.ts", dir)
      let seen = 0
      for await (const _line of createInterface({ input: child.stdout! })) {
        await store.write(PARTITION, new Map([["mine", entry(`${round}-${seen}`)]]))
        if (++seen === 3 + round) child.kill("SIGKILL")
      }
      await store.update(PARTITION, "counter", (current) => entry(String(Number(current?.value ?? 0) + 1)))
    }
    assert.deepEqual(store.read(PARTITION, "counter"), entry("5"))
  })

  it("loses no commit of any process while others commit and sync", async (t) => {
    const dir = temporary(t)
    const [processes, times] = [4, 400]
    const children = Array.from({ length: processes }, () => start(t, "count-up.ts", dir, String(times)))
    await Promise.all(children.map((child) => once(child, "exit")))
    await using store = openLmdbStore({ dir, log: silent })
    assert.deepEqual(store.read(PARTITION, "counter"), entry(String(processes * times)))
  })

  it("tells other processes which keys changed, not those it changed itself", async (t) => {
    const dir = temporary(t)
    await using here = openLmdbStore({ dir, log: silent })
    await using there = openLmdbStore({ dir, log: silent })
    const mine: string[] = []
    const news = Promise.withResolvers<string>()
    here.watch({ changed: (_partition, key) => mine.push(key), reset: () => mine.push("reset") })
    there.watch({
      changed: (partition, key) => news.resolve(`${partition} ${key}`),
      reset: () => news.reject(new Error("reset")),
    })
    await here.write(PARTITION, new Map([["news", entry("1")]]))
    assert.equal(await news.promise, `${PARTITION} news`)
    const answer = Promise.withResolvers<void>()
    here.watch({ changed: () => answer.resolve(), reset: () => answer.resolve() })
    await there.update(PARTITION, "answer", () => entry("2"))
    await answer.promise
    assert.deepEqual(mine, ["answer"])
  })

  it("tells a process that did not look for long that it must load everything again", async (t) => {
    const dir = temporary(t)
    await using here = openLmdbStore({ dir, log: silent })
    await using there = openLmdbStore({ dir, log: silent })
    await there.write(PARTITION, new Map([["missed", entry("1")]]))
    const later = performance.now() + 11_000
    t.mock.method(performance, "now", () => later)
    await there.write(PARTITION, new Map([["seen", entry("2")]]))
    const told = Promise.withResolvers<string>()
    here.watch({ changed: (_partition, key) => told.resolve(key), reset: () => told.resolve("reset") })
    assert.equal(await told.promise, "reset")
  })

  it("clears up the streams of processes that ended", async (t) => {
    const dir = temporary(t)
    for (let process = 0; process < 3; process++) {
      await using store = openLmdbStore({ dir, log: silent })
      await store.write(PARTITION, new Map([["k", entry(String(process))]]))
    }
    const later = Date.now() + 61_000
    t.mock.method(Date, "now", () => later)
    await using last = openLmdbStore({ dir, log: silent })
    await last.write(PARTITION, new Map([["k", entry("last")]]))
    const root = openRaw({ path: join(dir, "state"), maxDbs: 8, noSubdir: false })
    const count = (name: string) => root.openDB({ name, encoding: "binary", keyEncoding: "binary" }).getCount()
    assert.deepEqual([count("streams"), count("batches"), count("entries")], [1, 1, 1])
    await root.close()
  })

  it("answers a full disk with a code, logs why once, keeps reading, and writes again once there is space", async (t) => {
    const dir = temporary(t)
    const script = join(import.meta.dirname, "children", "fill-disk.ts")
    const child = spawn("sh", ["-c", 'ulimit -S -f 600; exec "$0" "$@"', process.execPath, script, dir], {
      stdio: ["pipe", "pipe", "ignore"],
    })
    t.after(() => child.kill("SIGKILL"))
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const report = JSON.parse((await lines.next()).value ?? "{}")
    assert.equal(report.code, "E_STATE_UNAVAILABLE")
    assert.equal(report.first, "kept")
    assert.equal(report.failures, 3)
    assert.equal(report.logged.length, 1)
    assert.match(report.logged[0], /cannot write the state in .*\[E_STATE_UNAVAILABLE\]/)
    const lifted = spawnSync("prlimit", ["--pid", String(child.pid), "--fsize=unlimited"])
    if (lifted.status !== 0) return t.diagnostic("prlimit is missing: recovery not checked")
    child.stdin.write("go\n")
    assert.deepEqual(JSON.parse((await lines.next()).value ?? "{}"), { recovered: true })
  })

  it("says which folder it cannot use", (t) => {
    const dir = temporary(t)
    writeFileSync(join(dir, "file"), "")
    assert.throws(() => openLmdbStore({ dir: join(dir, "file"), log: silent }), {
      code: "E_STATE_UNAVAILABLE",
      message: /cannot open the state in .*file/,
    })
  })

  it("makes the folders above its own, and says when the file system refuses, instead of trying for ever", async (t) => {
    const dir = temporary(t)
    await using _store = openLmdbStore({ dir: join(dir, "a/b"), log: silent })
    assert.equal(statSync(join(dir, "a/b")).mode & 0o777, 0o700)
    if (!existsSync("/proc/self")) return t.diagnostic("no /proc: a refusal was not tried")
    assert.throws(() => openLmdbStore({ dir: "/proc/bext", log: silent }), {
      code: "E_STATE_UNAVAILABLE",
      message: /cannot open the state in \/proc\/bext/,
    })
  })

  it("refuses a data file that is not its own instead of crashing on it", async (t) => {
    for (const content of ["x", "garbage ".repeat(2000), Buffer.alloc(8192)]) {
      const dir = temporary(t)
      mkdirSync(join(dir, "state"))
      writeFileSync(join(dir, "state", "data.mdb"), content)
      assert.throws(() => openLmdbStore({ dir, log: silent }), {
        code: "E_STATE_UNAVAILABLE",
        message: /data\.mdb is damaged/,
      })
    }
    const dir = temporary(t)
    mkdirSync(join(dir, "state"))
    writeFileSync(join(dir, "state", "data.mdb"), "")
    await using store = openLmdbStore({ dir, log: silent })
    await store.write(PARTITION, new Map([["k", entry("v")]]))
  })

  it("says so when the folder is read-only", (t) => {
    const dir = temporary(t)
    chmodSync(dir, 0o500)
    const store = join(import.meta.dirname, "../../src/state/lmdb-store.ts")
    const source = `
      const { openLmdbStore } = await import(${JSON.stringify(store)})
      // Root may write everywhere; somebody else may not.
      if (process.getuid?.() === 0) process.setuid(65534)
      try { openLmdbStore({ dir: ${JSON.stringify(dir)}, log: console }) } catch (error) { console.log(error.code) }`
    const child = spawnSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8" })
    assert.equal(child.stdout.trim(), "E_STATE_UNAVAILABLE", child.stderr)
  })
})

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "bext-state-"))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function start(t: TestContext, script: string, ...args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, "children", script), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  t.after(() => child.kill("SIGKILL"))
  return child
}
