import assert from "node:assert/strict"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { ControlGroup } from "../../../../../src/sandbox/jail/launch/cgroups/control-group.ts"
import { version1Layout } from "../../../../../src/sandbox/jail/launch/cgroups/version-1-layout.ts"
import { version2Layout } from "../../../../../src/sandbox/jail/launch/cgroups/version-2-layout.ts"
import { createProject } from "../../../../support/serve.ts"

const LIMITS = { memoryBytes: 1_048_576, pids: 7, cpus: 0.25 }

/** Those that every kernel has. */
const VERSION_1_FILES = emptyFiles(
  ...[
    "memory.limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "pids.max",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
  ],
)
const VERSION_2_FILES = emptyFiles("memory.max", "memory.oom.group", "pids.max", "cpu.max")

describe("the files of a group, in a folder that no kernel looks at", () => {
  it("have the limits of version 2, without swap and with one end for all", () => {
    using project = createProject({ ...VERSION_2_FILES, "memory.swap.max": "" })
    version2Layout(project.folder).writeLimits(LIMITS)
    const written = (file: string) => readFileSync(join(project.folder, file), "utf8")
    assert.equal(written("memory.max"), "1048576")
    assert.equal(written("memory.swap.max"), "0")
    assert.equal(written("memory.oom.group"), "1")
    assert.equal(written("pids.max"), "7")
    assert.equal(written("cpu.max"), "25000 100000")
  })

  it("have no limit of swap where version 2 has no file for it", () => {
    using project = createProject(VERSION_2_FILES)
    version2Layout(project.folder).writeLimits(LIMITS)
    assert.ok(!existsSync(join(project.folder, "memory.swap.max")))
  })

  it("have the limits of version 1, memory and swap together", () => {
    const files = { "memory.memsw.limit_in_bytes": "", "memory.kmem.tcp.limit_in_bytes": "" }
    using project = createProject({ ...VERSION_1_FILES, ...files })
    version1Layout(oneFolder(project.folder)).writeLimits(LIMITS)
    const written = (file: string) => readFileSync(join(project.folder, file), "utf8")
    assert.equal(written("memory.limit_in_bytes"), "1048576")
    assert.equal(written("memory.memsw.limit_in_bytes"), "1048576")
    assert.equal(written("memory.oom_control"), "0")
    assert.equal(written("memory.kmem.tcp.limit_in_bytes"), "65536")
    assert.equal(written("pids.max"), "7")
    assert.equal(written("cpu.cfs_period_us"), "100000")
    assert.equal(written("cpu.cfs_quota_us"), "25000")
  })

  it("keep a group of version 1 out of swap where that is not accounted for", () => {
    using project = createProject(VERSION_1_FILES)
    version1Layout(oneFolder(project.folder)).writeLimits(LIMITS)
    assert.equal(readFileSync(join(project.folder, "memory.swappiness"), "utf8"), "0")
  })

  it("are joined once in each hierarchy of version 1, however many controllers share one", () => {
    const shared = version1Layout({ memory: "/m/x", pids: "/p/x", cpu: "/c/x", cpuacct: "/c/x" })
    assert.deepEqual(shared.folders, ["/m/x", "/p/x", "/c/x"])
    assert.deepEqual(shared.joinFiles, ["/m/x/tasks", "/p/x/tasks", "/c/x/tasks"])
    assert.deepEqual(version2Layout("/x").joinFiles, ["/x/cgroup.procs"])
  })

  it("say what was used and what happened, in both versions", () => {
    using project = createProject({
      "v2/cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nnr_throttled 3\n",
      "v2/memory.current": "4096000\n",
      "v2/memory.peak": "5000000\n",
      "v2/memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n",
      "v2/pids.events": "max 4\n",
      "v1/cpuacct.usage": "1234567000\n",
      "v1/memory.usage_in_bytes": "4096000\n",
      "v1/memory.max_usage_in_bytes": "5000000\n",
      "v1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
      "v1/pids.events": "max 4\n",
    })
    for (const layout of [
      version2Layout(join(project.folder, "v2")),
      version1Layout(oneFolder(join(project.folder, "v1"))),
    ]) {
      const group = new ControlGroup(layout, () => {})
      assert.equal(group.cpuMs(), 1234.567)
      assert.equal(group.memoryBytes(), 4_096_000)
      assert.equal(group.peakBytes(), 5_000_000)
      assert.equal(group.oomKills(), 3)
      assert.equal(group.pidsRefused(), 4)
      // Read afresh, from the same descriptor.
      writeFileSync(layout.memoryFile, "77\n")
      assert.equal(group.memoryBytes(), 77)
    }
  })

  it("say nothing where the kernel is older than a file, or they are gone", () => {
    using project = createProject({ "cpu.stat": "usage_usec 5000\n" })
    const group = new ControlGroup(version2Layout(project.folder), () => {})
    assert.equal(group.peakBytes(), null)
    assert.equal(group.oomKills(), 0)
    assert.equal(group.pidsRefused(), 0)
    assert.equal(group.memoryBytes(), 0)
    assert.equal(group.cpuMs(), 5)
  })
})

function oneFolder(folder: string) {
  return { memory: folder, pids: folder, cpu: folder, cpuacct: folder }
}

function emptyFiles(...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, ""]))
}
