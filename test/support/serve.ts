import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { loadConfig } from "../../src/config/load-config.ts"
import { createServer } from "../../src/create-server.ts"

const BEXT = fileURLToPath(new URL("../../src/cli/bext.ts", import.meta.url))

/** A folder made for one test. */
export interface Project extends Disposable {
  readonly folder: string
  path(file: string): string
}

type Contents = Readonly<Record<string, string | Uint8Array>>

/** @param files - Path in the folder → contents. */
export function createProject(files: Contents): Project {
  const folder = mkdtempSync(join(tmpdir(), "bext-test-"))
  // Programs run as another user.
  chmodSync(folder, 0o755)
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  return {
    folder,
    path: (file) => join(folder, file),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export interface Served extends AsyncDisposable {
  readonly url: string
  readonly folder: string
}

/** What every test server has: a free port on loopback and a quiet log. */
const base = (serverKeys: string) => `
[server]
listen = "127.0.0.1:0"
grace = "1s"
${serverKeys}
[log]
level = "error"
format = "json"
`

/**
 * The server of a bext.config.toml in this process, with files beside it.
 * @param serverKeys - More lines of the section [server].
 */
export async function serve(config: string, files: Contents = {}, serverKeys = ""): Promise<Served> {
  const text = base(serverKeys) + config
  const project = createProject({ "public/index.html": "<h1>home</h1>", ...files, "bext.config.toml": text })
  await using parts = new AsyncDisposableStack()
  parts.use(project)
  const { folder } = project
  const server = parts.use(await createServer(loadConfig(project.path("bext.config.toml")), { folder }))
  const { url } = await server.listen()
  const running = parts.move()
  return { url, folder, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** As `serve`, in a process of its own. @param env - Added to this process's environment. */
export async function serveInChild(
  config: string,
  files: Contents = {},
  options: { serverKeys?: string; env?: Readonly<Record<string, string>>; processes?: number | "configured" } = {},
): Promise<ServedChild> {
  const text = base(options.serverKeys ?? "") + config
  const project = createProject({ "public/index.html": "<h1>home</h1>", ...files, "bext.config.toml": text })
  try {
    const child = await serveChild([], { ...options, folder: project.folder })
    return {
      ...child,
      async [Symbol.asyncDispose]() {
        await child[Symbol.asyncDispose]()
        project[Symbol.dispose]()
      },
    }
  } catch (error) {
    project[Symbol.dispose]()
    throw error
  }
}

export interface ServedChild extends Served {
  readonly pid: number
  /** Everything written to standard output and standard error so far. */
  output(): string
  /** Sends a signal. @returns the exit code, or the signal that ended the process. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/**
 * `bext serve` in a process of its own. `env` is added to this process's environment.
 * @param options.processes - Serving processes; "configured": what the configuration says. Default 1.
 */
export async function serveChild(
  args: readonly string[],
  options: { folder: string; env?: Readonly<Record<string, string>>; processes?: number | "configured" },
): Promise<ServedChild> {
  const { processes = 1 } = options
  const flags = processes === "configured" ? [] : ["--processes", String(processes)]
  const child = spawn(process.execPath, [BEXT, "serve", ...args, ...flags], {
    cwd: options.folder,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let output = ""
  child.stderr.on("data", (chunk) => {
    output += chunk
  })
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      output += chunk
      const match = /listens on (http:\S+)/.exec(output)
      if (match !== null) resolve(match[1]!)
    })
    child.once("exit", (code) => reject(new Error(`bext serve ended with ${code}:\n${output}`)))
  })
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await once(child, "exit")
    }
    return child.exitCode ?? child.signalCode
  }
  return {
    url,
    folder: options.folder,
    pid: child.pid!,
    output: () => output,
    end,
    async [Symbol.asyncDispose]() {
      await end("SIGKILL")
    },
  }
}
