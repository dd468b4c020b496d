import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { codeOf } from "./code-of.ts"
import { cpuQuota, type Layout } from "./layout.ts"

/** Controllers of version 1 that a jail needs. */
export const VERSION_1_CONTROLLERS = ["memory", "pids", "cpu", "cpuacct"] as const
export type Version1Controller = (typeof VERSION_1_CONTROLLERS)[number]

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
    pidsMaxFile: join(pids, "pids.max"),
    killFile: null,
    writeLimits(limits) {
      writeMemory(memory, limits.memoryBytes)
      writeFileSync(join(pids, "pids.max"), String(limits.pids))
      writeCpus(cpu, limits.cpus)
    },
    writeCpus: (cpus) => writeCpus(cpu, cpus),
  }
}

function writeMemory(folder: string, bytes: number): void {
  writeFileSync(join(folder, "memory.limit_in_bytes"), String(bytes))
  try {
    // Memory and swap together. After the limit above, which it cannot be below.
    writeFileSync(join(folder, "memory.memsw.limit_in_bytes"), String(bytes))
  } catch (error) {
    if (!isAbsent(error)) throw error
    // Swap is not accounted for on this kernel: then nothing of the group goes there.
    writeFileSync(join(folder, "memory.swappiness"), "0")
  }
}

function writeCpus(folder: string, cpus: number): void {
  const [quota, period] = cpuQuota(cpus)
  writeFileSync(join(folder, "cpu.cfs_period_us"), String(period))
  try {
    writeFileSync(join(folder, "cpu.cfs_quota_us"), String(quota))
  } catch (error) {
    // More than a group above has. That one's quota holds for this one too.
    if (codeOf(error) !== "EINVAL") throw error
    writeFileSync(join(folder, "cpu.cfs_quota_us"), "-1")
  }
}

/** Opening a file to write asks to create it when it is not there, which a cgroup file system denies. */
function isAbsent(error: unknown): boolean {
  return ["ENOENT", "EACCES", "EPERM"].includes(codeOf(error))
}
