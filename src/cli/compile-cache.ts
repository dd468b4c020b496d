import { existsSync, lstatSync, mkdirSync, realpathSync } from "node:fs"
import { enableCompileCache } from "node:module"
import { homedir } from "node:os"
import { join } from "node:path"

/**
 * Keeps compiled modules from one start to the next: starting takes a third of the time, and less memory stays in use. Not in
 * Node's default folder below /tmp: whoever puts code into the folder, or another folder in its place, has it run, so it
 * must be this user's alone, and what it is in as well. Without such a folder nothing is kept.
 */
export function keepCompiledModules(): void {
  if (process.getuid === undefined) return
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache")
  const folder = join(cache, "bext", "compiled")
  const levels = [cache, join(cache, "bext"), folder]
  try {
    for (const level of levels) {
      if (!existsSync(level)) mkdirSync(level, { mode: 0o700 })
      // With another user's home, as some ways to become root leave it, nothing is put there either.
      if (!isOurs(level === cache ? realpathSync(cache) : level)) return
    }
    enableCompileCache(folder)
    // For the serving processes.
    process.env.NODE_COMPILE_CACHE = folder
  } catch {
    // A home that cannot be written to.
  }
}

function isOurs(folder: string): boolean {
  const { uid, mode } = lstatSync(folder)
  return uid === process.getuid!() && (mode & 0o022) === 0
}
