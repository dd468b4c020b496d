import { spawn } from "node:child_process"
import { once } from "node:events"
import { access, stat } from "node:fs/promises"
import { dirname } from "node:path"
import type { User } from "./exec-chain.ts"

/** Bits of a mode for one class of users; also what access(2) takes. */
export const EXECUTE = 1
export const READ = 4

/** A folder on the way to a place lets nobody through, and would have to. */
export class NoWay extends Error {}

/**
 * Makes sure that programs can read a file or folder, all of the way to it included.
 * @param path - Absolute, without symbolic links.
 * @param user - Whom they run as; null: as bext.
 * @param what - For the message: "the plugin's folder".
 * @throws {NoWay} With the first folder that is in the way, and what to run.
 * @throws {Error} The same, when it is the place itself.
 */
export async function assertReachable(path: string, user: User | null, what: string): Promise<void> {
  for (const folder of parents(path)) {
    const problem = await problemOf(folder, EXECUTE, user, `${what}, ${path},`)
    if (problem !== null) throw new NoWay(problem)
  }
  await assertReadable(path, user, what)
}

/** The same, but for the way there. @throws {Error} */
export async function assertReadable(path: string, user: User | null, what: string): Promise<void> {
  const wanted = (await stat(path)).isDirectory() ? READ | EXECUTE : READ
  const problem = await problemOf(path, wanted, user, `${what}, ${path},`)
  if (problem !== null) throw new Error(problem)
}

async function problemOf(place: string, wanted: number, user: User | null, what: string): Promise<string | null> {
  if (await isAllowed(place, wanted, user)) return null
  const mode = `o+${wanted & READ ? "r" : ""}${wanted & EXECUTE ? "x" : ""}`
  const who = user === null ? "bext's user" : `uid ${user.uid}, which programs run as`
  return `${what} cannot be read by ${who}: ${place} is in the way; run chmod ${mode} ${place}, or have it elsewhere`
}

/**
 * Whether `user` may do that with a file or folder, the way to it aside.
 * @param user - Null: whoever bext runs as.
 */
export async function isAllowed(path: string, wanted: number, user: User | null): Promise<boolean> {
  if (user === null) return canAccess(path, wanted)
  const { mode, uid, gid } = await stat(path)
  const bits = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode
  // An access control list may allow what the mode does not say. Rare, hence asked only then.
  return (bits & wanted) === wanted || (await canUserAccess(path, wanted, user))
}

async function canAccess(path: string, wanted: number): Promise<boolean> {
  try {
    await access(path, wanted)
    return true
  } catch {
    return false
  }
}

/** By doing: only the kernel knows. */
async function canUserAccess(path: string, wanted: number, user: User): Promise<boolean> {
  const tests = [...(wanted & READ ? [`-r "$1"`] : []), ...(wanted & EXECUTE ? [`-x "$1"`] : [])]
  const script = tests.map((test) => `[ ${test} ]`).join(" && ")
  const child = spawn("/bin/sh", ["-c", script, "sh", path], { ...user, cwd: "/", env: {}, stdio: "ignore" })
  const [code] = await once(child, "exit")
  return code === 0
}

/** From the top, which is "/". */
function parents(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [...parents(parent), parent]
}
