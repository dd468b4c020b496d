import { readFileSync } from "node:fs"
import { join } from "node:path"
import { codeOf } from "./code-of.ts"

/** Pids in the group that this folder is. 0 stands for a process that is in no PID namespace of ours. */
export function membersOf(folder: string): number[] {
  try {
    return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number)
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(codeOf(error))) return []
    throw error
  }
}

/** SIGKILL for all of them. */
export function killMembers(folder: string): void {
  for (const pid of membersOf(folder)) {
    // 0 would be our own process group.
    if (pid > 1 && pid !== process.pid) killIfThere(pid)
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error
  }
}
