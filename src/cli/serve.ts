import { lstatSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { type ConfigSource, projectFolder, readConfigSource, toConfig } from "../processes/config-source.ts"
import { countProcesses } from "../processes/count-processes.ts"
import type { RunningServer } from "../processes/running-server.ts"
import type { ServerProcess } from "../processes/server-process.ts"
import { Signals } from "../processes/signals.ts"
import { startAlone } from "../processes/start-alone.ts"
import { startSeveral } from "../processes/start-several.ts"
import { changedProcessFields } from "../snapshot/process-fields.ts"
import { AdminEndpoint } from "./admin-endpoint.ts"
import { reloadOnChange } from "./reload-on-change.ts"
import { version } from "./version.ts"

const DEFAULT_FILE = "bext.config.toml"
const MAX_PROCESSES = 256

/**
 * `bext serve`: runs until SIGTERM or SIGINT, then drains; a second signal ends at once. SIGHUP reloads.
 * @returns The exit code.
 */
export async function serve(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  const processes = parseProcesses(flags.processes)
  const source = findSource(flags)
  const config = toConfig(source)
  if (flags["print-stack"] === true) return printStack(source, config)
  const watched = watchedFile(flags, source)
  const signals = new Signals()
  const count = (config: Config) => countProcesses(config, processes)
  const admin = new AdminEndpoint()
  const server = await start(source, config, count, (next) => void admin.reopen(next))
  try {
    await admin.open(server)
  } catch (error) {
    await server.stop()
    throw error
  }
  console.log(`bext listens on ${server.url}`)
  using _watching = watched === null ? null : reloadOnChange(server, watched)
  const signal = await stopped(signals, server)
  const seconds = server.config.server.grace / 1000
  console.log(`${signal}: finishing what is in flight, at most ${seconds} s (again: stop now)`)
  await Promise.all([admin.close(), server.stop()])
  return 0
}

function parseFlags(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      config: { type: "string" },
      static: { type: "string" },
      upstream: { type: "string" },
      listen: { type: "string" },
      processes: { type: "string" },
      "print-stack": { type: "boolean" },
      watch: { type: "boolean" },
    },
  }).values
}

function parseProcesses(text: string | undefined): Config["server"]["processes"] | undefined {
  if (text === undefined || text === "auto") return text
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (count >= 1 && count <= MAX_PROCESSES) return count
  throw new BextError(
    "E_USAGE",
    `--processes takes a number from 1 to ${MAX_PROCESSES} or auto, not ${JSON.stringify(text)}`,
  )
}

function findSource(flags: ReturnType<typeof parseFlags>): ConfigSource {
  const { config: file, static: folder, upstream, listen } = flags
  if (file !== undefined) {
    if (folder !== undefined || upstream !== undefined || listen !== undefined) {
      throw new BextError("E_USAGE", "--config and --static, --upstream or --listen do not go together")
    }
    return readConfigSource(resolve(file))
  }
  if (folder !== undefined || upstream !== undefined) {
    const input = {
      app: { ...(folder === undefined ? {} : { static: folder }), ...(upstream === undefined ? {} : { upstream }) },
      server: listen === undefined ? {} : { listen },
    }
    return { kind: "options", folder: process.cwd(), input }
  }
  // A link that leads nowhere counts: that is what the error should be about.
  if (lstatSync(DEFAULT_FILE, { throwIfNoEntry: false }) !== undefined) return readConfigSource(resolve(DEFAULT_FILE))
  throw new BextError("E_USAGE", NOTHING_TO_SERVE)
}

function watchedFile({ watch }: ReturnType<typeof parseFlags>, source: ConfigSource): string | null {
  if (watch !== true) return null
  if (source.kind === "file") return source.file
  throw new BextError("E_USAGE", "--watch is for a configuration; with --static and --upstream there is none")
}

const NOTHING_TO_SERVE = `there is nothing to serve here. Three ways to go on:
  bext serve --static DIR              a folder of files
  bext serve --upstream URL            in front of an app, e.g. http://127.0.0.1:4000
  bext init && bext serve              with a ${DEFAULT_FILE} for this folder
`

/** Alone, everything is in this process; otherwise this one holds next to nothing. */
async function start(
  source: ConfigSource,
  config: Config,
  count: (config: Config) => number,
  reloaded: (config: Config) => void,
): Promise<RunningServer> {
  const options = { source, config, version: version(), count }
  if (count(config) === 1) {
    const { createServer } = await import("../create-server.ts")
    return startAlone({ ...options, createServer })
  }
  const processFile = new URL("serve-process.ts", import.meta.url)
  return startSeveral({ ...options, processFile, changedProcessFields, reloaded })
}

function stopped(signals: Signals, server: RunningServer): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    signals.obeyedBy({
      stop: resolve,
      // What came of it is in the log.
      reload: () => void server.control.reload("SIGHUP").catch(() => {}),
      kill: () => server.kill(),
    })
  })
}

async function printStack(source: ConfigSource, config: Config): Promise<number> {
  const { createServer } = await import("../create-server.ts")
  await using server: ServerProcess = await createServer(config, { folder: projectFolder(source) })
  for (const { priority, name, kind, tenants, hooks } of server.stack()) {
    const only = tenants === null ? "" : `  tenants: ${tenants.join(", ")}`
    console.log(`${String(priority).padStart(7)}  ${name.padEnd(24)} ${kind.padEnd(8)}  ${hooks.join(", ")}${only}`)
  }
  return 0
}
