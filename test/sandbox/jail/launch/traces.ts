import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

/** Pids of processes that have `mark` among their arguments: a jail's own, and bubblewrap's around it. */
export function processesWith(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).split("\0").includes(mark))
    .map(Number)
}

/** Processes that this one started and has not reaped. */
export function childrenOf(pid: number | string): string[] {
  return list(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean),
  )
}

/** And what those started, zombies included. */
export function descendantsOf(pid: number | string): string[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}

/** Folders of cgroups that a process made, jails' own included. */
export function cgroupsOf(pid: number): string[] {
  const found = execFileSync("find", ["/sys/fs/cgroup", "-type", "d", "-path", `*/bext-${pid}-*`], {
    encoding: "utf8",
    // Folders that vanish meanwhile.
    stdio: ["ignore", "pipe", "ignore"],
  })
  return found.split("\n").filter(Boolean)
}

export function openDescriptors(): string[] {
  return readdirSync("/proc/self/fd")
}

/** Waits until it holds, for at most 20 s. */
export async function until(holds: () => boolean): Promise<boolean> {
  for (let waited = 0; waited < 20_000; waited += 20) {
    if (holds()) return true
    await sleep(20)
  }
  return false
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
