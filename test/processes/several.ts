import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { Agent, type IncomingMessage, request } from "node:http"
import { text } from "node:stream/consumers"
import type { ProcessStatus, ServerStatus } from "../../src/admin/control.ts"
import { createProject, type Project, type ServedChild, serveChild } from "../support/serve.ts"

/** Says in every response which process and which version of the plugin answered, and whether it leads. */
export const WHO = {
  "plugins/who/plugin.toml": `
[manifest]
name = "who"
version = "1.0.0"
capabilities = ["middleware", "lifecycle"]
`,
  "plugins/who/index.js": `
let process
export function onServerStart() { process = crypto.randomUUID() }
export async function onRequest(ctx) {
  if (ctx.path === "/slow") {
    await new Promise((done) => setTimeout(done, 700))
    return new Response("slow")
  }
  if (ctx.path === "/set") { bext.storage.set("key", ctx.query); await bext.storage.flush(); return new Response("set") }
  if (ctx.path === "/get") return new Response(String(bext.storage.get("key")))
}
export function onResponse(ctx) {
  ctx.response.setHeader("x-process", process)
  ctx.response.setHeader("x-leader", String(ctx.leader))
  ctx.response.setHeader("x-version", "1")
}`,
}

export interface Several extends ServedChild {
  readonly project: Project
  status(): Promise<ServerStatus>
  /** Those that serve, when the server says that there are `count` of them. */
  serving(count: number): Promise<readonly ProcessStatus[]>
  /** The lines of the log so far that have this message. */
  logged(message: RegExp): Record<string, unknown>[]
  /** Puts another text in the place of one that is there. */
  edit(file: string, from: string, to: string): Promise<void>
}

/**
 * `bext serve` with several processes and the plugin `who`.
 * @param options.config - More of the file.
 * @param options.env - Added to this process's environment.
 */
export async function serveSeveral(
  options: {
    processes?: number
    grace?: string
    config?: string
    files?: Readonly<Record<string, string>>
    env?: Readonly<Record<string, string>>
  } = {},
): Promise<Several> {
  const { processes = 2, grace = "5s", config = "", files = {}, env = {} } = options
  const project = createProject({
    "public/index.html": "home",
    ...WHO,
    ...files,
    "bext.config.toml": `
[server]
listen = "127.0.0.1:0"
processes = ${processes}
grace = "${grace}"
[log]
format = "json"
access = false
[app]
static = "public"
[plugins.who]
${config}`,
  })
  let child: ServedChild
  try {
    child = await serveChild([], { folder: project.folder, processes: "configured", env })
  } catch (error) {
    project[Symbol.dispose]()
    throw error
  }
  const status = () => adminGet<ServerStatus>(project.path(".bext/admin.sock"), "/v1/status")
  return {
    ...child,
    project,
    status,
    async serving(count) {
      const seen = () => status().then((all) => all.processes.filter(({ state }) => state === "serving"))
      let now = await seen()
      await eventually(async () => {
        now = await seen()
        return now.length === count
      }, `${count} processes serve`)
      return now
    },
    logged(message) {
      const lines = child.output().split("\n")
      return lines
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ msg }) => message.test(String(msg)))
    },
    async edit(file, from, to) {
      const { writeFile, rename } = await import("node:fs/promises")
      const path = project.path(file)
      const old = readFileSync(path, "utf8")
      assert.ok(old.includes(from), `${file} has ${from}`)
      await writeFile(`${path}.new`, old.replace(from, to))
      await rename(`${path}.new`, path)
    },
    async [Symbol.asyncDispose]() {
      // Its processes hold the folder until they have ended.
      const pids = childrenOf(child.pid)
      await child[Symbol.asyncDispose]()
      for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL")
      await eventually(() => !pids.some(isAlive), "all processes have ended")
      project[Symbol.dispose]()
    },
  }
}

async function adminGet<T>(socketPath: string, path: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request({ socketPath, path, agent: false, headers: { host: "localhost" } }, resolve)
    .on("error", reject)
    .end()
  const response = await promise
  const body = await text(response)
  assert.equal(response.statusCode, 200, body)
  return JSON.parse(body) as T
}

/** The processes that `pid` started and that have not ended. */
export function childrenOf(pid: number): number[] {
  try {
    const line = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    return line.split(" ").filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

/** Waits until `condition` holds, for at most half a minute. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAtMs = performance.now() + 30_000
  while (!(await condition())) {
    if (performance.now() > giveUpAtMs) assert.fail(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

/** One request, on a connection of its own unless `agent` keeps some. */
export async function get(url: string, agent: Agent | false = false): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request(url, { agent }, resolve).on("error", reject).end()
  const response = await promise
  return { status: response.statusCode!, headers: response.headers, body: await text(response) }
}

export interface Load extends AsyncDisposable {
  /** Requests answered with 200 so far. */
  readonly answered: number
  /** What failed, with the process that the connection had been to before; "" for its first request. */
  readonly failures: readonly { readonly process: string; readonly error: string }[]
  /** The processes that answered so far. */
  readonly processes: ReadonlySet<string>
  stop(): Promise<void>
}

/** Clients that keep one connection each and send one request after the other. */
export function startLoad(url: string, clients: number): Load {
  let stopped = false
  let answered = 0
  const failures: { process: string; error: string }[] = []
  const processes = new Set<string>()
  const client = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    let last = ""
    while (!stopped) {
      try {
        const { status, headers } = await get(url, agent)
        if (status !== 200) throw new Error(`status ${status}`)
        answered++
        last = headers.connection === "close" ? "" : String(headers["x-process"])
        processes.add(String(headers["x-process"]))
      } catch (error) {
        failures.push({ process: last, error: String(error) })
        last = ""
      }
    }
    agent.destroy()
  }
  const done = Promise.all(Array.from({ length: clients }, client))
  const stop = async () => {
    stopped = true
    await done
  }
  return {
    get answered() {
      return answered
    },
    failures,
    processes,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
