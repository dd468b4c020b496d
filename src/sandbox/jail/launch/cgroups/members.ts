import { readFileSync } from "node:fs"
import { join } from "node:path"
import { codeOf } from "./code-of.ts"

/** Pids in the group that this folder is. 0 stands for a process that has no number in our PID namespace. */
export function membersOf(folder: string): number[] {
  try {
    return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number)
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(codeOf(error))) return []
    throw error
  }
}
