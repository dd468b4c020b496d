import { mkdirSync } from "node:fs"
import { basename, dirname, join, relative, sep } from "node:path"
import { codeOf } from "./code-of.ts"
import { enableControllers, missingControllers } from "./enable-controllers.ts"
import type { Position } from "./find-hierarchies.ts"
import { membersOf } from "./members.ts"
import { writeElsewhere } from "./write-elsewhere.ts"

/** The group that processes are moved to where they may not stay beside the jails' groups. */
const HOST_GROUP = "bext-host"

/** Processes may start while others are moved. */
const ATTEMPTS = 5

/**
 * Makes the group that bext is in one whose groups can have limits: turns the controllers on above it, as far as bext may, and in
 * it. A group with processes of its own cannot have such groups; then all of them are moved into one below it, `bext-host`, and
 * stay under every limit they had.
 * @returns Folder of the group below which jails go.
 * @throws {Error} Why it cannot be, for people.
 * Source: Documentation/admin-guide/cgroup-v2.rst, "Enabling and Disabling", "No Internal Process Constraint".
 */
export async function prepareVersion2({ top, own }: Position): Promise<string> {
  // Another process of bext, or this one, has done it before.
  const base = basename(own) === HOST_GROUP && own !== top ? dirname(own) : own
  for (const folder of above(base, top)) await enableControllers(folder)
  const missing = missingControllers(base, "cgroup.controllers")
  if (missing.length > 0) throw new Error(`control groups of version 2 do not offer ${missing.join(", ")} in ${base}`)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await enableControllers(base)) return base
    await moveMembers(base, join(base, HOST_GROUP))
  }
  throw new Error(`the controllers of control groups of version 2 cannot be turned on in ${base}`)
}

/** From the top down, without the folder itself. */
function above(folder: string, top: string): string[] {
  const names = relative(top, folder).split(sep).filter(Boolean)
  return names.map((_, depth) => join(top, ...names.slice(0, depth)))
}

async function moveMembers(from: string, to: string): Promise<void> {
  // 0 is a process of another PID namespace, which cannot be named here.
  const pids = membersOf(from).filter((pid) => pid > 0)
  if (pids.length === 0) return
  try {
    mkdirSync(to)
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
  await writeElsewhere(join(to, "cgroup.procs"), pids.map(String))
}
