import { once } from "node:events"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { type Logger, pino } from "pino"
import { loadManifest } from "./config/load-manifest.ts"
import { createConfig } from "./config/parse-config.ts"
import { createServer } from "./create-server.ts"
import type * as api from "./testing-api.ts"

/** See `src/testing-api.ts`, whose types this module has. */
export const loadPlugin: typeof api.loadPlugin = async (folder, options = {}) => {
  const path = resolve(typeof folder === "string" ? folder : fileURLToPath(folder))
  const { name } = loadManifest(path).manifest
  await using parts = new AsyncDisposableStack()
  const project = mkdtempSync(join(tmpdir(), "bext-testing-"))
  // Root starts programs as another user, whose data is in here.
  chmodSync(project, 0o711)
  parts.defer(() => rmSync(project, { recursive: true, force: true }))
  const upstream = await startApp(options.app ?? (() => new Response("app")), parts)
  const config = createConfig(
    {
      server: { listen: "127.0.0.1:0", grace: "1s" },
      app: { upstream },
      plugins: {
        [name]: {
          ...options.plugin,
          path,
          ...(options.config && { config: options.config }),
          ...(options.grant && { grant: options.grant }),
          secrets: Object.fromEntries(Object.keys(options.secrets ?? {}).map((secret) => [secret, `env:${secret}`])),
        },
      },
      state: { dir: join(project, "state") },
    } as Parameters<typeof createConfig>[0],
    { folder: project, env: options.secrets ?? {} },
  )
  const log: api.TestLog[] = []
  const granted = options.grant === undefined
  // The folder of the plugin is the project, so that it counts as the author's own.
  const server = parts.use(
    await createServer(config, { folder: path, logger: recordInto(log), grantLocalFolders: granted }),
  )
  const { url } = await server.listen()
  const running = parts.move()
  return {
    request: (target, init) => fetch(new URL(target, url), { redirect: "manual", ...init }),
    log,
    close: () => running.disposeAsync(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

type App = NonNullable<api.TestOptions["app"]>

/** @returns where it listens. */
async function startApp(app: App, parts: AsyncDisposableStack): Promise<string> {
  const server = createHttpServer((incoming, outgoing) => {
    answer(app, incoming, outgoing).catch((error: Error) => outgoing.destroy(error))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  parts.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function answer(app: App, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const headers = new Headers()
  for (const [name, values] of Object.entries(incoming.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value)
  }
  const { method = "GET" } = incoming
  const hasBody = method !== "GET" && method !== "HEAD"
  const body = hasBody ? { body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: "half" as const } : {}
  const response = await app(new Request(new URL(incoming.url!, "http://app"), { method, headers, ...body }))
  outgoing.writeHead(response.status, [...response.headers].flat())
  outgoing.end(new Uint8Array(await response.arrayBuffer()))
}

function recordInto(log: api.TestLog[]): Logger {
  const write = (line: string) => {
    const { level, msg } = JSON.parse(line) as { level: number; msg: string }
    log.push({ level: pino.levels.labels[level] as api.TestLog["level"], message: msg })
  }
  return pino({ level: "debug" }, { write })
}
