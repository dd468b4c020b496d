import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer as createHttpServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Writable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createServer } from "../../src/create-server.ts"
import { createLogger } from "../../src/telemetry/log.ts"

export interface ServedPlugin extends AsyncDisposable {
  /** What the client sees: "STATUS body", with the error's code in place of the page of an error. */
  ask(path: string, init?: RequestInit): Promise<string>
  request(path: string, init?: RequestInit): Promise<Response>
  /** Resolves with the first line of the log that matches. */
  logged(pattern: RegExp): Promise<string>
}

/**
 * Serves the plugin `try-everything` in `folder` with everything it asks for granted, in front of an app that answers with the
 * request it got, as JSON.
 */
export async function servePlugin(folder: string): Promise<ServedPlugin> {
  await using parts = new AsyncDisposableStack()
  const project = mkdtempSync(join(tmpdir(), "bext-sdk-plugin-"))
  parts.defer(() => rmSync(project, { recursive: true, force: true }))
  const { port } = await startApp(parts)
  const manifest = join(folder, "plugin.toml")
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace(/127\.0\.0\.1(:\d+)?/, `127.0.0.1:${port}`))
  const config = parseConfig(configuration(folder, port), {
    file: join(project, "bext.config.toml"),
    env: { WORD: "open sesame" },
  })
  const log = new LogLines()
  const server = parts.use(
    await createServer(config, { folder: project, logger: createLogger(config.log, log), grantLocalFolders: true }),
  )
  const { url } = await server.listen()
  const running = parts.move()
  const request = (path: string, init?: RequestInit) => fetch(new URL(path, url), { redirect: "manual", ...init })
  return {
    request,
    async ask(path, init) {
      const response = await request(path, { ...init, headers: { accept: "application/json", ...init?.headers } })
      const text = await response.text()
      const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json")
      return `${response.status} ${isProblem ? (JSON.parse(text) as { code: string }).code : text}`
    },
    logged: (pattern) => log.first(pattern),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

const configuration = (folder: string, port: number) => `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[log]
level = "debug"
format = "json"
access = false
[app]
upstream = "http://127.0.0.1:${port}"
[fetch]
allow_private = ["127.0.0.1:${port}"]
[plugins.try-everything]
path = ${JSON.stringify(folder)}
[plugins.try-everything.config]
word = "ä b"
list = [1, "two"]
target = "http://127.0.0.1:${port}"
[plugins.try-everything.secrets]
WORD = "env:WORD"
[plugins.try-everything.grant]
allowed_urls = ["http://127.0.0.1:${port}/**"]
queues = ["letters"]
secrets = ["WORD"]
sensitive_headers = ["cookie"]
set_cookies = ["seen"]
identity = true
rewrite_path = true
`

async function startApp(parts: AsyncDisposableStack): Promise<AddressInfo> {
  const server = createHttpServer(async (incoming, outgoing) => {
    const body = await buffer(incoming)
    const { method, url, headers } = incoming
    const seen = { method, url, set: headers["x-set"], gone: headers["x-gone"], body: body.toString("hex") }
    outgoing.setHeader("content-type", "application/json").setHeader("x-app", "1").end(JSON.stringify(seen))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  parts.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  return server.address() as AddressInfo
}

class LogLines extends Writable {
  #lines: string[] = []
  #waiting = new Set<() => void>()

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#lines.push(...chunk.toString().split("\n"))
    for (const look of this.#waiting) look()
    done()
  }

  first(pattern: RegExp): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const line = this.#lines.find((line) => pattern.test(line))
        if (line === undefined) return
        this.#waiting.delete(look)
        resolve(line)
      }
      this.#waiting.add(look)
      look()
    })
  }
}
