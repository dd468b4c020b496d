import assert from "node:assert/strict"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { describe, it, type TestContext } from "node:test"
import { configSchema } from "../../src/config/schema.ts"
import { createHttpServer } from "../../src/http/server.ts"
import { answer, readToEnd, readUntil } from "./serve-test.ts"

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/** An HTTP server that gets its connections from a listener beside it. */
async function serveHandedOver(t: TestContext, limits: Record<string, string | number> = {}) {
  let accept: ((socket: Socket) => boolean) | undefined
  const refused: Socket[] = []
  const listener = createServer((socket) => {
    if (accept?.(socket) !== true) refused.push(socket)
  }).listen(0, "127.0.0.1")
  await once(listener, "listening")
  t.after(() => listener.close())
  const { address, port } = listener.address() as AddressInfo
  const logged: string[] = []
  const log = (_fields: object, message: string) => logged.push(message)
  const http = createHttpServer({
    config: configSchema.parse({ server: { listen: "127.0.0.1:1", grace: "10s", limits } }).server,
    respond(context) {
      context.response = answer(`hello ${context.clientAddress}`)
    },
    complete() {},
    logger: { info: log, warn: log, error: log },
    errorPages: new Map(),
    connections: {
      address,
      port,
      start(listener) {
        accept = listener
      },
      stop() {
        accept = undefined
      },
    },
  })
  const { url } = await http.listen()
  t.after(() => http.close())
  return { http, url, port, refused, logged }
}

describe("connections handed over by another process", () => {
  it("are served as if the server had accepted them itself", async (t) => {
    const server = await serveHandedOver(t)
    assert.equal(server.url, `http://127.0.0.1:${server.port}`)
    assert.equal(await (await fetch(server.url)).text(), "hello 127.0.0.1")
    const halfClosed = connect(server.port, "127.0.0.1")
    halfClosed.end(REQUEST)
    assert.match(await readToEnd(halfClosed), /hello 127\.0\.0\.1$/)
  })

  it("have to send their headers in time", async (t) => {
    const server = await serveHandedOver(t, { header_timeout: "200ms" })
    const slow = connect(server.port, "127.0.0.1")
    slow.write("GET / HTTP/1.1\r\nHost")
    assert.match(await readToEnd(slow), /^HTTP\/1\.1 408 /)
  })

  it("are left alone beyond server.limits.connections, and while draining", async (t) => {
    const server = await serveHandedOver(t, { connections: 1 })
    const first = connect(server.port, "127.0.0.1")
    first.write(REQUEST)
    await readUntil(first, "hello")
    const second = connect(server.port, "127.0.0.1")
    second.write(REQUEST)
    await once(second, "connect")
    while (server.refused.length < 1) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(server.refused[0]!.destroyed, false)
    assert.match(server.logged.join(), /server\.limits\.connections is reached/)
    const closed = server.http.close()
    const third = connect(server.port, "127.0.0.1")
    while (server.refused.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    for (const socket of [second, third, ...server.refused]) socket.destroy()
    first.destroy()
    await closed
  })
})
