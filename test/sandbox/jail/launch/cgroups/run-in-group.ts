import { type ChildProcess, spawn } from "node:child_process"
import { closeSync } from "node:fs"
import type { Cgroup } from "../../../../../src/sandbox/jail/launch/cgroups/cgroups.ts"

/** Runs a shell script whose shell joins the group first. Its output is thrown away, unless `stdout` says otherwise. */
export function runInGroup(group: Cgroup, script: string, stdout: "ignore" | "pipe" = "ignore"): ChildProcess {
  const descriptors = group.openJoinFiles()
  const join = descriptors.map((_, index) => `echo 0 >&${index + 3} && exec ${index + 3}>&-`).join(" && ")
  const child = spawn("/bin/sh", ["-c", `${join} || exit 99; ${script}`], {
    stdio: ["ignore", stdout, "ignore", ...descriptors],
  })
  for (const descriptor of descriptors) closeSync(descriptor)
  return child
}
