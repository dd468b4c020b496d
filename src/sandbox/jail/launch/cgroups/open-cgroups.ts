import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Cgroups } from "./cgroups.ts"
import { codeOf } from "./code-of.ts"
import { enableControllers } from "./enable-controllers.ts"
import { findHierarchies, type Hierarchies } from "./find-hierarchies.ts"
import { GroupTree } from "./group-tree.ts"
import type { Layout } from "./layout.ts"
import { ownerFolderName, removeStaleOwnerFolders } from "./owner-folder.ts"
import { prepareVersion2 } from "./prepare-version-2.ts"
import { probeGroups } from "./probe-groups.ts"
import { VERSION_1_CONTROLLERS, type Version1Controller, version1Layout } from "./version-1-layout.ts"
import { version2Layout } from "./version-2-layout.ts"

/**
 * The control groups of this process. Found out by doing: a group is made with limits, and a process joins it. Version 2 is taken
 * where it has memory, pids and cpu, otherwise version 1: many machines mount both, and a controller is in one of them.
 * @returns Also where there are none, with the reason.
 */
export async function openCgroups(): Promise<Cgroups> {
  const hierarchies = findHierarchies()
  if (hierarchies === null) return none("there are no control groups on this system")
  const reasons: string[] = []
  for (const open of [openVersion2, openVersion1]) {
    try {
      const cgroups = await open(hierarchies)
      if (cgroups !== null) return cgroups
    } catch (error) {
      reasons.push(toReason(error))
    }
  }
  return none(reasons.join("; ") || "no control groups for memory, pids and cpu are mounted")
}

function none(reason: string): Cgroups {
  return {
    version: "none",
    reason,
    create() {
      throw new Error(`no control group can be made: ${reason}`)
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** Null: not mounted. */
async function openVersion2({ version2 }: Hierarchies): Promise<Cgroups | null> {
  if (version2 === null) return null
  const base = await prepareVersion2(version2)
  const owner = join(base, ownerFolderName())
  return openTree("v2", [owner], (name) => version2Layout(join(owner, name)))
}

/** Null: nothing of what is needed is mounted. */
async function openVersion1({ version1 }: Hierarchies): Promise<Cgroups | null> {
  const missing = VERSION_1_CONTROLLERS.filter((controller) => !version1.has(controller))
  if (missing.length === VERSION_1_CONTROLLERS.length) return null
  if (missing.length > 0) throw new Error(`control groups of version 1 do not offer ${missing.join(", ")}`)
  const ownerName = ownerFolderName()
  const owner = (controller: Version1Controller) => join(version1.get(controller)!.own, ownerName)
  // Controllers may share a hierarchy.
  const owners = new Set(VERSION_1_CONTROLLERS.map(owner))
  return openTree("v1", [...owners], (name) =>
    version1Layout({
      memory: join(owner("memory"), name),
      pids: join(owner("pids"), name),
      cpu: join(owner("cpu"), name),
      cpuacct: join(owner("cpuacct"), name),
    }),
  )
}

/** @param owners - Folders to be made, one in each hierarchy. @throws {Error} When groups cannot be used there. */
async function openTree(
  version: "v1" | "v2",
  owners: readonly string[],
  layoutOf: (name: string) => Layout,
): Promise<Cgroups> {
  const tree = new GroupTree(version, owners, layoutOf)
  try {
    await removeStaleOwnerFolders(owners.map((owner) => dirname(owner)))
    for (const owner of owners) {
      mkdirSync(owner)
      if (version === "v2") await enableControllers(owner)
    }
    await probeGroups(tree)
    return tree
  } catch (error) {
    // Whatever of it was made. Why it cannot be used is what has to be told.
    await tree[Symbol.asyncDispose]().catch(() => {})
    throw error
  }
}

function toReason(error: unknown): string {
  const { path, message } = error as NodeJS.ErrnoException
  if (path === undefined) return message
  const [where, code] = [dirname(path), codeOf(error)]
  if (code === "EROFS") return `the control groups in ${where} are read only`
  if (code === "ENOENT") return `the control group of bext cannot be seen as ${where}`
  if (!["EACCES", "EPERM"].includes(code)) return message
  const advice = "run it as root, or where version 2 is delegated to it (systemd: Delegate=memory pids cpu)"
  return `bext may not make or change control groups in ${where}: ${advice}`
}
