import { Writable } from "node:stream"
import type { AdminAddress } from "../../src/admin/admin-listener.ts"
import { createAdminListener } from "../../src/admin/admin-listener.ts"
import type { Control, ReloadOutcome } from "../../src/admin/control.ts"
import { toPublicConfig } from "../../src/admin/public-config.ts"
import { loadConfig } from "../../src/config/load-config.ts"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createServer } from "../../src/create-server.ts"
import { createLogger } from "../../src/telemetry/log.ts"
import { LogTail } from "../../src/telemetry/log-tail.ts"
import { createProject } from "../support/serve.ts"
import { type Answer, type AskOptions, ask, type Where } from "./ask.ts"

export const TOKEN = "0123456789abcdef-admin"
export const METRICS_TOKEN = "0123456789abcdef-metrics"
export const ENV = { SHORT: "short", BEXT_ADMIN_TOKEN: TOKEN, BEXT_METRICS_TOKEN: METRICS_TOKEN }

/** [admin] on a port of its own, with both tokens. */
export const TCP = `[admin]
listen = "127.0.0.1:0"
token = "env:BEXT_ADMIN_TOKEN"
metrics_token = "env:BEXT_METRICS_TOKEN"
`

/** A plugin that answers everything below /plugin, and throws on /plugin/throw. */
export const HELLO = {
  "plugins/hello/plugin.toml": '[manifest]\nname = "hello"\nversion = "1.2.3"\ncapabilities = ["middleware"]\n',
  "plugins/hello/index.js": `export function onRequest(ctx) {
  if (ctx.path === "/plugin/throw") throw new Error("\\u001b[2Jgotcha")
  if (ctx.path.startsWith("/plugin")) {
    bext.metric("seen", 1, { quantile: "x" })
    console.log("hello from " + ctx.path)
    return { action: "respond", status: 200, body: "plugin" }
  }
}`,
}

export interface AdminProject extends AsyncDisposable {
  readonly url: string
  readonly folder: string
  readonly control: Control
  readonly tail: LogTail
  readonly where: Where
  readonly address: AdminAddress
  ask(path: string, options?: AskOptions): Promise<Answer>
}

/** A server of one process with its admin listener, in this process. `ask` sends the token when there is one. */
export async function adminProject(
  config: string,
  files: Readonly<Record<string, string>> = {},
): Promise<AdminProject> {
  const text = `[server]\nlisten = "127.0.0.1:0"\ngrace = "1s"\n[log]\nformat = "json"\n${config}`
  await using parts = new AsyncDisposableStack()
  const project = parts.use(createProject({ "public/index.html": "home", ...files, "bext.config.toml": text }))
  const file = project.path("bext.config.toml")
  let current = parseConfig(text, { file, env: ENV })
  const tail = new LogTail()
  const sink = new Writable({ write: (_chunk, _encoding, done) => done() })
  const logger = createLogger(current.log, sink, tail)
  const server = parts.use(await createServer(current, { folder: project.folder, logger }))
  const { url } = await server.listen()
  const startedAtMs = Date.now()
  let lastReload: ReloadOutcome | null = null

  const control: Control = {
    status: async () => ({
      version: "0.0.0",
      startedAtMs,
      url,
      configFile: file,
      lastReload,
      processes: [server.status()],
      stack: server.stack(),
    }),
    config: () => toPublicConfig(current),
    metrics: async () => server.metrics(),
    async reload(by) {
      try {
        const next = loadConfig(file, ENV)
        const prepared = await server.prepare(next)
        prepared.commit()
        current = next
        const { snapshot, loaded, kept, removed } = prepared
        const report = { snapshot, durationMs: 1, loaded, kept, removed, replaced: false }
        lastReload = { atMs: Date.now(), by, ok: true, report }
        return report
      } catch (error) {
        const { code = "E_INTERNAL", message } = error as { code?: string; message: string }
        lastReload = { atMs: Date.now(), by, ok: false, code, message }
        throw error
      }
    },
    quarantine: (plugin, reason) => server.quarantine(plugin, reason),
    release: (plugin) => server.release(plugin),
    logTail: async (lines) => tail.lines(lines),
    followLog: (listener) => tail.follow(listener),
  }

  const listener = parts.use(createAdminListener({ control, config: current, log: logger }))
  const address = await listener.listen()
  if (address.kind === "tcp") server.addOwnListener(address.address, address.port)
  const where: Where =
    address.kind === "socket" ? { socketPath: address.path } : { port: address.kind === "tcp" ? address.port : 0 }
  const authorization = address.kind === "tcp" ? { authorization: `Bearer ${TOKEN}` } : {}
  const running = parts.move()
  return {
    url,
    folder: project.folder,
    control,
    tail,
    where,
    address,
    ask: (path, options = {}) => ask(where, path, { ...options, headers: { ...authorization, ...options.headers } }),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
