import { execFileSync } from "node:child_process"
import { chmodSync, cpSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { JailLauncher, LaunchOptions } from "../src/sandbox/jail/launcher.ts"
import { BUBBLEWRAP, CLANG, findProgram, missing, PYTHON } from "../test/support/programs.ts"
import { temporaryFolder } from "./temporary-folder.ts"

/** Why jails cannot be measured here; false: they can. */
export const NO_JAILS = missing(BUBBLEWRAP, CLANG, PYTHON)

export const SDK = fileURLToPath(new URL("../sdk/python", import.meta.url))
/** The one that jails see. */
export const PYTHON_PROGRAM = "/usr/bin/python3"

const MIB = 1024 * 1024

/** A folder that the user of jails may read, with the guest in C, `answer-lines`, and the one in Python, `main.py`. */
export function makeGuests(): string {
  const folder = temporaryFolder()
  chmodSync(folder, 0o755)
  const source = fileURLToPath(new URL("guests/answer-lines.c", import.meta.url))
  execFileSync(findProgram(CLANG)!, ["-static", "-O2", "-o", join(folder, "answer-lines"), source])
  cpSync(fileURLToPath(new URL("plugins/one-header-python/main.py", import.meta.url)), join(folder, "main.py"))
  return folder
}

/** How a jail of a plugin with the usual limits is started. */
export function toLaunch(folder: string, command: readonly string[]): LaunchOptions {
  return {
    name: "bench",
    command,
    folder,
    dataFolder: null,
    readOnlyPaths: [],
    env: {},
    limits: { memoryBytes: 64 * MIB, cpus: 1, pids: 64, openFiles: 256, fileBytes: 64 * MIB, tmpBytes: 16 * MIB },
  }
}

/** What a reader of the figures has to know of the machine. */
export function describe({ isolation: { level, cgroups, root } }: JailLauncher): string {
  return `Isolation: level ${level}, cgroups ${cgroups}, started by ${root ? "root" : "an ordinary user"}.`
}
