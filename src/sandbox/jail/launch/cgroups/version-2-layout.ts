import { join } from "node:path"
import { cpuQuota, type Layout } from "./layout.ts"
import { writeFile, writeIfThere } from "./write-file.ts"

/** Controllers of version 2 that a jail needs. */
export const VERSION_2_CONTROLLERS = ["memory", "pids", "cpu"] as const

/**
 * A group is one folder.
 * Source: Documentation/admin-guide/cgroup-v2.rst.
 */
export function version2Layout(folder: string): Layout {
  const file = (name: string) => join(folder, name)
  const writeCpus = (cpus: number) => writeFile(file("cpu.max"), cpuQuota(cpus).join(" "))
  return {
    folders: [folder],
    joinFiles: [file("cgroup.procs")],
    cpuFile: file("cpu.stat"),
    cpuUnitsPerMs: 1e3,
    memoryFile: file("memory.current"),
    peakFile: file("memory.peak"),
    memoryEventsFile: file("memory.events"),
    pidsEventsFile: file("pids.events"),
    writeLimits(limits) {
      writeFile(file("memory.max"), String(limits.memoryBytes))
      // Not there in a kernel without swap.
      writeIfThere(file("memory.swap.max"), "0")
      // A program that lost one of its processes is in no state to go on.
      writeFile(file("memory.oom.group"), "1")
      writeFile(file("pids.max"), String(limits.pids))
      writeCpus(limits.cpus)
    },
    writeCpus,
  }
}
