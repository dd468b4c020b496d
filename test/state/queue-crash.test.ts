import assert from "node:assert/strict"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { describe, it, type TestContext } from "node:test"
import { done, lease, openQueues, SETTINGS, temporaryFolder } from "./queue-project.ts"

/** Leases of the dead end soon. */
const QUICK = { ...SETTINGS, visibilityMs: 400, maxAttempts: 1000, maxMessages: 1_000_000 }
const KILLS = 8

describe("queues and processes that are killed", () => {
  it("lose no message and keep the order of each key when pushers and handlers are killed with SIGKILL anywhere", async (t) => {
    const dir = temporaryFolder(t)
    const pushed: string[] = []
    const file = join(dir, "handled")
    writeFileSync(file, "")
    for (let kill = 0; kill < KILLS; kill++) {
      const next = pushed.length === 0 ? 0 : Math.max(...pushed.map((line) => Number(line.split(" ")[1]))) + 1
      const pusher = start(t, "push-messages.ts", [dir, String(next), JSON.stringify(QUICK)])
      const handlers = [0, 1].map(() => start(t, "handle-messages.ts", [dir, file, JSON.stringify(QUICK)]))
      const all = [pusher, ...handlers]
      const ended = [collect(pusher, pushed), ...handlers.map((child) => collect(child, []))]
      const target = linesOf(file).length + 5 + Math.floor(Math.random() * 40)
      await until(() => linesOf(file).length >= target)
      for (const child of all.sort(() => Math.random() - 0.5)) {
        child.kill("SIGKILL")
        if (Math.random() < 0.5) await new Promise((later) => setTimeout(later, Math.random() * 20))
      }
      await Promise.all(ended)
    }
    const { queues } = openQueues(t, { dir })
    while ((await queues.list())[0]!.messages > 0) {
      for (const held of await lease(queues, 100, QUICK)) {
        appendFileSync(file, `${held.key} ${held.value}\n`)
        await done(queues, [held], QUICK)
      }
    }
    const handled = linesOf(file)
    const seen = new Set(handled)
    assert.deepEqual(
      pushed.filter((line) => !seen.has(line)),
      [],
      "every message whose push resolved is handled",
    )
    // What was not acknowledged comes again, right after itself: nothing behind it in its key was begun.
    for (const key of ["a", "b", "c"]) {
      const numbers = handled.filter((line) => line.startsWith(`${key} `)).map((line) => Number(line.slice(2)))
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
        `key ${key} in order`,
      )
    }
  })

  it("hand each message to exactly one of two living processes", async (t) => {
    const dir = temporaryFolder(t)
    const { queues } = openQueues(t, { dir })
    const long = { ...QUICK, visibilityMs: 60_000 }
    const file = join(dir, "handled")
    const handlers = [0, 1].map(() => start(t, "handle-messages.ts", [dir, file, JSON.stringify(long)]))
    const ready: string[] = []
    for (const child of handlers) void collect(child, ready)
    await until(() => ready.length === 2)
    const pushes: Promise<string>[] = []
    for (let n = 0; n < 400; n++)
      pushes.push(queues.push(long, { value: String(n), key: null, tenant: null, delayMs: 0 }))
    await Promise.all(pushes)
    for (;;) {
      if ((await queues.list())[0]!.messages === 0) break
      await new Promise((later) => setTimeout(later, 5))
    }
    for (const child of handlers) child.kill("SIGKILL")
    const handled = linesOf(file)
    assert.equal(handled.length, 400)
    assert.equal(new Set(handled).size, 400)
  })

  it("answer a full disk with a code, hold nothing half-written, and go on once there is space", async (t) => {
    const dir = temporaryFolder(t)
    const script = join(import.meta.dirname, "children", "fill-disk-with-messages.ts")
    const settings = JSON.stringify(QUICK)
    const child = spawn("sh", ["-c", 'ulimit -S -f 3000; exec "$0" "$@"', process.execPath, script, dir, settings], {
      stdio: ["pipe", "pipe", "ignore"],
    })
    t.after(() => child.kill("SIGKILL"))
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const report = JSON.parse((await lines.next()).value ?? "{}")
    assert.ok(report.pushed > 10, JSON.stringify(report))
    assert.deepEqual(report.codes, ["E_STATE_UNAVAILABLE"])
    assert.equal(report.messages, report.pushed, "a push that failed left nothing")
    assert.equal(report.logged, 1)
    const lifted = spawnSync("prlimit", ["--pid", String(child.pid), "--fsize=unlimited"])
    if (lifted.status !== 0) return t.diagnostic("prlimit is missing: recovery not checked")
    child.stdin.write("go\n")
    assert.deepEqual(JSON.parse((await lines.next()).value ?? "{}"), { handled: report.pushed + 1, left: 0 })
  })
})

function start(t: TestContext, script: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, "children", script), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  t.after(() => child.kill("SIGKILL"))
  return child
}

function linesOf(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").slice(0, -1)
}

/** Adds the lines that a child prints to a list; resolves when it has ended. */
async function collect(child: ChildProcess, into: string[]): Promise<void> {
  const lines = createInterface({ input: child.stdout! })
  lines.on("line", (line) => into.push(line))
  await once(lines, "close")
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error("it never happened")
    await new Promise((later) => setTimeout(later, 5))
  }
}
