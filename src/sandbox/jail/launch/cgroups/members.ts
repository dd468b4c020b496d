import { readFileSync } from "node:fs"
import { join } from "node:path"
import { codeOf } from "./code-of.ts"
import { writeFile } from "./write-file.ts"

/** Pids in the group that this folder is. 0 stands for a process that has no number in our PID namespace. */
export function membersOf(folder: string): number[] {
  try {
    return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number)
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(codeOf(error))) return []
    throw error
  }
}

/**
 * Ends everything in a group, at once.
 * @param folders - Of the same group, one in each hierarchy.
 * Source: Documentation/admin-guide/cgroup-v2.rst (`cgroup.kill`, since Linux 5.14).
 */
export function killGroup(folders: readonly string[]): void {
  const left = folders.filter((folder) => !tryWrite(join(folder, "cgroup.kill"), "1"))
  // First nothing new, so that what is listed then is all there is.
  for (const folder of left) tryWrite(join(folder, "pids.max"), "0")
  for (const folder of left) membersOf(folder).forEach(kill)
}

function tryWrite(file: string, text: string): boolean {
  try {
    writeFile(file, text)
    return true
  } catch {
    return false
  }
}

function kill(pid: number): void {
  // 0 would be our own process group.
  if (pid <= 1 || pid === process.pid) return
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended by itself. One that cannot be ended keeps its group from being removed, which is told then.
  }
}
