import { readFileSync } from "node:fs"
import { join } from "node:path"
import { VERSION_2_CONTROLLERS } from "./version-2-layout.ts"
import { writeElsewhere } from "./write-elsewhere.ts"

/** For the groups below this one, where they are to be had. @returns Whether all are on now. */
export async function enableControllers(folder: string): Promise<boolean> {
  const missing = missingControllers(folder, "cgroup.subtree_control")
  if (missing.length === 0) return true
  if (missingControllers(folder, "cgroup.controllers").length > 0) return false
  // In one line, all or nothing: cpu and pids alone would be taken beside processes, and make the group one of threads.
  const line = missing.map((controller) => `+${controller}`).join(" ")
  return writeElsewhere(join(folder, "cgroup.subtree_control"), [line])
}

/** @param file - Which list of them: `cgroup.controllers` or `cgroup.subtree_control`. @returns Those that are needed and not in it. */
export function missingControllers(folder: string, file: string): string[] {
  const names = readFileSync(join(folder, file), "utf8").trim().split(" ")
  return VERSION_2_CONTROLLERS.filter((controller) => !names.includes(controller))
}
