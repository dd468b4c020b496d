import { Agent, get, type IncomingMessage } from "node:http"
import { parseConfig } from "../../src/config/parse-config.ts"
import type { Config } from "../../src/config/schema.ts"
import { createServer } from "../../src/create-server.ts"
import type { PreparedSnapshot, ServerProcess } from "../../src/processes/server-process.ts"
import { type LogLine, recordingLogger } from "../plugins/recording-logger.ts"
import { type Files, writeFiles } from "../plugins/write-files.ts"
import { createProject } from "../support/serve.ts"

export interface Site extends AsyncDisposable {
  readonly server: ServerProcess
  readonly url: string
  readonly folder: string
  /** What was logged so far. */
  readonly lines: readonly LogLine[]
  /** The numbers or words that guests said with `console.log("said", …)`, in order. */
  said(): string[]
  write(files: Files): void
  /** What bext.config.toml with this text says. */
  parse(config: string): Config
  /** Prepares what the files say now. @param config - A new bext.config.toml. */
  prepare(config?: string): Promise<PreparedSnapshot>
  /** The same, and puts it into service. */
  reload(config?: string): Promise<PreparedSnapshot>
  /** One GET over a connection that is kept alive. */
  get(path?: string, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** A GET whose body is read by the caller. */
  open(path: string): Promise<IncomingMessage>
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly text: string
}

const BASE = `
[server]
listen = "127.0.0.1:0"
[log]
access = false
`

/** A server in this process that can be reloaded: everything real. `config` has no [server] of its own. */
export async function serveSite(config: string, files: Files = {}, serverKeys = ""): Promise<Site> {
  await using parts = new AsyncDisposableStack()
  const project = parts.use(createProject({}))
  const { folder } = project
  writeFiles(folder, files)
  const base = BASE.replace("[log]", `${serverKeys}\n[log]`)
  const parse = (text: string) => parseConfig(base + text, { file: project.path("bext.config.toml"), env: ENV })
  const { logger, lines } = recordingLogger()
  const server = parts.use(await createServer(parse(config), { folder, logger }))
  const { url } = await server.listen()
  const agent = new Agent({ keepAlive: true })
  parts.defer(() => agent.destroy())
  let current = config
  const prepare = (text = current) => {
    current = text
    return server.prepare(parse(text))
  }
  const open = (path: string, headers: Readonly<Record<string, string>> = {}) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      get(`${url}${path}`, { agent, headers }, resolve).on("error", reject)
    })
  const running = parts.move()
  return {
    server,
    url,
    folder,
    lines,
    said: () => lines.flatMap(({ msg }) => /said (.*)/.exec(msg)?.[1] ?? []),
    parse,
    write: (more) => writeFiles(folder, more),
    prepare,
    async reload(text) {
      const prepared = await prepare(text)
      prepared.commit()
      return prepared
    },
    async get(path = "/", headers = {}) {
      const response = await open(path, headers)
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      return { status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString() }
    },
    open,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** What "env:NAME" in a test's configuration means; tests may change it between two reloads. */
export const ENV: Record<string, string> = {}

/** A plugin folder below plugins/. */
export function plugin(name: string, source: string, more = "", capabilities = '"middleware"'): Files {
  const manifest = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n${more}\n`
  return { [`plugins/${name}/plugin.toml`]: manifest, [`plugins/${name}/index.js`]: source }
}

/** Waits until `condition` holds; fails after half a minute. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`never happened: ${what}`)
    await new Promise((later) => setTimeout(later, 5))
  }
}
