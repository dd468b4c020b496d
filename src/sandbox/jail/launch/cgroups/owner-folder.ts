import { readdirSync, readlinkSync } from "node:fs"
import { basename, join } from "node:path"
import { processStartTime } from "../process-start-time.ts"
import { killGroup } from "./kill-group.ts"
import { removeFolders } from "./remove-folders.ts"

let opened = 0

/** A new name for a folder that holds groups: this process's pid, when it started, the namespace of the pid, and a number. */
export function ownerFolderName(): string {
  return `bext-${process.pid}-${processStartTime(process.pid)}-${pidNamespace()}-${++opened}`
}

/**
 * Removes what processes left behind that were killed, and ends what still runs in it. Folders of processes that live are left
 * alone, and so are those of other PID namespaces, of whose processes nothing is known here.
 * @param parents - One in each hierarchy.
 */
export async function removeStaleOwnerFolders(parents: readonly string[]): Promise<void> {
  const stale = parents.flatMap((parent) => subfoldersOf(parent).filter((folder) => isStale(basename(folder))))
  // In all hierarchies before any is removed: only one of them can keep the rest from starting more.
  killGroup(stale.flatMap(subfoldersOf))
  for (const folder of stale) {
    // What cannot be removed now is no reason not to start; the next process tries again.
    await removeOwnerFolder(folder).catch(() => {})
  }
}

/**
 * Removes a folder that holds groups, and all of them.
 * @throws {Error} When something in it does not end within some seconds.
 */
export async function removeOwnerFolder(folder: string): Promise<void> {
  for (const group of subfoldersOf(folder)) await removeFolders([group], () => killGroup([group]))
  await removeFolders([folder], () => {})
}

function isStale(name: string): boolean {
  const [, pid, started, namespace] = /^bext-(\d+)-(\d+)-(\d+)-\d+$/.exec(name) ?? []
  return namespace === pidNamespace() && processStartTime(Number(pid)) !== started
}

/** Source: namespaces(7): "pid:[4026531836]". */
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))![0]
}

/** None when the folder is gone. */
function subfoldersOf(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
  } catch {
    return []
  }
}
