import { execFile } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { promisify } from "node:util"

/** The program that makes namespaces and mounts. */
export interface Bubblewrap {
  readonly path: string
  /** Whether it can forbid user namespaces by itself, besides what the system-call filter does (0.8 and newer). */
  readonly disablesUserNamespaces: boolean
}

/** Not from PATH, which whoever starts bext as root may have inherited from somebody else. */
const PATHS = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]

/** Without these nothing bounds a jail's files in memory, or nobody could end one without leaving a zombie (0.7 and newer). */
const NEEDED = ["--size", "--perms", "--clearenv", "--json-status-fd"]

/**
 * @param paths - Where it may be, absolute.
 * @returns Why there is none to use, for people, when there is none.
 */
export async function findBubblewrap(paths = PATHS): Promise<Bubblewrap | { readonly missing: string }> {
  const path = paths.find(isExecutable)
  if (path === undefined) return { missing: "bubblewrap is not installed: install the package bubblewrap" }
  const help = await ask(path)
  const absent = NEEDED.filter((option) => !help.includes(`${option} `))
  if (absent.length > 0)
    return { missing: `${path} is too old, it has no ${absent.join(", ")}: install bubblewrap 0.8 or newer` }
  return { path, disablesUserNamespaces: help.includes("--disable-userns ") }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Older versions write it to standard error. */
async function ask(path: string): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(path, ["--help"], { env: {}, timeout: 10_000 })
    return stdout + stderr
  } catch {
    return ""
  }
}
