import { once } from "node:events"
import { connect, type Socket } from "node:net"
import type { Where } from "./ask.ts"

/** A connection on which a test writes bytes of its own. */
export async function open(where: Where): Promise<Socket> {
  const socket = "port" in where ? connect(where.port, "127.0.0.1") : connect(where.socketPath)
  // Being cut off is what many tests wait for.
  socket.on("error", () => {})
  await once(socket, "connect")
  return socket
}

/** Sends these bytes. @returns everything that comes back until the other side ends. */
export async function exchange(where: Where, bytes: string): Promise<string> {
  const socket = await open(where)
  let text = ""
  socket.setEncoding("latin1").on("data", (chunk) => {
    text += chunk
  })
  socket.write(bytes)
  await once(socket, "close")
  return text
}
