import { readdirSync, readFileSync } from "node:fs"

/** Clock ticks of a second as the kernel tells user space of them, on every architecture that Node runs on: time(7). */
const TICKS_PER_SECOND = 100

/** A process and those it started, without those that left for another parent. From the top. */
export function processTree(pid: number): number[] {
  const pids = [pid]
  for (const next of pids) pids.push(...childrenOf(next))
  return pids
}

/** CPU time of these processes and of children they have waited for. Source: proc_pid_stat(5), fields 14 to 17. */
export function cpuMsOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`)
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    for (const field of fields.slice(11, 15)) ticks += Number(field)
  }
  return (ticks * 1000) / TICKS_PER_SECOND
}

/** What these processes have in memory; what they share is counted for each. Source: proc_pid_status(5). */
export function memoryBytesOf(pids: readonly number[]): number {
  let kibibytes = 0
  for (const pid of pids) kibibytes += Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
  return kibibytes * 1024
}

/** Of all its threads. Source: proc_tid_children(5). */
function childrenOf(pid: number): number[] {
  return list(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`)
      .split(" ")
      .filter((child) => child !== "")
      .map(Number),
  )
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** Empty when the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
