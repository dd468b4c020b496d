import { join } from "node:path"
import { codeOf } from "./code-of.ts"
import { cpuQuota, type Layout } from "./layout.ts"
import { writeFile, writeIfThere } from "./write-file.ts"

/** Controllers of version 1 that a jail needs. */
export const VERSION_1_CONTROLLERS = ["memory", "pids", "cpu", "cpuacct"] as const
export type Version1Controller = (typeof VERSION_1_CONTROLLERS)[number]

/** On top of the memory of processes: one part in this many. */
const SHARE_OF_SOCKETS = 16

/**
 * A group is a folder in each hierarchy; controllers may share one.
 * @param folderOf - The group's folder in the controller's hierarchy.
 * Source: Documentation/admin-guide/cgroup-v1/memory.rst, pids.rst, cpuacct.rst; Documentation/scheduler/sched-bwc.rst.
 */
export function version1Layout(folderOf: Readonly<Record<Version1Controller, string>>): Layout {
  const { memory, pids, cpu, cpuacct } = folderOf
  const folders = [...new Set(VERSION_1_CONTROLLERS.map((controller) => folderOf[controller]))]
  return {
    folders,
    // Not cgroup.procs: a single thread that moves itself does not wait for every CPU, which takes some ms.
    joinFiles: folders.map((folder) => join(folder, "tasks")),
    cpuFile: join(cpuacct, "cpuacct.usage"),
    cpuUnitsPerMs: 1e6,
    memoryFile: join(memory, "memory.usage_in_bytes"),
    peakFile: join(memory, "memory.max_usage_in_bytes"),
    memoryEventsFile: join(memory, "memory.oom_control"),
    pidsEventsFile: join(pids, "pids.events"),
    writeLimits(limits) {
      writeMemory(memory, limits.memoryBytes)
      writeFile(join(pids, "pids.max"), String(limits.pids))
      writeCpus(cpu, limits.cpus)
    },
    writeCpus: (cpus) => writeCpus(cpu, cpus),
  }
}

function writeMemory(folder: string, bytes: number): void {
  writeFile(join(folder, "memory.limit_in_bytes"), String(bytes))
  // Memory and swap together. After the limit above, which it cannot be below.
  const accountsForSwap = writeIfThere(join(folder, "memory.memsw.limit_in_bytes"), String(bytes))
  // Where swap is not accounted for, nothing of the group may go there.
  if (!accountsForSwap) writeFile(join(folder, "memory.swappiness"), "0")
  // A group inherits that the kernel rather waits than ends anything.
  writeFile(join(folder, "memory.oom_control"), "0")
  // What is on its way between sockets is in no other account, and a few connections of a jail with itself hold many MB.
  writeIfThere(join(folder, "memory.kmem.tcp.limit_in_bytes"), String(Math.ceil(bytes / SHARE_OF_SOCKETS)))
}

function writeCpus(folder: string, cpus: number): void {
  const [quota, period] = cpuQuota(cpus)
  writeFile(join(folder, "cpu.cfs_period_us"), String(period))
  try {
    writeFile(join(folder, "cpu.cfs_quota_us"), String(quota))
  } catch (error) {
    // More than a group above has. That one's quota holds for this one too.
    if (codeOf(error) !== "EINVAL") throw error
    writeFile(join(folder, "cpu.cfs_quota_us"), "-1")
  }
}
