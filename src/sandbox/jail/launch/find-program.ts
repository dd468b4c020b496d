import { constants } from "node:fs"
import { open, realpath, stat } from "node:fs/promises"
import { posix } from "node:path"
import type { LaunchOptions } from "../launcher.ts"
import type { ChainSetup } from "./exec-chain.ts"
import { DATA, isWithin, moved, PATH, PLUGIN, SDK } from "./jail-paths.ts"
import { EXECUTE, isAllowed } from "./reachable.ts"

/** Folders of the host that a jail shows at the same place. */
const SHARED = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives"]

/** Bytes of a first line that the kernel looks at (BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h). */
const FIRST_LINE_BYTES = 256

/**
 * Makes sure that the jail has what the command begins with, and what that is run by.
 * @throws {Error} What was looked for, and where.
 */
export async function findProgram(setup: ChainSetup, options: LaunchOptions): Promise<void> {
  const [name] = options.command
  if (name === undefined || name === "") throw new Error("there is no program to start")
  const path = name.includes("/") ? posix.resolve(PLUGIN, name) : await findInPath(name, setup, options)
  const file = await fileOf(path, setup, options)
  if (!(await isAllowed(file, EXECUTE, setup.user))) {
    throw new Error(`${path} is not executable: run chmod +x ${file}, or name an interpreter for it`)
  }
  await checkFirstLine(path, file, setup, options)
}

async function findInPath(name: string, setup: ChainSetup, options: LaunchOptions): Promise<string> {
  for (const folder of PATH.split(":")) {
    const path = `${folder}/${name}`
    const file = await realpath(path).catch(() => null)
    if (file !== null && (await isShown(file, setup, options))) return path
  }
  throw new Error(
    `${name} is in none of the folders that programs are looked for in (${PATH}): install it for all users`,
  )
}

/** @returns Path on the host, without symbolic links, of a file that the jail has at `path`. */
async function fileOf(path: string, setup: ChainSetup, options: LaunchOptions): Promise<string> {
  const outside = toOutside(path, setup, options)
  const file = await realpath(outside).catch(() => {
    throw new Error(`there is no ${path}${outside === path ? "" : `, which is ${outside}`}`)
  })
  if (!(await isShown(file, setup, options))) {
    const leads = file === path ? `${path} is` : `${path} leads to ${file},`
    throw new Error(
      `${leads} not in the jail: install it below /usr, or let the operator add it to the read-only paths`,
    )
  }
  if (!(await stat(file)).isFile()) throw new Error(`${path} is not a file`)
  return file
}

function toOutside(path: string, setup: ChainSetup, { folder, dataFolder }: LaunchOptions): string {
  const places: [inside: string, outside: string | null][] = [
    [PLUGIN, folder],
    [DATA, dataFolder],
    [SDK, setup.sdkFolder],
  ]
  for (const [inside, outside] of places) {
    const file = outside === null ? undefined : moved(path, inside, outside)
    if (file !== undefined) return file
  }
  return path
}

/** Whether the jail shows this file of the host, here or elsewhere. */
async function isShown(file: string, setup: ChainSetup, options: LaunchOptions): Promise<boolean> {
  if (setup.containment === "none") return true
  const readOnly = await Promise.all(options.readOnlyPaths.map((path) => realpath(path)))
  const shown = [...SHARED, options.folder, options.dataFolder, setup.sdkFolder, ...readOnly]
  return shown.some((place) => place !== null && isWithin(file, place))
}

/** What a script is run by must be there too; the kernel would say that the script is not. */
async function checkFirstLine(path: string, file: string, setup: ChainSetup, options: LaunchOptions): Promise<void> {
  const [, interpreter, argument] = /^#![ \t]*([^ \t\n]+)[ \t]*([^ \t\n]*)/.exec(await beginningOf(file)) ?? []
  if (interpreter === undefined) return
  const problem = (what: string) => new Error(`the first line of ${path} names a program to run it: ${what}`)
  if (/\r$/.test(interpreter + argument)) throw problem("it ends in CR LF, write it with LF")
  try {
    await fileOf(posix.resolve(PLUGIN, interpreter), setup, options)
    const named = posix.basename(interpreter) === "env" ? argument : undefined
    if (named !== undefined && /^[^-=/]+$/.test(named)) await findInPath(named, setup, options)
  } catch (error) {
    throw problem(error instanceof Error ? error.message : String(error))
  }
}

/** Latin-1, since it may be no text at all. Empty when bext cannot read it, which those who run it may not have to. */
async function beginningOf(file: string): Promise<string> {
  try {
    await using handle = await open(file, constants.O_RDONLY)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(FIRST_LINE_BYTES), 0, FIRST_LINE_BYTES, 0)
    return buffer.toString("latin1", 0, bytesRead)
  } catch {
    return ""
  }
}
