import { readFileSync } from "node:fs"

/**
 * When a process started, in clock ticks since boot; null when there is none. With the pid, it names a process for ever.
 * Source: proc_pid_stat(5), field 22.
 */
export function processStartTime(pid: number): string | null {
  return readStat(pid)?.[19] ?? null
}

/** Pid of its parent; null when there is no such process. Source: proc_pid_stat(5), field 4. */
export function parentOf(pid: number): number | null {
  const parent = readStat(pid)?.[1]
  return parent === undefined ? null : Number(parent)
}

/** Fields from the third on: the second, in parentheses, may have anything in it. */
function readStat(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  } catch {
    return null
  }
}
