import assert from "node:assert/strict"
import { connect } from "node:net"
import { describe, it } from "node:test"
import { answer, exchangeRaw, readToEnd, serve, until } from "./serve-test.ts"

const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1])

/** A second request hidden in the first; it must never be answered. */
const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"

describe("a request whose framing is in doubt", { concurrency: true }, () => {
  for (const [what, head] of [
    ["Content-Length with Transfer-Encoding", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["Transfer-Encoding with Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"],
    ["two Content-Length fields", "Content-Length: 4\r\nContent-Length: 5\r\n\r\n"],
    ["two equal Content-Length fields", "Content-Length: 4\r\nContent-Length: 4\r\n\r\n"],
    ["a list in Content-Length", "Content-Length: 4, 4\r\n\r\n"],
    ["a signed Content-Length", "Content-Length: +4\r\n\r\n"],
    ["a negative Content-Length", "Content-Length: -1\r\n\r\n"],
    ["a hexadecimal Content-Length", "Content-Length: 0x4\r\n\r\n"],
    ["a Content-Length beyond 64 bits", "Content-Length: 18446744073709551620\r\n\r\n"],
    ["an empty Content-Length", "Content-Length:\r\n\r\n"],
    ["a space before the colon", "Content-Length : 4\r\n\r\n"],
    ["a tab before the colon", "Transfer-Encoding\t: chunked\r\n\r\n"],
    ["a leading space in a header line", " Content-Length: 4\r\n\r\n"],
    ["obsolete line folding", "X-A: b\r\n c\r\n\r\n"],
    ["folding inside Transfer-Encoding", "Transfer-Encoding:\r\n chunked\r\n\r\n"],
    ["a bare LF after a header", "X-A: b\nTransfer-Encoding: chunked\r\n\r\n"],
    ["a bare CR inside a value", "X-A: b\rTransfer-Encoding: chunked\r\n\r\n"],
    ["a NUL inside a value", "X-A: b\0c\r\n\r\n"],
    ["an unknown transfer coding", "Transfer-Encoding: xchunked\r\n\r\n"],
    ["a transfer coding in quotes", 'Transfer-Encoding: "chunked"\r\n\r\n'],
    ["a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n"],
    ["a coding after chunked", "Transfer-Encoding: chunked, identity\r\n\r\n"],
    ["chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["chunked and identity in two fields", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["a vertical tab before chunked", "Transfer-Encoding: \x0bchunked\r\n\r\n"],
    ["a missing Host", "X-Host: a\r\n\r\n", ""],
    ["two Host fields", "Host: b\r\n\r\n"],
    ["two equal Host fields", "Host: a\r\n\r\n"],
    ["a Host that is no authority", "\r\n", "Host: a/b\r\n"],
    ["Connection that names Host", "Connection: host\r\n\r\n"],
    ["Connection that names Content-Length", "Content-Length: 4\r\nConnection: Content-Length\r\n\r\n"],
  ]) {
    it(`is refused: ${what}`, async (t) => {
      const paths: string[] = []
      const server = await serve(t, (context) => {
        paths.push(context.path)
        context.response = answer("served")
      })
      const first = `POST /first HTTP/1.1\r\n${what!.includes("missing Host") ? "" : what!.includes("no authority") ? "Host: a/b\r\n" : "Host: a\r\n"}${head}`
      const text = await exchangeRaw(server.port, `${first}0\r\n\r\n${HIDDEN}`)
      assert.deepEqual(statuses(text), ["400"])
      assert.match(text, /Connection: close/i)
      assert.match(text, /"code":"E_REQUEST_INVALID"/)
      assert.deepEqual(paths, [])
    })
  }

  it("is refused: chunked from an HTTP/1.0 client", async (t) => {
    const server = await serve(t, (context) => {
      context.response = answer("served")
    })
    const text = await exchangeRaw(
      server.port,
      `POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
    )
    assert.deepEqual(statuses(text), ["400"])
  })

  for (const [what, body] of [
    ["a chunk size that is not hexadecimal", "g\r\nx\r\n0\r\n\r\n"],
    ["a chunk size with a sign", "+1\r\nx\r\n0\r\n\r\n"],
    ["a chunk size with a prefix", "0x1\r\nx\r\n0\r\n\r\n"],
    ["a chunk size beyond 64 bits", "fffffffffffffffff1\r\nx\r\n0\r\n\r\n"],
    ["a bare LF after the chunk size", "1\nx\r\n0\r\n\r\n"],
    ["a chunk longer than its size", "1\r\nxyz\r\n0\r\n\r\n"],
    ["a space before the chunk size", " 1\r\nx\r\n0\r\n\r\n"],
  ]) {
    it(`fails while its body is read: ${what}`, async (t) => {
      const paths: string[] = []
      const server = await serve(t, async (context) => {
        paths.push(context.path)
        try {
          await context.requestBody.buffer(1000)
          context.response = answer("served")
        } catch (error) {
          context.response = answer((error as { code: string }).code, 400)
        }
      })
      const head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      const text = await exchangeRaw(server.port, head + body + HIDDEN)
      assert.deepEqual(statuses(text), ["400"])
      assert.match(text, /E_REQUEST_INVALID/)
      assert.match(text, /Connection: close/i)
      assert.deepEqual(paths, ["/first"])
    })
  }

  it("is no reason to answer what was pipelined behind it", async (t) => {
    const paths: string[] = []
    const server = await serve(t, (context) => {
      paths.push(context.path)
      context.response = answer("served")
    })
    const text = await exchangeRaw(server.port, `GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n${HIDDEN}${HIDDEN}`)
    assert.deepEqual(statuses(text), ["400"])
    assert.deepEqual(paths, [])
  })
})

describe("trailers", { concurrency: true }, () => {
  const head =
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: X-User\r\nTransfer-Encoding: chunked\r\n\r\n"

  it("are read past and never become headers", async (t) => {
    const server = await serve(t, async (context) => {
      const body = Buffer.from(await context.requestBody.buffer(100)).toString()
      context.response = answer(`${body} ${context.requestHeaders.get("x-user") ?? "none"}`)
    })
    const text = await exchangeRaw(server.port, `${head}2\r\nhi\r\n0\r\nX-User: admin\r\n\r\n`)
    assert.match(text, /hi none$/)
  })

  for (const field of ["Content-Length: 4", "Transfer-Encoding: chunked"]) {
    it(`do not frame anything: ${field}`, async (t) => {
      const paths: string[] = []
      const server = await serve(t, async (context) => {
        paths.push(context.path)
        context.response = answer(null, 204)
        await context.requestBody.buffer(100).catch(() => {})
      })
      await exchangeRaw(server.port, `${head}2\r\nhi\r\n0\r\n${field}\r\n\r\n${HIDDEN}`)
      assert.deepEqual(paths, ["/"])
    })
  }
})

describe("an Upgrade the server does not do", () => {
  for (const apart of [false, true]) {
    it(`is ignored, the body ${apart ? "that follows later " : ""}is the body, and the connection ends`, async (t) => {
      const paths: string[] = []
      const server = await serve(t, async (context) => {
        paths.push(context.path)
        const body = Buffer.from(await context.requestBody.buffer(1000)).toString()
        context.response = answer(`[${body}]${context.requestHeaders.get("upgrade") ?? "gone"}`)
      })
      const head = "POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      const request = `${head}Content-Length: ${HIDDEN.length}\r\n\r\n`
      const socket = connect(server.port, "127.0.0.1")
      socket.write(apart ? request : request + HIDDEN)
      if (apart) {
        await until(() => paths.length === 1, "the request arrives")
        socket.write(HIDDEN)
      }
      const text = await readToEnd(socket)
      assert.deepEqual(statuses(text), ["200"])
      assert.ok(text.includes(`[${HIDDEN}]gone`))
      assert.match(text, /Connection: close/i)
      assert.deepEqual(paths, ["/up"])
    })
  }
})
