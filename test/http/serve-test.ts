import { once } from "node:events"
import { connect, type Socket } from "node:net"
import type { TestContext } from "node:test"
import type { Config } from "../../src/config/schema.ts"
import { configSchema } from "../../src/config/schema.ts"
import type { ErrorPages } from "../../src/http/error-pages.ts"
import { createHttpServer, type HttpServer, type RequestResult } from "../../src/http/server.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { Body, RequestContext, ResponseState } from "../../src/message/request-context.ts"

export interface TestServer {
  readonly url: string
  readonly port: number
  readonly http: HttpServer
  /** What `complete` was called with. */
  readonly completed: { context: RequestContext; result: RequestResult }[]
  /** What was logged. */
  readonly logged: { level: string; fields: Record<string, unknown>; message: string }[]
}

export type ServerSettings = {
  [key in keyof Config["server"]]?: key extends "limits" ? Record<string, string | number> : unknown
}

/** Starts a server on a free port of 127.0.0.1 that ends with the test. */
export async function serve(
  t: TestContext,
  respond: (context: RequestContext) => void | Promise<void>,
  settings: ServerSettings = {},
  errorPages: ErrorPages = new Map(),
): Promise<TestServer> {
  const config = configSchema.parse({ server: { listen: "127.0.0.1:0", grace: "200ms", ...settings } }).server
  const completed: TestServer["completed"] = []
  const logged: TestServer["logged"] = []
  const log = (level: string) => (fields: object, message: string) => {
    logged.push({ level, fields: { ...fields }, message })
  }
  const http = createHttpServer({
    config,
    respond,
    complete: (context, result) => completed.push({ context, result }),
    logger: { info: log("info"), warn: log("warn"), error: log("error") },
    errorPages,
  })
  const { url, port } = await http.listen()
  t.after(() => http.close())
  return { url, port, http, completed, logged }
}

export function answer(body: Body, status = 200, headers: [string, string][] = []): ResponseState {
  return { status, headers: HeaderList.from(headers), body }
}

/** Sends bytes over a fresh connection and gives everything that comes back until the server closes it. */
export async function exchangeRaw(port: number, ...parts: (string | Uint8Array)[]): Promise<string> {
  const socket = connect(port, "127.0.0.1")
  socket.on("error", () => {})
  for (const part of parts) socket.write(part)
  return await readToEnd(socket)
}

/** Everything the other side sends from now on, as one character per byte. */
export async function readToEnd(socket: Socket): Promise<string> {
  let text = ""
  socket.setEncoding("latin1")
  socket.on("data", (chunk) => {
    text += chunk
  })
  // Not events.once: it would reject when the other side resets the connection.
  if (!socket.closed) await new Promise((resolve) => socket.on("close", resolve))
  return text
}

/** Reads until `text` contains `wanted`; keeps the rest for the next call. */
export async function readUntil(socket: Socket, wanted: string): Promise<string> {
  let text = ""
  for (;;) {
    const chunk = socket.read() as Buffer | null
    if (chunk !== null) text += chunk.toString("latin1")
    if (text.includes(wanted)) return text
    if (socket.readableEnded || socket.destroyed)
      throw new Error(`connection ended before ${JSON.stringify(wanted)}: ${text}`)
    await Promise.race([once(socket, "readable"), once(socket, "close")])
  }
}

/** Waits until `condition` holds, for at most ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 1_000; round++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`never happened: ${what}`)
}
