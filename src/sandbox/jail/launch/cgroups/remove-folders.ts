import { rmdirSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { codeOf } from "./code-of.ts"

/** Milliseconds before each further attempt: what was just killed takes a moment to go. About 5 s in all. */
const PAUSES_MS = [1, 1, 2, 4, 8, 16, 32, ...Array.from({ length: 50 }, () => 100)]

/**
 * Removes the folders of one group.
 * @param clear - Ends what is in them; called before each further attempt.
 * @throws {Error} When one is still in use after some seconds.
 */
export async function removeFolders(folders: readonly string[], clear: () => void): Promise<void> {
  let left = folders.filter((folder) => !tryRemove(folder))
  for (const pause of PAUSES_MS) {
    if (left.length === 0) return
    clear()
    await sleep(pause)
    left = left.filter((folder) => !tryRemove(folder))
  }
  if (left.length > 0) throw new Error(`${left.join(", ")} cannot be removed: something in it does not end`)
}

function tryRemove(folder: string): boolean {
  try {
    rmdirSync(folder)
  } catch (error) {
    const code = codeOf(error)
    if (code === "EBUSY") return false
    if (code !== "ENOENT") throw error
  }
  return true
}
