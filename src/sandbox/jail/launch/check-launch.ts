import { chown, mkdir, realpath } from "node:fs/promises"
import { dirname, posix } from "node:path"
import type { LaunchOptions } from "../launcher.ts"
import type { ChainSetup } from "./exec-chain.ts"
import { findProgram } from "./find-program.ts"
import { DATA, isWithin, PLUGIN, SDK } from "./jail-paths.ts"
import { assertReachable, assertReadable } from "./reachable.ts"

/** What the jail makes itself. A path of the host there, or above, would hide it. */
const OWN_PLACES = [PLUGIN, DATA, SDK, "/usr", "/etc/passwd", "/etc/resolv.conf", "/proc", "/dev", "/tmp", "/sys"]

/**
 * What the plugin has put links into, or can: a path of the host below would be made and mounted where they lead, by root and
 * before anything keeps the program from it.
 */
const PLUGINS_PLACES = [PLUGIN, DATA, SDK]

/** What shows the kernel or the machine, whoever looks. */
const NEVER_SHOWN = ["/proc", "/sys", "/dev"]

/**
 * Finds what would keep a program from starting, and makes its data folder.
 * @throws {NoWay} Programs' user cannot get to a place that the jail is to show.
 * @throws {Error} What is wrong, and what to do.
 */
export async function checkLaunch(setup: ChainSetup, options: LaunchOptions): Promise<void> {
  // Beside one another: each asks the file system a few times.
  await Promise.all([
    checkPlace(options.folder, setup, "the plugin's folder"),
    setup.sdkFolder === null || checkPlace(setup.sdkFolder, setup, "bext's Python module"),
    options.dataFolder === null || makeDataFolder(options.dataFolder, setup),
    ...options.readOnlyPaths.map((path) => checkReadOnlyPath(path, setup)),
  ])
  await findProgram(setup, options)
}

/** What is above it lets programs through, and shows them nothing. */
async function makeDataFolder(path: string, setup: ChainSetup): Promise<void> {
  const { user } = setup
  await mkdir(dirname(path), { recursive: true, mode: 0o711 })
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (user !== null) await chown(path, user.uid, user.gid)
  await checkPlace(path, setup, "the plugin's data folder")
}

async function checkReadOnlyPath(path: string, setup: ChainSetup): Promise<void> {
  if (posix.resolve(path) !== path) throw new Error(`read-only path ${path} is not absolute, or has . or .. in it`)
  const covered = OWN_PLACES.find((place) => isWithin(place, path))
  if (covered !== undefined) {
    throw new Error(`read-only path ${path} would hide the jail's own ${covered}: name what is needed of it`)
  }
  const inside = PLUGINS_PLACES.find((place) => isWithin(path, place))
  if (inside !== undefined) {
    throw new Error(`read-only path ${path} would be in the jail's own ${inside}: have it elsewhere on this machine`)
  }
  const real = await realpath(path).catch(() => {
    throw new Error(`read-only path ${path} does not exist on this machine`)
  })
  const shown = NEVER_SHOWN.find((place) => isWithin(path, place) || isWithin(real, place))
  if (shown !== undefined)
    throw new Error(`read-only path ${path} is in ${shown}, which jails never see of this machine`)
  await checkPlace(real, setup, "read-only path")
}

/** Where root mounts, the way to a place may be closed: in the jail it is another one. */
async function checkPlace(path: string, { containment, user }: ChainSetup, what: string): Promise<void> {
  if (containment === "root") await assertReadable(path, user, what)
  else await assertReachable(path, user, what)
}
