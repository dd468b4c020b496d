import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** An app that answers each request when the test says so. */
export interface GatedApp extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Connections that were opened so far. */
  readonly connections: number
  /** Connections that are open now. */
  readonly open: number
  /** Requests that wait for their answer. */
  readonly waiting: number
  /** The next request's response; it waits until there is one. */
  next(): Promise<ServerResponse>
}

export async function startGatedApp(): Promise<GatedApp> {
  const waiting: ServerResponse[] = []
  let arrived = Promise.withResolvers<void>()
  const server = createServer((_request, response) => {
    waiting.push(response)
    arrived.resolve()
  })
  let connections = 0
  let open = 0
  server.on("connection", (socket) => {
    connections++
    open++
    socket.on("close", () => open--)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get connections() {
      return connections
    },
    get open() {
      return open
    },
    get waiting() {
      return waiting.length
    },
    async next() {
      while (waiting.length === 0) {
        arrived = Promise.withResolvers()
        await arrived.promise
      }
      return waiting.shift()!
    },
    async [Symbol.asyncDispose]() {
      server.close().closeAllConnections()
    },
  }
}
