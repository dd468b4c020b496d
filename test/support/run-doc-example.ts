import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer as createHttpServer, type IncomingHttpHeaders, request } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Writable } from "node:stream"
import { text } from "node:stream/consumers"
import { setTimeout as delay } from "node:timers/promises"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createServer } from "../../src/create-server.ts"
import { createLogger } from "../../src/telemetry/log.ts"
import type { DocExample, Message, Statement } from "./doc-example.ts"

/** Serves the example as `bext serve` would, with an app behind it, and checks each of its statements in order. */
export async function runDocExample(example: DocExample): Promise<void> {
  assert.notEqual(example.statements.length, 0, `${example.place} states nothing`)
  const folder = await mkdtemp(join(tmpdir(), "bext-doc-"))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true }))
  const app = cleanup.use(await startApp())
  const log = new LogLines()
  await writeProject(folder, example, app.origin)
  const file = join(folder, "bext.config.toml")
  const config = parseConfig(projectConfig(example, app.origin), { file, env: Object.fromEntries(example.secrets) })
  const server = await createServer(config, { folder, logger: createLogger(config.log, log) })
  cleanup.use(server)
  const { url } = await server.listen()
  for (const statement of example.statements) {
    if (statement.kind === "log") await log.expect(statement)
    else await expectOutcome(statement, url, app)
  }
}

async function writeProject(folder: string, example: DocExample, origin: string): Promise<void> {
  const plugin = join(folder, "plugin")
  await mkdir(plugin)
  await writeFile(join(plugin, `index.${example.language}`), example.code)
  const lines = [
    "[manifest]",
    'name = "example"',
    'version = "1.0.0"',
    `capabilities = ${JSON.stringify(capabilities(example.code))}`,
  ]
  for (const [section, settings] of example.manifest) lines.push(`[${section}]`, ...settings)
  await writeFile(join(plugin, "plugin.toml"), lines.join("\n").replaceAll("$APP", origin))
}

function capabilities(code: string): string[] {
  const found: string[] = []
  if (/\bon(Request|Response)\b/.test(code)) found.push("middleware")
  if (/\b(onServer(Start|Stop)|onRequestComplete|onQueueMessage|onCache\w+|onReload|cleanup)\b/.test(code))
    found.push("lifecycle")
  return found
}

/** The operator grants whatever the example asks for. */
function projectConfig(example: DocExample, origin: string): string {
  const lines = [
    ...["[server]", 'listen = "127.0.0.1:0"', 'grace = "100ms"'],
    ...["[log]", 'level = "debug"', 'format = "json"', "access = false"],
    ...["[app]", 'upstream = "$APP"'],
    ...["[fetch]", `allow_private = ["${new URL(origin).host}"]`],
    ...["[plugins.example]", 'path = "plugin"', "required = true"],
    ...["[plugins.example.grant]", ...(example.manifest.get("permissions") ?? [])],
    ...["[plugins.example.config]", ...example.config],
    ...["[plugins.example.secrets]", ...[...example.secrets.keys()].map((name) => `${name} = "env:${name}"`)],
  ]
  return lines.join("\n").replaceAll("$APP", origin)
}

async function expectOutcome(statement: Statement & { kind: "request" }, url: string, app: App): Promise<void> {
  const { line, outcome } = statement
  app.seen = null
  const response = await send(url, statement.request)
  const shown = `${line}\ngot ${response.status} ${JSON.stringify(response.headers)} ${JSON.stringify(response.body)}`
  assert.equal(response.headers["x-app"] === undefined, outcome.by === "plugin", `${shown}\nanswered by the wrong one`)
  if (outcome.by === "plugin") assert.equal(String(response.status), outcome.words[0], shown)
  const actual: Received = outcome.by === "app sees" ? app.seen! : response
  if (outcome.by === "app sees" && outcome.words.length > 0) assert.equal(app.seen!.path, outcome.words[0], shown)
  for (const [name, value] of outcome.headers)
    assert.equal(String(actual.headers[name]), value, `${shown}\nheader ${name}`)
  if (outcome.body !== undefined) assert.equal(actual.body, outcome.body, shown)
}

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

async function send(url: string, { words, headers, body }: Message): Promise<Received & { readonly status: number }> {
  const [method, path] = words
  const outgoing = request(new URL(url), { method: method!, path: path!, agent: false })
  for (const [name, value] of headers) outgoing.setHeader(name, value)
  outgoing.end(body)
  const [response] = await once(outgoing, "response")
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

interface App extends AsyncDisposable {
  readonly origin: string
  /** The last request that reached it. */
  seen: (Received & { readonly path: string }) | null
}

async function startApp(): Promise<App> {
  const server = createHttpServer(async (incoming, outgoing) => {
    app.seen = { path: incoming.url!, headers: incoming.headers, body: await text(incoming) }
    outgoing.setHeader("server", "app").setHeader("x-app", "yes").end("the app's page")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const app: App = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: null,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
  return app
}

class LogLines extends Writable {
  readonly #lines: { level: string; text: string }[] = []

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const text of chunk.toString().trimEnd().split("\n")) this.#lines.push({ level: JSON.parse(text).level, text })
    done()
  }

  async expect({ line, level, text }: Statement & { kind: "log" }): Promise<void> {
    const inside = JSON.stringify(text).slice(1, -1)
    const giveUpAtMs = performance.now() + 20_000
    while (!this.#lines.some((logged) => logged.level === level && logged.text.includes(inside))) {
      if (performance.now() > giveUpAtMs)
        assert.fail(`${line}\nlogged:\n${this.#lines.map(({ text }) => text).join("\n")}`)
      await delay(10)
    }
  }
}
