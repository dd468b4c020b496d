import { mkdirSync } from "node:fs"
import { chown } from "node:fs/promises"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import type { LaunchOptions } from "../launcher.ts"
import type { Cgroups } from "./cgroups/cgroups.ts"
import { type ChainSetup, execChain, OWN_PROCESSES } from "./exec-chain.ts"
import { type PrivateFolder, removeHome } from "./private-folder.ts"
import { RunningJail, type StartedProcess } from "./running-jail.ts"
import { startProcess } from "./start-process.ts"
import { StartQueue } from "./start-queue.ts"
import { StartShell } from "./start-shell.ts"

/** Far more than the mounts of a jail take, milliseconds; some may be of a file system that does not answer. */
const START_MS = 10_000

/** Starts jails in one of the ways that the machine was found to allow. */
export class JailStarter implements AsyncDisposable {
  readonly #folder: PrivateFolder
  readonly #filter: string | null
  readonly #inherited: readonly number[]
  readonly #queue = new StartQueue()
  #shell: StartShell | null = null
  #homes = 0

  constructor(folder: PrivateFolder, filter: string | null, inherited: readonly number[]) {
    this.#folder = folder
    this.#filter = filter
    this.#inherited = inherited
  }

  /** @throws {Error} When it ended before it was a jail: what was said of that. */
  async start(setup: ChainSetup, cgroups: Cgroups | null, options: LaunchOptions): Promise<RunningJail> {
    this.#folder.renew()
    const home = setup.containment === "none" ? await this.#makeHome(setup) : null
    // The next one's turn does not wait for what the shell does.
    const { starting } = await this.#queue.run(() => ({ starting: this.#spawn(setup, cgroups, options, home) }))
    const started = await starting
    const { stdin, stdout, stderr, status } = started
    // A program that ends while somebody writes to it is no failure of bext.
    for (const stream of [stdin, stdout, stderr]) stream.on("error", () => {})
    const firstPid = status === null ? null : await readFirstPid(status)
    const jail = new RunningJail({ ...started, firstPid })
    if (status === null) return jail
    if (firstPid !== null && (await hasBegun(jail))) {
      stdin.write("\n")
      return jail
    }
    const [said] = await Promise.all([text(stderr), jail.exited])
    throw new Error(said.trim() === "" ? "bubblewrap ended at once, and did not say why" : said.trim())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shell?.close()
  }

  async #spawn(
    setup: ChainSetup,
    cgroups: Cgroups | null,
    options: LaunchOptions,
    home: string | null,
  ): Promise<Omit<StartedProcess, "firstPid">> {
    const { name, limits } = options
    const own = setup.containment === "none" ? 0 : OWN_PROCESSES
    const cgroup = cgroups?.create(name, { ...limits, pids: limits.pids + own }) ?? null
    const release = async () => {
      await cgroup?.remove()
      if (home !== null) await removeHome(home)
    }
    try {
      const doors = cgroup?.openJoinFiles() ?? []
      const chain = execChain(setup, options, doors.length, home ?? "/")
      const filter = setup.containment === "none" ? null : this.#filter
      const files = { filter, cgroups: doors, inherited: this.#inherited }
      const spawned =
        filter !== null && StartShell.canBecome(chain.user)
          ? await this.#openShell().start(chain, files)
          : startProcess(chain, files)
      return { ...spawned, cgroup, release }
    } catch (error) {
      release().catch(() => {})
      throw error
    }
  }

  #openShell(): StartShell {
    if (this.#shell === null || this.#shell.gone) this.#shell = new StartShell(this.#folder.path, this.#inherited)
    return this.#shell
  }

  /** For temporary files of a program that has no /tmp of its own. */
  async #makeHome({ user }: ChainSetup): Promise<string> {
    this.#homes += 1
    const home = join(this.#folder.path, `home-${this.#homes}`)
    mkdirSync(home, { mode: 0o700 })
    if (user !== null) await chown(home, user.uid, user.gid)
    return home
  }
}

/** Whether its first process is there, and waits for an answer: see `firstProcessScript`. */
async function hasBegun(jail: RunningJail): Promise<boolean> {
  const timer = setTimeout(() => jail.kill(), START_MS)
  try {
    return (await readByte(jail.stdout)) !== null
  } finally {
    clearTimeout(timer)
  }
}

/** @returns null when it has ended. The stream stands still afterwards. */
function readByte(stream: Readable): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const look = () => {
      const byte: Buffer | null = stream.read(1)
      if (byte !== null) settle(byte)
    }
    const end = () => settle(null)
    const settle = (byte: Buffer | null) => {
      stream.off("readable", look).off("end", end).off("close", end)
      resolve(byte)
    }
    stream.on("readable", look).on("end", end).on("close", end)
  })
}

/** First line of `--json-status-fd`; null when bubblewrap ended before it. The rest is nobody's business. */
async function readFirstPid(status: Readable): Promise<number | null> {
  let line = ""
  return new Promise((resolve) => {
    status.setEncoding("utf8")
    status.on("data", (chunk: string) => {
      line += chunk
      if (line.includes("\n")) resolve(toFirstPid(line))
    })
    // The last line comes when everything is over.
    status.once("close", () => resolve(null))
    status.once("error", () => resolve(null))
  })
}

function toFirstPid(line: string): number | null {
  const pid = /"child-pid":\s*(\d+)/.exec(line)?.[1]
  return pid === undefined ? null : Number(pid)
}
