import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { after, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import type { Cgroup, CgroupLimits, Cgroups } from "../../../../../src/sandbox/jail/launch/cgroups/cgroups.ts"
import { findHierarchies } from "../../../../../src/sandbox/jail/launch/cgroups/find-hierarchies.ts"
import { openCgroups } from "../../../../../src/sandbox/jail/launch/cgroups/open-cgroups.ts"
import { processStartTime } from "../../../../../src/sandbox/jail/launch/process-start-time.ts"
import { runInGroup } from "./run-in-group.ts"

const MIB = 2 ** 20
const LIMITS: CgroupLimits = { memoryBytes: 64 * MIB, pids: 32, cpus: 1 }

const found = await openCgroups()
const { version, reason } = found
await found[Symbol.asyncDispose]()
if (version === "none" && process.env.CI === "true" && process.geteuid?.() === 0) throw new Error(reason!)

describe(`control groups in this machine's kernel (${version})`, { skip: reason ?? false, timeout: 120_000 }, () => {
  let groups: Cgroups
  before(async () => {
    groups = await openCgroups()
  })
  after(() => groups[Symbol.asyncDispose]())

  /** Removed with whatever runs in it when the test ends. */
  function create(t: { after(run: () => Promise<void>): void }, limits: Partial<CgroupLimits> = {}): Cgroup {
    const group = groups.create("test", { ...LIMITS, ...limits })
    t.after(() => group.remove())
    return group
  }

  it("are joined by the process that writes 0, and by all it starts from then on", async (t) => {
    const group = create(t)
    const child = runInGroup(group, "sleep 60 & sleep 60 & wait")
    const folder = await folderOf(child)
    await until(() => pidsIn(folder).length === 3)
    assert.ok(pidsIn(folder).includes(child.pid!))
    assert.match(folder, /\/bext-\d+-\d+-\d+-\d+\/test-\d+$/)
  })

  it("end a process that takes more memory, and count it", async (t) => {
    const group = create(t)
    assert.equal(group.oomKills(), 0)
    // The block is dd's memory.
    const child = runInGroup(group, "exec dd if=/dev/zero of=/dev/null bs=200M count=1")
    assert.deepEqual(await once(child, "exit"), [null, "SIGKILL"])
    // Version 2 counts a process again when it ends the rest of the group.
    assert.ok(group.oomKills() >= 1)
    const peak = group.peakBytes()
    assert.ok(peak === null || (peak > LIMITS.memoryBytes * 0.9 && peak <= LIMITS.memoryBytes), String(peak))
  })

  it("end it also where the group they are in would have the kernel wait", async (t) => {
    const owner = dirname(await folderOf(runInGroup(create(t), "sleep 60"), "memory"))
    // Version 2 cannot be told so.
    if (version === "v1") writeFileSync(join(owner, "memory.oom_control"), "1")
    try {
      const child = runInGroup(create(t), "exec dd if=/dev/zero of=/dev/null bs=200M count=1")
      assert.deepEqual(await once(child, "exit"), [null, "SIGKILL"])
    } finally {
      if (version === "v1") writeFileSync(join(owner, "memory.oom_control"), "0")
    }
  })

  it("count files in memory as memory", { skip: !existsSync("/dev/shm") && "there is no /dev/shm" }, async (t) => {
    const group = create(t)
    const file = `/dev/shm/bext-test-${process.pid}`
    t.after(() => rmSync(file, { force: true }))
    const child = runInGroup(group, `dd if=/dev/zero of=${file} bs=1M count=40; echo; read -r line <&1`, "pipe")
    await once(child.stdout!, "data")
    assert.ok(group.memoryBytes() > 40 * MIB, String(group.memoryBytes()))
    const more = runInGroup(group, `exec dd if=/dev/zero of=${file}-2 bs=1M count=40`)
    t.after(() => rmSync(`${file}-2`, { force: true }))
    await once(more, "exit")
    assert.ok(group.oomKills() >= 1)
  })

  it("leave alone what stays below its memory", async (t) => {
    const group = create(t)
    const child = runInGroup(group, "exec dd if=/dev/zero of=/dev/null bs=32M count=4")
    assert.deepEqual(await once(child, "exit"), [0, null])
    assert.equal(group.oomKills(), 0)
  })

  it("bound a fork bomb, and count what could not be started", async (t) => {
    const group = create(t, { pids: 20 })
    // Were there no limit: 2^9 processes for ten seconds.
    const bomb = "bomb() { if [ $1 -gt 0 ]; then bomb $(($1 - 1)) & bomb $(($1 - 1)) & fi; exec sleep 10; }; bomb 8"
    const folder = await folderOf(runInGroup(group, bomb))
    await until(() => group.pidsRefused() > 0)
    assert.ok(pidsIn(folder).length <= 20)
    group.kill()
    await until(() => pidsIn(folder).length === 0)
  })

  it("share out the CPU, and take another share while they run", async (t) => {
    const group = create(t, { cpus: 0.1 })
    const folder = await folderOf(runInGroup(group, "while :; do :; done"), "cpu")
    const statistic = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(read(folder, "cpu.stat"))![1])
    await until(() => statistic("nr_throttled") >= 3)
    group.setCpus(4)
    // A period may still have been under way with the old share.
    const [throttled, used] = [statistic("nr_throttled"), group.cpuMs()]
    await until(() => group.cpuMs() > used + 300)
    assert.ok(statistic("nr_throttled") <= throttled + 1)
  })

  it("take any positive share of the CPU, and no other", (t) => {
    const group = create(t, { cpus: 0.001 })
    for (const cpus of [0.01, 0.5, 1.5, 64]) group.setCpus(cpus)
    for (const cpus of [0, -1, Number.NaN]) assert.throws(() => group.setCpus(cpus), RangeError)
  })

  it("may be given more CPU than the group they are in has", async (t) => {
    // Version 1 takes no quota below one that is in use in a group inside.
    const owner = dirname(await folderOf(runInGroup(create(t, { cpus: 0.1 }), "sleep 60"), "cpu"))
    // What was removed a moment ago may still count.
    await until(() => setQuota(owner, "20000"))
    try {
      const group = create(t, { cpus: 1 })
      await folderOf(runInGroup(group, "sleep 60"))
      group.setCpus(2)
    } finally {
      setQuota(owner, "none")
    }
  })

  it("say the CPU time of everything in them, also of what has ended and after they are removed", async (t) => {
    const group = create(t)
    const busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done"
    await once(runInGroup(group, `(${busy}) & (${busy}) & wait`), "exit")
    const used = group.cpuMs()
    assert.ok(used > 1, String(used))
    await group.remove()
    assert.ok(group.cpuMs() >= used)
    assert.equal(group.cpuMs(), group.cpuMs())
  })

  it("end at once with all that is in them: other sessions, what ignores signals, what starts more", async (t) => {
    const group = create(t)
    const script = "trap '' TERM HUP INT; setsid sleep 60 & while :; do sleep 0.05; done"
    const child = runInGroup(group, script)
    const folder = await folderOf(child)
    await until(() => pidsIn(folder).length >= 3)
    group.kill()
    assert.deepEqual(await once(child, "exit"), [null, "SIGKILL"])
    await until(() => pidsIn(folder).length === 0)
  })

  it("are removed with what is in them, from every hierarchy, however often that is asked for", async (t) => {
    const group = create(t)
    const child = runInGroup(group, "sleep 60 & exec sleep 60")
    const folders = await foldersOf(child)
    await Promise.all([group.remove(), group.remove()])
    await group.remove()
    for (const folder of folders) assert.ok(!existsSync(folder), folder)
    assert.equal(child.signalCode ?? (await once(child, "exit"))[1], "SIGKILL")
  })

  it("leave no folder and no descriptor behind in 200 rounds", async (t) => {
    const keeper = create(t)
    const owners = (await foldersOf(runInGroup(keeper, "sleep 60"))).map(dirname)
    const descriptors = () => readdirSync("/proc/self/fd").length
    const [entries, open] = [owners.map(foldersIn), descriptors()]
    for (let round = 0; round < 200; round++) {
      const group = groups.create("round", LIMITS)
      if (round % 20 === 0) await once(runInGroup(group, "exit 7"), "exit")
      group.cpuMs()
      group.memoryBytes()
      await group.remove()
    }
    assert.deepEqual(owners.map(foldersIn), entries)
    assert.equal(descriptors(), open)
  })

  it("leave nothing of a group that could not be made", async (t) => {
    const owners = (await foldersOf(runInGroup(create(t), "sleep 60"))).map(dirname)
    const entries = owners.map(foldersIn)
    assert.throws(() => groups.create("test", { ...LIMITS, cpus: 0 }), RangeError)
    assert.throws(() => groups.create("test", { ...LIMITS, pids: Number.NaN }), { code: "EINVAL" })
    assert.throws(() => groups.create("test", { ...LIMITS, memoryBytes: Number.NaN }), { code: "EINVAL" })
    assert.deepEqual(owners.map(foldersIn), entries)
  })

  it("have no name that leads elsewhere or is that of a file", () => {
    for (const name of ["", "..", "../x", "a/b", "cgroup.procs", "a\nb", "a".repeat(200)]) {
      assert.throws(() => groups.create(name, LIMITS), TypeError, name)
    }
  })

  it("end and disappear with what owns them, and another owner in this process keeps its own", async (t) => {
    const kept = create(t)
    const keptChild = runInGroup(kept, "sleep 60")
    await folderOf(keptChild)
    const other = await openCgroups()
    const children = [1, 2].map(() => runInGroup(other.create("test", LIMITS), "sleep 60"))
    const owner = dirname(await folderOf(children[0]!))
    await folderOf(children[1]!)
    await other[Symbol.asyncDispose]()
    for (const child of children) assert.equal(child.signalCode ?? (await once(child, "exit"))[1], "SIGKILL")
    assert.ok(!existsSync(owner))
    assert.equal(keptChild.exitCode ?? keptChild.signalCode, null)
  })

  it("of an owner that was killed are removed by the next, with what still ran in them", async (t) => {
    const owner = spawn("sleep", ["0"])
    const name = ownerName(owner.pid!)
    await once(owner, "exit")
    const { folders, child } = await leaveBehind(t, name)
    await (await openCgroups())[Symbol.asyncDispose]()
    for (const folder of folders) assert.ok(!existsSync(folder), folder)
    assert.equal(child.signalCode ?? (await once(child, "exit"))[1], "SIGKILL")
  })

  it("of an owner that lives, or is in another PID namespace, are left alone", async (t) => {
    const owner = spawn("sleep", ["60"])
    t.after(() => owner.kill("SIGKILL"))
    const elsewhere = ownerName(owner.pid!)
      .replace(/-\d+-1$/, "-1-1")
      .replace(/^bext-\d+-\d+/, "bext-4000000-1")
    for (const name of [ownerName(owner.pid!), elsewhere]) {
      const { folders, child } = await leaveBehind(t, name)
      await (await openCgroups())[Symbol.asyncDispose]()
      for (const folder of folders) assert.ok(existsSync(folder), folder)
      assert.equal(child.exitCode ?? child.signalCode, null)
    }
  })

  /** What an owner of this name leaves behind that is killed: a group with a process in it, in every hierarchy. */
  async function leaveBehind(t: { after(run: () => Promise<void>): void }, name: string) {
    const parents = (await foldersOf(runInGroup(create(t), "sleep 60"))).map((folder) => dirname(dirname(folder)))
    const owners = parents.map((parent) => join(parent, name))
    const folders = owners.map((owner) => join(owner, "left-1"))
    for (const [index, folder] of folders.entries()) {
      mkdirSync(owners[index]!)
      if (version === "v2") writeFileSync(join(owners[index]!, "cgroup.subtree_control"), "+memory +pids +cpu")
      mkdirSync(folder)
    }
    const lists = folders.map((folder) => `echo $$ >${folder}/cgroup.procs`)
    const child = spawn("/bin/sh", ["-c", `${lists.join(" && ")} && exec sleep 60`])
    await until(() => folders.every((folder) => pidsIn(folder).length > 0))
    t.after(async () => {
      child.kill("SIGKILL")
      await until(() => folders.every((folder) => !existsSync(folder) || pidsIn(folder).length === 0))
      for (const folder of [...folders, ...owners]) if (existsSync(folder)) rmdirSync(folder)
    })
    return { folders: [...folders, ...owners], child }
  }
})

/** Source: proc_pid_stat(5), namespaces(7). */
function ownerName(pid: number): string {
  return `bext-${pid}-${processStartTime(pid)}-${/\d+/.exec(readlinkSync("/proc/self/ns/pid"))![0]}-1`
}

/** Folders of the group that the child is in once it has joined one, in each hierarchy that it has joined. */
async function foldersOf(child: ChildProcess): Promise<string[]> {
  const joined = () => {
    const hierarchies = findHierarchies(`/proc/${child.pid}`)!
    const all = [...hierarchies.version1.values(), ...(hierarchies.version2 === null ? [] : [hierarchies.version2])]
    return [...new Set(all.map(({ own }) => own))].filter((folder) => basename(dirname(folder)).startsWith("bext-"))
  }
  // In version 1 there are several, one after the other; a shell that has joined all starts its script.
  let folders: string[] = []
  await until(() => {
    const before = folders.length
    folders = joined()
    return (
      folders.length > 0 &&
      folders.length === before &&
      (version === "v2" || folders.some((f) => f.includes("cpuacct")))
    )
  })
  return folders
}

/** The one of this controller. */
async function folderOf(child: ChildProcess, controller = "pids"): Promise<string> {
  const folders = await foldersOf(child)
  if (version === "v2") return folders[0]!
  const position = findHierarchies(`/proc/${child.pid}`)!.version1.get(controller)!
  assert.ok(folders.includes(position.own))
  return position.own
}

/** @returns Whether the kernel took it. */
function setQuota(folder: string, quota: "none" | "20000"): boolean {
  const [file, text] =
    version === "v2"
      ? ["cpu.max", `${quota === "none" ? "max" : quota} 100000`]
      : ["cpu.cfs_quota_us", quota === "none" ? "-1" : quota]
  try {
    writeFileSync(join(folder, file), text)
    return true
  } catch {
    return false
  }
}

function pidsIn(folder: string): number[] {
  return read(folder, "cgroup.procs").split("\n").filter(Boolean).map(Number)
}

function foldersIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

function read(folder: string, file: string): string {
  return existsSync(folder) ? readFileSync(join(folder, file), "utf8") : ""
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 30_000) throw new Error(`still not so: ${holds}`)
    await sleep(5)
  }
}
