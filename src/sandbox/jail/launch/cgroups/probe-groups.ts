import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync } from "node:fs"
import type { Cgroup, Cgroups } from "./cgroups.ts"

const LIMITS = { memoryBytes: 64 * 2 ** 20, pids: 8, cpus: 1 }

/** @throws {Error} When no group with limits can be made, joined or removed. */
export async function probeGroups(cgroups: Cgroups): Promise<void> {
  const group = cgroups.create("probe", LIMITS)
  try {
    if (!(await canBeJoined(group))) throw new Error(`a process cannot join a control group of ${cgroups.version}`)
  } finally {
    await group.remove()
  }
}

async function canBeJoined(group: Cgroup): Promise<boolean> {
  const descriptors = group.openJoinFiles()
  const script = descriptors.map((_, index) => `echo 0 >&${index + 3}`).join(" && ")
  const shell = spawn("/bin/sh", ["-c", script], { stdio: ["ignore", "ignore", "ignore", ...descriptors] })
  for (const descriptor of descriptors) closeSync(descriptor)
  const [code] = await once(shell, "exit")
  return code === 0
}
