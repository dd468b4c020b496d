import { existsSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { styleText } from "node:util"
import { shortName } from "../config/config-error.ts"
import { loadConfig } from "../config/load-config.ts"
import type { Config } from "../config/schema.ts"
import { createServer } from "../create-server.ts"
import { BextError } from "../errors.ts"
import type { PreparedSnapshot, ServerProcess } from "../processes/server-process.ts"
import { createLogger } from "../telemetry/log.ts"
import { FILE } from "./init.ts"
import { parseOptions } from "./parse-options.ts"
import { printError } from "./print-error.ts"
import { sourceFrames } from "./source-frames.ts"
import { FileWatcher } from "./watch-files.ts"
import { watchedPaths } from "./watched-paths.ts"

/** `bext dev`: serves, and takes over every change of the configuration and the plugins. @returns The exit code. */
export async function dev(args: readonly string[]): Promise<number> {
  const file = resolve(String(parseOptions("dev", args).options.get("config") ?? FILE))
  if (!existsSync(file)) {
    throw new BextError("E_CONFIG_NOT_FOUND", `there is no file ${shortName(file)}; bext init writes one`)
  }
  const stopped = signalled()
  await using site = new Site(file)
  await site.start()
  await stopped
  return 0
}

/** One server in this process, which follows its files. A change that cannot be served leaves what serves as it is. */
class Site implements AsyncDisposable {
  readonly #file: string
  readonly #folder: string
  readonly #watcher = new FileWatcher((files) => this.#changed(files))
  /** Folder of each plugin of the last configuration that could be read. */
  #folders: ReadonlyMap<string, string> = new Map()
  #serving: { readonly server: ServerProcess; readonly config: Config } | null = null
  #hasFailed = false
  #waiting = new Set<string>()
  #working: Promise<void> | null = null

  constructor(file: string) {
    this.#file = file
    this.#folder = dirname(file)
    this.#watcher.watch([file])
  }

  start(): Promise<void> {
    return this.#changed([])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher[Symbol.dispose]()
    this.#waiting.clear()
    await this.#working
    await this.#serving?.server.close()
  }

  /** Changes that come while one is being taken over are taken over together, after it. */
  #changed(files: readonly string[]): Promise<void> {
    for (const file of files) this.#waiting.add(file)
    this.#working ??= this.#work().finally(() => {
      this.#working = null
    })
    return this.#working
  }

  async #work(): Promise<void> {
    do {
      const files = [...this.#waiting]
      this.#waiting.clear()
      await this.#takeOver(files)
    } while (this.#waiting.size > 0)
  }

  async #takeOver(files: readonly string[]): Promise<void> {
    const startedAtMs = performance.now()
    try {
      const config = loadConfig(this.#file)
      this.#watch(config)
      const what = await this.#serve(config, files)
      const fixed = this.#hasFailed ? "fixed: " : ""
      this.#hasFailed = false
      if (what !== null) say(`${fixed}${what}, in ${Math.round(performance.now() - startedAtMs)} ms`)
    } catch (error) {
      this.#hasFailed = true
      this.#complain(error)
    }
  }

  /** @returns what happened; null when it was said already. */
  async #serve(config: Config, files: readonly string[]): Promise<string | null> {
    if (this.#serving === null) return this.#open(config)
    let prepared: PreparedSnapshot
    try {
      prepared = await this.#serving.server.prepare(config)
    } catch (error) {
      if (!(error instanceof BextError && error.code === "E_RELOAD_NEEDS_RESTART")) throw error
      say(`starting again: ${error.message}`)
      return this.#restart(config)
    }
    prepared.commit()
    this.#serving = { server: this.#serving.server, config }
    return describeReload(prepared, files)
  }

  async #open(config: Config): Promise<null> {
    const format = config.log.format === "auto" ? "pretty" : config.log.format
    const logger = createLogger({ ...config.log, format })
    const server = await createServer(config, { folder: this.#folder, logger, grantLocalFolders: true })
    try {
      const { url } = await server.listen()
      this.#serving = { server, config }
      const count = this.#folders.size
      const plugins = `${count} ${count === 1 ? "plugin" : "plugins"}`
      say(`bext listens on ${url} and watches ${shortName(this.#file)} and ${plugins}; Ctrl-C stops it`)
      return null
    } catch (error) {
      await server.close()
      throw error
    }
  }

  /** What belongs to the process (the port, the log) needs a new server; when that fails, the old one is started again. */
  async #restart(config: Config): Promise<null> {
    const old = this.#serving!
    this.#serving = null
    await old.server.close()
    try {
      return await this.#open(config)
    } catch (error) {
      await this.#open(old.config)
      throw error
    }
  }

  #watch(config: Config): void {
    const { paths, folders } = watchedPaths(this.#file, config)
    this.#folders = folders
    this.#watcher.watch(paths)
  }

  #complain(error: unknown): void {
    printError(error)
    const frames = sourceFrames(error, this.#folders)
    const still = this.#serving === null ? "waiting for a change" : "the version before goes on serving"
    process.stderr.write(`${[...(frames.length > 0 ? ["", ...frames] : []), "", `  ${still}`, ""].join("\n")}\n`)
  }
}

function describeReload({ loaded, removed }: PreparedSnapshot, files: readonly string[]): string {
  const parts = [
    ...(loaded.length > 0 ? [`loaded ${loaded.join(", ")}`] : []),
    ...(removed.length > 0 ? [`removed ${removed.join(", ")}`] : []),
  ]
  const [first, ...rest] = files.map(shortName)
  const because = `${first}${rest.length > 0 ? ` and ${rest.length} more` : ""} changed`
  return `${parts.length === 0 ? "reloaded" : parts.join(", ")}: ${because}`
}

function say(text: string): void {
  const time = styleText("dim", new Date().toTimeString().slice(0, 8), { stream: process.stdout })
  process.stdout.write(`${time} ${text}\n`)
}

/** Resolves with the first signal that asks to stop; the next one ends the process as if nobody listened. */
function signalled(): Promise<void> {
  return new Promise((done) => {
    const stop = () => {
      process.off("SIGTERM", stop)
      process.off("SIGINT", stop)
      done()
    }
    process.on("SIGTERM", stop)
    process.on("SIGINT", stop)
  })
}
