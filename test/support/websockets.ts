import { once } from "node:events"
import { createServer, type Server } from "node:http"
import { type AddressInfo, connect, createServer as createNetServer, type Socket } from "node:net"
import type { TestContext } from "node:test"
import { WebSocket, WebSocketServer } from "ws"

/** The key of RFC 6455 §1.3, and what proves that it was understood. */
export const KEY = "dGhlIHNhbXBsZSBub25jZQ=="
export const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/** A handshake as text. @param lines - Further header lines, or others in place of the usual ones (same name). */
export function handshake(path = "/", lines: readonly string[] = []): string {
  const usual = [
    "Host: a",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${KEY}`,
    "Sec-WebSocket-Version: 13",
  ]
  const names = new Set(lines.map(nameOf))
  return `${[`GET ${path} HTTP/1.1`, ...usual.filter((line) => !names.has(nameOf(line))), ...lines].join("\r\n")}\r\n\r\n`
}

/** A frame without a mask, or with one of four zeros. */
export function frame(opcode: number, payload: Uint8Array | string, masked = false): Buffer {
  const bytes = Buffer.from(payload as string)
  const length = bytes.length < 126 ? [bytes.length] : [126, bytes.length >> 8, bytes.length & 0xff]
  length[0]! |= masked ? 0x80 : 0
  return Buffer.concat([Buffer.from([0x80 | opcode, ...length]), Buffer.alloc(masked ? 4 : 0), bytes])
}

export interface WebsocketApp {
  readonly url: string
  readonly port: number
  readonly http: Server
  /** Those that are open. */
  readonly clients: ReadonlySet<WebSocket>
  /** Header sections of the handshakes. */
  readonly handshakes: Record<string, string | undefined>[]
}

/** A websocket server that sends back what it gets; "close 4000" closes with that code. Other requests get 200. */
export async function startEcho(
  t: TestContext,
  options: { protocols?: readonly string[] } = {},
): Promise<WebsocketApp> {
  const http = createServer((request, response) =>
    response.end(`plain ${request.url} ${request.headers.upgrade ?? ""}`),
  )
  const handshakes: WebsocketApp["handshakes"] = []
  const server = new WebSocketServer({
    server: http,
    perMessageDeflate: true,
    handleProtocols: (asked) => (options.protocols ?? []).find((protocol) => asked.has(protocol)) ?? false,
  })
  server.on("connection", (socket, request) => {
    handshakes.push(request.headers as Record<string, string | undefined>)
    socket.on("error", () => {})
    socket.on("message", (data: Buffer, binary: boolean) => {
      const code = /^close (\d{4})$/.exec(binary ? "" : data.toString("latin1"))?.[1]
      if (code === undefined) socket.send(data, { binary })
      else socket.close(Number(code), "asked")
    })
  })
  const port = await listen(t, http)
  t.after(() => {
    for (const client of server.clients) client.terminate()
    http.close()
  })
  return { url: `http://127.0.0.1:${port}`, port, http, clients: server.clients, handshakes }
}

/** A server that answers every connection's first bytes as `answer` says. */
export async function startRaw(
  t: TestContext,
  answer: (socket: Socket, request: string) => void,
  options: { allowHalfOpen?: boolean } = {},
): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = []
  const server = createNetServer(options, (socket) => {
    sockets.push(socket)
    socket.on("error", () => {})
    socket.once("data", (data) => answer(socket, data.toString("latin1")))
  })
  const port = await listen(t, server)
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${port}`, sockets }
}

/** The 101 to the handshake above. */
export function switching(lines: readonly string[] = []): string {
  const usual = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${ACCEPT}`]
  const names = new Set(lines.map(nameOf))
  return `${["HTTP/1.1 101 Switching Protocols", ...usual.filter((line) => !names.has(nameOf(line))), ...lines].join("\r\n")}\r\n\r\n`
}

/** Opens a websocket that ends with the test. */
export async function open(
  t: TestContext,
  url: string,
  options: { protocols?: string[]; headers?: Record<string, string>; origin?: string } = {},
): Promise<WebSocket> {
  const { protocols = [], ...rest } = options
  const socket = new WebSocket(url.replace(/^http/, "ws"), protocols, { ...rest, perMessageDeflate: true })
  t.after(() => socket.terminate())
  await once(socket, "open")
  socket.on("error", () => {})
  return socket
}

/** What a server answers instead of opening a websocket. */
export async function refusal(url: string, options: { headers?: Record<string, string>; origin?: string } = {}) {
  const socket = new WebSocket(url.replace(/^http/, "ws"), options)
  socket.on("error", () => {})
  const opened = once(socket, "open").then(() => {
    socket.terminate()
    throw new Error("the websocket was opened")
  })
  opened.catch(() => {})
  const refused = once(socket, "unexpected-response").then(async ([, response]) => {
    let text = ""
    for await (const chunk of response) text += chunk
    return { status: response.statusCode as number, headers: response.headers as Record<string, string>, text }
  })
  return Promise.race([refused, opened])
}

/** Sends a message and gives what comes next. */
export async function ask(socket: WebSocket, message: string | Buffer): Promise<Buffer> {
  const answered = once(socket, "message")
  socket.send(message)
  const [data] = await answered
  return data
}

/** @returns The close code; 1006 when the connection just ended. */
export async function closeOf(socket: WebSocket): Promise<number> {
  if (socket.readyState === WebSocket.CLOSED) throw new Error("already closed")
  const [code] = await once(socket, "close")
  return code
}

/** A plain connection that ends with the test. */
export function dial(t: TestContext, port: number): Socket {
  const socket = connect(port, "127.0.0.1")
  socket.on("error", () => {})
  t.after(() => socket.destroy())
  return socket
}

async function listen(t: TestContext, server: Server | ReturnType<typeof createNetServer>): Promise<number> {
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

function nameOf(line: string): string {
  return line.split(":", 1)[0]!.toLowerCase()
}
