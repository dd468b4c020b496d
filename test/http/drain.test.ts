import assert from "node:assert/strict"
import { once } from "node:events"
import { connect } from "node:net"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import { answer, exchangeRaw, readToEnd, readUntil, serve, until } from "./serve-test.ts"

const request = (path: string, lines = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`

describe("close", () => {
  it("lets requests in flight finish, tells their clients to go, and takes no new connection", async (t) => {
    const release = Promise.withResolvers<void>()
    const server = await serve(
      t,
      async (context) => {
        await release.promise
        context.response = answer("finished")
      },
      { grace: "10s" },
    )
    const busy = connect(server.port, "127.0.0.1")
    busy.write(request("/slow"))
    const idle = connect(server.port, "127.0.0.1")
    idle.write(request("/__bext/health"))
    await readUntil(idle, "ok")
    const fresh = connect(server.port, "127.0.0.1")
    await Promise.all([once(fresh, "connect"), once(fresh.resume(), "ready")])

    const closed = server.http.close()
    await Promise.all([once(idle, "close"), once(fresh, "close")])
    const late = connect(server.port, "127.0.0.1")
    const [error] = await once(late, "error")
    assert.equal(error.code, "ECONNREFUSED")
    release.resolve()
    const text = await readToEnd(busy)
    assert.match(text, /200 OK/)
    assert.match(text, /Connection: close/i)
    assert.match(text, /finished$/)
    await closed
  })

  it("answers what arrives on an idle connection within the next moment, and ends it then", async (t) => {
    const server = await serve(
      t,
      (context) => {
        context.response = answer("late")
      },
      { grace: "60s" },
    )
    const idle = connect(server.port, "127.0.0.1")
    idle.write(request("/__bext/health"))
    await readUntil(idle, "ok")
    const fresh = connect(server.port, "127.0.0.1")
    await once(fresh, "connect")
    await exchangeRaw(server.port, request("/__bext/health", "Connection: close\r\n"))
    const closed = server.http.close()
    for (const socket of [idle, fresh]) {
      socket.write(request("/"))
      const text = await readToEnd(socket)
      assert.match(text, /200 OK[\s\S]*Connection: close[\s\S]*late$/i)
    }
    await closed
  })

  it("reports 503 to a health check that arrives meanwhile", async (t) => {
    const server = await serve(t, () => {}, { grace: "10s" })
    const socket = connect(server.port, "127.0.0.1")
    socket.write("GET /__bext/health HTTP/1.1\r\n")
    await until(() => server.http.server.listening && socket.bytesWritten > 0, "the request begins")
    await new Promise((resolve) => setImmediate(resolve))
    await until(() => socket.readyState === "open", "the connection is open")
    const other = await exchangeRaw(server.port, request("/__bext/health", "Connection: close\r\n"))
    assert.match(other, /200 OK/)
    const closed = server.http.close()
    socket.write("Host: a\r\n\r\n")
    const text = await readToEnd(socket)
    assert.match(text, /503 Service Unavailable/)
    assert.match(text, /\{"status":"draining"\}$/)
    await closed
  })

  it("ends a kept-alive connection whose response had begun before", async (t) => {
    const more = Promise.withResolvers<void>()
    const server = await serve(
      t,
      (context) => {
        context.response = answer(
          Readable.from(
            (async function* () {
              yield "first "
              await more.promise
              yield "second"
            })(),
          ),
        )
      },
      { grace: "10s" },
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.write(request("/"))
    await readUntil(socket, "first ")
    const closed = server.http.close()
    more.resolve()
    assert.match(await readToEnd(socket), /second/)
    await closed
  })

  it("cuts what is still there after the grace period", async (t) => {
    let arrived = false
    let aborted = false
    const server = await serve(
      t,
      async (context) => {
        arrived = true
        context.signal.addEventListener("abort", () => {
          aborted = true
        })
        await new Promise(() => {})
      },
      { grace: "50ms" },
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write(request("/stuck"))
    const partial = connect(server.port, "127.0.0.1")
    partial.on("error", () => {})
    partial.write("GET / HT")
    await until(() => arrived && partial.bytesWritten > 0, "both are sent")
    await exchangeRaw(server.port, request("/__bext/health", "Connection: close\r\n"))
    await server.http.close()
    await Promise.all([readToEnd(socket), readToEnd(partial)])
    assert.equal(aborted, true)
  })

  it("may be called again, and leaves nothing open", async (t) => {
    const server = await serve(t, () => {})
    await Promise.all([server.http.close(), server.http.close()])
    await server.http.close()
    assert.equal(server.http.server.listening, false)
  })
})
