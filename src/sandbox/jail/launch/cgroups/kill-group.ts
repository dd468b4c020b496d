import { join } from "node:path"
import { membersOf } from "./members.ts"
import { writeFile } from "./write-file.ts"

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
