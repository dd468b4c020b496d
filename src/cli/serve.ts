import { lstatSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { parseArgs } from "node:util"
import { loadConfig } from "../config/load-config.ts"
import { createConfig } from "../config/parse-config.ts"
import type { Config } from "../config/schema.ts"
import { createServer } from "../create-server.ts"
import { BextError } from "../errors.ts"
import type { ServerProcess } from "../processes/server-process.ts"

const DEFAULT_FILE = "bext.config.toml"

/** `bext serve`: runs until SIGTERM or SIGINT, then drains; a second signal ends at once. @returns The exit code. */
export async function serve(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  const { config, folder } = readConfig(flags)
  await using server = await createServer(config, { folder })
  if (flags["print-stack"] === true) {
    printStack(server)
    return 0
  }
  const stopped = signalled()
  const { url } = await server.listen()
  console.log(`bext listens on ${url}`)
  const signal = await stopped
  console.log(`${signal}: finishing what is in flight, at most ${config.server.grace / 1000} s (again: stop now)`)
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
      "print-stack": { type: "boolean" },
    },
  }).values
}

function readConfig(flags: ReturnType<typeof parseFlags>): { config: Config; folder: string } {
  const { config: file, static: folder, upstream, listen } = flags
  if (file !== undefined) {
    if (folder !== undefined || upstream !== undefined || listen !== undefined) {
      throw new BextError("E_USAGE", "--config and --static, --upstream or --listen do not go together")
    }
    return fromFile(file)
  }
  if (folder !== undefined || upstream !== undefined) {
    const input = {
      app: { ...(folder === undefined ? {} : { static: folder }), ...(upstream === undefined ? {} : { upstream }) },
      server: listen === undefined ? {} : { listen },
    }
    const here = process.cwd()
    return { config: createConfig(input, { folder: here, env: process.env }), folder: here }
  }
  // A link that leads nowhere counts: that is what the error should be about.
  if (lstatSync(DEFAULT_FILE, { throwIfNoEntry: false }) !== undefined) return fromFile(DEFAULT_FILE)
  throw new BextError("E_USAGE", NOTHING_TO_SERVE)
}

const NOTHING_TO_SERVE = `there is nothing to serve here. Three ways to go on:
  bext serve --static DIR              a folder of files
  bext serve --upstream URL            in front of an app, e.g. http://127.0.0.1:4000
  bext init && bext serve              with a ${DEFAULT_FILE} for this folder
`

function fromFile(file: string): { config: Config; folder: string } {
  const path = resolve(file)
  return { config: loadConfig(path), folder: dirname(path) }
}

function printStack(server: ServerProcess): void {
  for (const { priority, name, kind, tenants, hooks } of server.stack()) {
    const only = tenants === null ? "" : `  tenants: ${tenants.join(", ")}`
    console.log(`${String(priority).padStart(7)}  ${name.padEnd(24)} ${kind.padEnd(8)}  ${hooks.join(", ")}${only}`)
  }
}

/** Resolves with the first signal that asks to stop; the next one ends the process as if nobody listened. */
function signalled(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    const stop = (signal: NodeJS.Signals) => {
      process.off("SIGTERM", stop)
      process.off("SIGINT", stop)
      done(signal)
    }
    process.on("SIGTERM", stop)
    process.on("SIGINT", stop)
  })
}
