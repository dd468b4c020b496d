import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { missing, PYTHON } from "../../../support/programs.ts"
import { JailFolder } from "./jail-folder.ts"
import { IS_ROOT, NO_BUBBLEWRAP, openLauncher, WAYS } from "./launchers.ts"
import { cgroupsOf, descendantsOf, openDescriptors, processesWith, until } from "./traces.ts"

/** Children and a daemon that ignore what can be ignored, left their session, and do not end with their parent. */
const CLINGING = `
import ctypes, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ctypes.CDLL(None).prctl(1, 0)
def cling():
    os.setsid()
    ctypes.CDLL(None).prctl(1, 0)
    while True: time.sleep(1)
for _ in range(3):
    if os.fork() == 0: cling()
if os.fork() == 0:
    if os.fork() == 0: cling()
    os._exit(0)
os.wait()
print("clinging", flush=True)
while True: time.sleep(1)
`

/** Sixty children whose own children outlive them, one after the other. A moment without room for one is no failure. */
const ORPHANS = `
import os, time
def fork():
    for _ in range(1000):
        try: return os.fork()
        except BlockingIOError: time.sleep(0.01)
    os._exit(1)
for _ in range(60):
    if fork() == 0:
        fork()
        os._exit(0)
    assert os.wait()[1] == 0
`

const skip = NO_BUBBLEWRAP || missing(PYTHON)
const HOLD = fileURLToPath(new URL("hold-jails.ts", import.meta.url))
const START = fileURLToPath(new URL("start-jails.ts", import.meta.url))

for (const { way, without, root } of WAYS) {
  describe(`the end of a jail with ${way}`, { skip: skip || (root && !IS_ROOT ? "this is not root" : false) }, () => {
    it("is the end of all it started, at once, whatever they do against it", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const mark = markOf("killed")
      const before = descendantsOf(process.pid)
      const jail = await folder.launch(launcher, ["python3", "-c", CLINGING, mark])
      await once(jail.stdout, "data")
      // The program, its children, the daemon, and bubblewrap's two.
      assert.ok(processesWith(mark).length >= 7)
      jail.kill()
      jail.kill()
      const { code, outOfMemory } = await jail.exited
      assert.deepEqual({ code, outOfMemory }, { code: 137, outOfMemory: false })
      assert.deepEqual(processesWith(mark), [])
      assert.deepEqual(descendantsOf(process.pid), before)
      jail.kill()
    })

    it("comes with its program's, and takes with it what that has left", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const mark = markOf("left")
      const script = CLINGING.replace(/while True: time\.sleep\(1\)\n$/, "os._exit(3)\n")
      const outcome = await folder.run(launcher, ["python3", "-c", script, mark])
      assert.deepEqual([outcome.code, outcome.stdout], [3, "clinging\n"])
      assert.deepEqual(processesWith(mark), [])
    })

    it("comes with bext's, killed without a word, and leaves nothing when bext is there again", async () => {
      using folder = new JailFolder()
      const mark = markOf("orphaned")
      const host = spawn(process.execPath, [HOLD, folder.path, CLINGING, mark, ...without], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      await once(host.stdout, "data")
      assert.ok(processesWith(mark).length >= 14)
      const pid = host.pid ?? 0
      host.kill("SIGKILL")
      await once(host, "exit")
      assert.ok(await until(() => processesWith(mark).length === 0), `left: ${processesWith(mark).join(" ")}`)
      await using _ = await openLauncher()
      assert.deepEqual(cgroupsOf(pid), [])
      assert.deepEqual(
        readdirSync(tmpdir()).filter((name) => name.startsWith(`bext-jail-${pid}-`)),
        [],
      )
    })

    it("comes with bext's, also when that is killed in the middle of a start: no program goes on, or begins", async () => {
      using folder = new JailFolder()
      const mark = markOf("starting")
      for (let round = 0; round < 5; round++) {
        const host = spawn(process.execPath, [START, folder.path, mark, ...without], {
          stdio: ["ignore", "pipe", "inherit"],
        })
        await once(host.stdout, "data")
        // Not synchronisation: any moment will do, and each round should have another.
        await sleep(20 + 13 * round)
        host.kill("SIGKILL")
        await once(host, "exit")
        const programs = () => processesWith(mark).filter((pid) => nameOf(pid) !== "bwrap")
        assert.ok(await until(() => programs().length === 0), `left: ${programs().join(" ")}`)
        // One whose monitor was killed before it had a word from it waits for ever, and runs nothing.
        await until(() => {
          const waiting = processesWith(mark)
          for (const pid of waiting) kill(pid)
          return waiting.length === 0
        })
      }
      await using _ = await openLauncher()
    })

    it("leaves no process, cgroup, mount or descriptor, 50 times over", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      await folder.run(launcher, ["true"])
      const mark = markOf("counted")
      const before = {
        processes: descendantsOf(process.pid),
        cgroups: cgroupsOf(process.pid),
        descriptors: openDescriptors(),
        mounts: mounts(),
      }
      for (let round = 0; round < 10; round++) {
        await Promise.all(
          [0, 1, 2, 3, 4].map(async (place) => {
            if (place < 2) return folder.run(launcher, ["sh", "-c", "sleep 0", mark])
            const jail = await folder.launch(launcher, ["sh", "-c", "while :; do sleep 1; done", mark])
            jail.kill()
            return jail.exited
          }),
        )
      }
      assert.deepEqual(processesWith(mark), [])
      assert.deepEqual(descendantsOf(process.pid), before.processes)
      assert.deepEqual(cgroupsOf(process.pid), before.cgroups)
      assert.equal(openDescriptors().length, before.descriptors.length)
      assert.equal(mounts(), before.mounts)
    })

    it("is not needed for orphans to be reaped: they do not add up to the limit of processes", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const { code, stderr } = await folder.run(launcher, ["python3", "-c", ORPHANS], { limits: { pids: 24 } })
      assert.deepEqual([code, stderr], [0, ""])
    })

    it("keeps what it has used, which counts all of it while it runs", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const spin =
        "import os, time\nif os.fork() == 0: x = bytearray(40_000_000)\nprint(1, flush=True)\nwhile True: pass"
      const jail = await folder.launch(launcher, ["python3", "-c", spin])
      await once(jail.stdout, "data")
      assert.ok(await until(() => jail.cpuMs() > 300))
      assert.ok(await until(() => jail.memoryBytes() > 40_000_000))
      const usedMs = jail.cpuMs()
      jail.kill()
      await jail.exited
      assert.ok(jail.cpuMs() >= usedMs)
      assert.equal(jail.memoryBytes(), 0)
    })
  })
}

describe("what a jail has in memory", { skip }, () => {
  it("ends it at its limit, which is told apart from other ends", async (t) => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    if (launcher.isolation.level !== "full") return t.skip(launcher.isolation.missing.join("; "))
    const fill = "x = bytearray(200_000_000)"
    const outcome = await folder.run(launcher, ["python3", "-c", fill], { limits: { memoryBytes: 64 * 2 ** 20 } })
    assert.equal(outcome.outOfMemory, true)
    assert.notEqual(outcome.code, 0)
    const other = await folder.run(launcher, ["sh", "-c", "kill -9 $$"])
    assert.deepEqual([other.code, other.outOfMemory], [137, false])
  })

  it("cannot be more than its limit for each process without cgroups", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher(["cgroups"])
    const fill = "x = bytearray(200_000_000)"
    const outcome = await folder.run(launcher, ["python3", "-c", fill], { limits: { memoryBytes: 64 * 2 ** 20 } })
    assert.match(outcome.stderr, /MemoryError/)
    assert.equal(outcome.outOfMemory, false)
  })
})

function mounts(): string {
  return readFileSync("/proc/self/mountinfo", "utf8")
}

let marks = 0

function markOf(what: string): string {
  marks += 1
  return `${what}-${process.pid}-${marks}`
}

/** Of its executable; empty when it is gone. */
function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim()
  } catch {
    return ""
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It is gone already.
  }
}
