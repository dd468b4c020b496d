import { isMainThread } from "node:worker_threads"
import type { Isolation } from "../../sandbox.ts"
import type { Jail, JailLauncher, LaunchOptions } from "../launcher.ts"
import { checkLaunch } from "./check-launch.ts"
import { ETC_FILES } from "./etc-files.ts"
import type { ChainSetup, User } from "./exec-chain.ts"
import { inheritedDescriptors } from "./inherited-descriptors.ts"
import { JailStarter } from "./jail-starter.ts"
import { createPrivateFolder, type PrivateFolder } from "./private-folder.ts"
import { type Facility, type Probed, probeIsolation } from "./probe-isolation.ts"
import { assertReachable, NoWay } from "./reachable.ts"
import type { RunningJail } from "./running-jail.ts"
import { seccompFilter } from "./seccomp/seccomp-filter.ts"

export interface JailLauncherOptions {
  /** Absolute host path of the folder with the Python module `bext`; null: programs have none. */
  readonly sdkFolder: string | null
  /** What programs run as when bext is root. Never root. Default: uid and gid 65534. */
  readonly user?: User
  /** What is not used though the machine has it, for tests and measurements of what is left without it. */
  readonly without?: readonly Facility[]
}

const NOBODY: User = { uid: 65534, gid: 65534 }

/**
 * Finds out what this machine offers to keep programs apart, by starting one, and starts them that way.
 * @throws {Error} When it is not called in the main thread, or no temporary folder can be made.
 */
export async function createJailLauncher(options: JailLauncherOptions): Promise<JailLauncher> {
  if (!isMainThread) throw new Error("jails start in the main thread: the kernel ends them with the thread they are of")
  const folder = createPrivateFolder()
  const user = process.geteuid?.() === 0 ? (options.user ?? NOBODY) : null
  let starter: JailStarter | null = null
  try {
    await assertReachable(folder.path, user, "the folder for temporary files (TMPDIR)")
    const etc = new Map([...ETC_FILES].map(([name, content]) => [name, folder.write(name, content)]))
    const filter = filterFile(folder)
    starter = new JailStarter(folder, filter.path, inheritedDescriptors())
    const found = await probeIsolation({
      starter,
      etc,
      folder: folder.path,
      filterMissing: filter.missing,
      sdkFolder: options.sdkFolder,
      user,
      without: new Set(options.without),
    })
    return new Launcher(found, starter, folder)
  } catch (error) {
    await starter?.[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
    throw error
  }
}

/** @returns Why there is no filter, when there is none. */
function filterFile(folder: PrivateFolder): { path: string | null; missing: string | null } {
  try {
    return { path: folder.write("filter", seccompFilter(process.arch)), missing: null }
  } catch (error) {
    return { path: null, missing: error instanceof Error ? error.message : String(error) }
  }
}

class Launcher implements JailLauncher {
  readonly isolation: Isolation
  readonly #found: Probed
  readonly #starter: JailStarter
  readonly #folder: PrivateFolder
  readonly #jails = new Set<RunningJail>()
  readonly #starting = new Set<Promise<unknown>>()
  #disposed = false

  constructor(found: Probed, starter: JailStarter, folder: PrivateFolder) {
    this.isolation = found.isolation
    this.#found = found
    this.#starter = starter
    this.#folder = folder
  }

  async launch(options: LaunchOptions): Promise<Jail> {
    const start = this.#launch(options)
    this.#starting.add(start)
    try {
      return await start
    } finally {
      this.#starting.delete(start)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await Promise.allSettled(this.#starting)
    const exits = [...this.#jails].map((jail) => jail.exited)
    for (const jail of this.#jails) jail.kill()
    await Promise.all(exits)
    await this.#found.cgroups?.[Symbol.asyncDispose]()
    await this.#starter[Symbol.asyncDispose]()
    this.#folder[Symbol.dispose]()
  }

  async #launch(options: LaunchOptions): Promise<Jail> {
    if (this.isolation.refused !== null) throw new Error(this.isolation.refused)
    const setup = await this.#check(options)
    if (this.#disposed) throw new Error("the launcher of jails was closed")
    const jail = await this.#starter.start(setup, this.#found.cgroups, options)
    this.#jails.add(jail)
    void jail.exited.then(() => this.#jails.delete(jail))
    if (this.#disposed) jail.kill()
    return jail
  }

  /** @returns The way to start it. */
  async #check(options: LaunchOptions): Promise<ChainSetup> {
    const { setup, mountedByRoot } = this.#found
    try {
      await checkLaunch(setup, options)
      return setup
    } catch (error) {
      const asRoot = error instanceof NoWay ? await mountedByRoot() : null
      if (asRoot === null) throw error
      await checkLaunch(asRoot, options)
      return asRoot
    }
  }
}
