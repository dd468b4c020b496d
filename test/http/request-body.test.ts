import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { connect } from "node:net"
import { buffer as readBytes, text as readText } from "node:stream/consumers"
import { describe, it } from "node:test"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import type { RequestContext } from "../../src/message/request-context.ts"
import { answer, exchangeRaw, readToEnd, serve, until } from "./serve-test.ts"

/** Answers with the body as `read` gets it, or with the code of the failure. */
const echo = (read: (context: RequestContext) => Promise<string | Uint8Array>) => async (context: RequestContext) => {
  try {
    context.response = answer(await read(context))
  } catch (error) {
    context.response = answer(String((error as { code?: string }).code ?? error), 400)
  }
}
const buffered = (maxBytes: number) => echo((context) => context.requestBody.buffer(maxBytes))
const post = async (url: string, body: string | Uint8Array | ReadableStream, headers: Record<string, string> = {}) => {
  const init = { method: "POST", body, headers, duplex: "half" } as RequestInit
  return await (await fetch(url, init)).text()
}
const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
/** Without a declared length. */
const chunked = (content: string | Uint8Array) =>
  new Blob([typeof content === "string" ? content : Buffer.from(content)])
    .stream()
    .pipeThrough(new TransformStream<Uint8Array, Uint8Array>())

describe("a request body", () => {
  it("is absent when nothing announces one, and reads as empty", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        const streamed = await readText(requestBody.stream())
        return `${requestBody.present} ${requestBody.bytes?.length} ${streamed.length} ${(await requestBody.buffer(0)).length}`
      }),
    )
    assert.equal(await (await fetch(server.url)).text(), "false 0 0 0")
    assert.equal(await post(server.url, ""), "false 0 0 0")
  })

  it("streams once", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        assert.equal(requestBody.bytes, undefined)
        const streamed = await readText(requestBody.stream())
        assert.throws(() => requestBody.stream(), TypeError)
        await assert.rejects(requestBody.buffer(10), TypeError)
        return streamed
      }),
    )
    assert.equal(await post(server.url, "hello"), "hello")
    assert.equal(await post(server.url, chunked("hello")), "hello")
  })

  it("can be buffered, and then read again and again, also as a stream", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        const [first, again] = await Promise.all([requestBody.buffer(100), requestBody.buffer(100)])
        assert.equal(first, again)
        assert.equal(requestBody.bytes, first)
        return `${Buffer.from(first)} ${await readText(requestBody.stream())} ${await readText(requestBody.stream())}`
      }),
    )
    assert.equal(await post(server.url, "hello"), "hello hello hello")
  })

  it("can be replaced before and after it was read", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody, requestHeaders, path }) => {
        if (path === "/after") await requestBody.buffer(100)
        requestBody.replace(Buffer.from("other"))
        return `${await readText(requestBody.stream())} ${requestHeaders.get("content-length")} ${requestHeaders.get("digest")}`
      }),
    )
    assert.equal(await post(`${server.url}/before`, "hello, world", { Digest: "x" }), "other 5 undefined")
    assert.equal(await post(`${server.url}/after`, "hello, world", { Digest: "x" }), "other 5 undefined")
  })

  for (const [coding, encode] of [
    ["gzip", gzipSync],
    ["x-gzip", gzipSync],
    ["deflate", deflateSync],
    ["br", brotliCompressSync],
    ["GZIP", gzipSync],
    ["identity", (text: string) => Buffer.from(text)],
  ] as const) {
    it(`is decoded when buffered: ${coding}`, async (t) => {
      const server = await serve(
        t,
        echo(async ({ requestBody, requestHeaders }) => {
          const bytes = Buffer.from(await requestBody.buffer(100))
          const left = coding === "identity" ? "" : (requestHeaders.get("content-encoding") ?? "")
          return `${bytes} ${left}${requestHeaders.get("content-length")}`
        }),
      )
      assert.equal(await post(server.url, encode("hello"), { "Content-Encoding": coding }), "hello 5")
    })

    if (coding === "identity") continue
    it(`fails with a code when it is not what it claims to be: ${coding}`, async (t) => {
      const server = await serve(t, buffered(1000))
      assert.equal(await post(server.url, "not compressed", { "Content-Encoding": coding }), "E_BODY_ENCODING")
      const torn = encode("hello hello hello").subarray(0, -6)
      assert.equal(await post(server.url, torn, { "Content-Encoding": coding }), "E_BODY_ENCODING")
    })
  }

  for (const coding of ["zstd", "compress", "gzip, gzip", "gzip, br", "aes128gcm"]) {
    it(`with Content-Encoding: ${coding} is not buffered, but still streams`, async (t) => {
      const server = await serve(t, async (context) => {
        if (context.path === "/buffer") return buffered(100)(context)
        context.response = answer(await readText(context.requestBody.stream()))
      })
      assert.equal(await post(`${server.url}/buffer`, "hello", { "Content-Encoding": coding }), "E_BODY_ENCODING")
      assert.equal(await post(server.url, "hello", { "Content-Encoding": coding }), "hello")
    })
  }

  for (const [coding, bomb] of [
    ["gzip", gzipSync(Buffer.alloc(64 << 20))],
    ["deflate", deflateSync(Buffer.alloc(64 << 20))],
    ["br", brotliCompressSync(Buffer.alloc(16 << 20))],
  ] as const) {
    it(`that would unpack to more than it may is stopped on the way: ${coding}`, async (t) => {
      const server = await serve(t, buffered(1 << 20))
      const before = process.memoryUsage().rss
      assert.equal(await post(server.url, bomb, { "Content-Encoding": coding }), "E_BODY_TOO_LARGE")
      assert.ok(process.memoryUsage().rss - before < 48 << 20)
    })
  }

  it("larger than the reader allows fails with E_BODY_TOO_LARGE", async (t) => {
    const server = await serve(t, buffered(4))
    assert.equal(await post(server.url, "1234"), "1234")
    assert.equal(await post(server.url, "12345"), "E_BODY_TOO_LARGE")
    assert.equal(await post(server.url, chunked("12345")), "E_BODY_TOO_LARGE")
  })

  for (const [coding, encode] of [
    ["identity", (bytes: Buffer) => bytes],
    ["gzip", gzipSync],
  ] as const) {
    it(`larger than one reader allows is there in full for the next: ${coding}`, async (t) => {
      const server = await serve(
        t,
        echo(async ({ path, requestBody, requestHeaders }) => {
          await assert.rejects(requestBody.buffer(4), { code: "E_BODY_TOO_LARGE" })
          await assert.rejects(requestBody.buffer(1000), { code: "E_BODY_TOO_LARGE" })
          const bytes = path === "/stream" ? await readBytes(requestBody.stream()) : await requestBody.buffer(1 << 20)
          return `${hash(bytes)} ${requestHeaders.get("content-encoding")}`
        }),
        { limits: { buffered_bodies: "1mb" } },
      )
      const plain = randomBytes(300_000)
      const sent = encode(plain)
      const init = { "Content-Encoding": coding }
      for (let round = 0; round < 4; round++) {
        assert.equal(await post(`${server.url}/stream`, chunked(sent), init), `${hash(sent)} ${coding}`)
        const left = coding === "gzip" ? undefined : coding
        assert.equal(await post(`${server.url}/buffer`, chunked(sent), init), `${hash(plain)} ${left}`)
      }
    })
  }

  it("that unpacks to more than a reader allows is there in full although all of it had arrived", async (t) => {
    const sent = gzipSync(Buffer.alloc(1 << 20))
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        await assert.rejects(requestBody.buffer(1000), { code: "E_BODY_TOO_LARGE" })
        return await readBytes(requestBody.stream()).then(hash)
      }),
    )
    assert.equal(await post(server.url, chunked(sent), { "Content-Encoding": "gzip" }), hash(sent))
  })

  it("that failed while it was buffered fails in the same way when it is streamed", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        await assert.rejects(requestBody.buffer(1 << 20), { code: "E_BODY_TOO_LARGE" })
        await assert.rejects(requestBody.buffer(1 << 20), { code: "E_BODY_TOO_LARGE" })
        return await readText(requestBody.stream())
      }),
      { limits: { body: "1kb" } },
    )
    assert.equal(await post(server.url, chunked("x".repeat(2000))), "E_BODY_TOO_LARGE")
  })

  it("larger than the server allows, and not declared, fails while it is read", async (t) => {
    const server = await serve(
      t,
      echo(async ({ path, requestBody }) => {
        return path === "/stream" ? await readText(requestBody.stream()) : await requestBody.buffer(1 << 20)
      }),
      { limits: { body: "1kb" } },
    )
    for (const path of ["/stream", "/buffer"]) {
      const socket = connect(server.port, "127.0.0.1")
      socket.on("error", () => {})
      socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`)
      for (let at = 0; at < 20; at++) socket.write(`64\r\n${"x".repeat(100)}\r\n`)
      const text = await readToEnd(socket)
      assert.match(text, /400 Bad Request.*Connection: close.*E_BODY_TOO_LARGE$/s)
    }
  })

  it("shares one budget with all others, given back when their requests end", async (t) => {
    const release = Promise.withResolvers<void>()
    let held = 0
    const server = await serve(
      t,
      echo(async ({ path, requestBody }) => {
        const bytes = await requestBody.buffer(1000)
        if (path === "/hold") {
          held++
          await release.promise
        }
        return bytes
      }),
      { limits: { buffered_bodies: "1kb" } },
    )
    const first = post(`${server.url}/hold`, "x".repeat(600))
    await until(() => held === 1, "the first body is buffered")
    assert.equal(await post(server.url, "x".repeat(600)), "E_OVERLOADED")
    assert.equal(await post(server.url, "x".repeat(400)), "x".repeat(400))
    release.resolve()
    await first
    for (let round = 0; round < 5; round++) assert.equal((await post(server.url, "x".repeat(900))).length, 900)
  })

  it("fails when the client goes away in the middle", async (t) => {
    const codes: string[] = []
    const server = await serve(t, async ({ path, requestBody }) => {
      const read = path === "/stream" ? readText(requestBody.stream()) : requestBody.buffer(1000)
      await read.catch((error) => codes.push(error.code))
    })
    for (const path of ["/stream", "/buffer"]) {
      const socket = connect(server.port, "127.0.0.1")
      socket.on("error", () => {})
      socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf`, () => socket.destroy())
      const count = codes.length + 1
      await until(() => codes.length === count, `${path} notices`)
    }
    assert.deepEqual(codes, ["E_CLIENT_LEFT", "E_CLIENT_LEFT"])
  })

  it("nobody reads is thrown away, and the connection stays in step", async (t) => {
    const server = await serve(t, ({ path }) => void path)
    const http = await serve(t, (context) => {
      context.response = answer(context.path)
    })
    const socket = connect(http.port, "127.0.0.1")
    const body = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n".padEnd(200_000, "x")
    socket.write(`POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    socket.write("GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    const text = await readToEnd(socket)
    assert.deepEqual(text.match(/\/\d$|\/\d(?=HTTP)/g), ["/1", "/2"])
    assert.doesNotMatch(text, /hidden/)
    await server.http.close()
  })

  it("that is read half-way only does not hold up the next request", async (t) => {
    const server = await serve(t, async (context) => {
      if (context.path === "/half") {
        const stream = context.requestBody.stream()
        await new Promise((resolve) => stream.once("readable", resolve))
        stream.read()
      }
      context.response = answer(context.path)
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(`POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: ${4 << 20}\r\n\r\n`)
    socket.write(Buffer.alloc(4 << 20))
    socket.write("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.match(await readToEnd(socket), /\/half.*\/next$/s)
  })

  it("too large for its reader and wanted by nobody else does not hold up the next request", async (t) => {
    const server = await serve(t, async (context) => {
      if (context.path === "/large") await assert.rejects(context.requestBody.buffer(100), { code: "E_BODY_TOO_LARGE" })
      context.response = answer(context.path)
    })
    const body = gzipSync(randomBytes(2 << 20))
    const socket = connect(server.port, "127.0.0.1")
    socket.write(`POST /large HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`)
    socket.write(body)
    socket.write("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.match(await readToEnd(socket), /\/large.*\/next$/s)
  })

  it("that arrives a byte at a time is put together", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        return String((await requestBody.buffer(1 << 20)).length)
      }),
    )
    const socket = connect(server.port, "127.0.0.1")
    const count = 300_000
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    socket.write(`${"1\r\nx\r\n".repeat(count)}0\r\n\r\n`)
    assert.match(await readToEnd(socket), new RegExp(`\r\n${count}$`))
  })

  it("declared larger than the reader allows is not even asked for", async (t) => {
    const server = await serve(t, buffered(10))
    const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
    assert.match(await exchangeRaw(server.port, head), /^HTTP\/1\.1 400 .*E_BODY_TOO_LARGE$/s)
  })

  it("can be replaced while somebody waits for it", async (t) => {
    const server = await serve(
      t,
      echo(async ({ requestBody }) => {
        const waiting = requestBody.buffer(100)
        requestBody.replace(Buffer.from("other"))
        return `${Buffer.from(await waiting)} ${Buffer.from(await requestBody.buffer(100))}`
      }),
    )
    assert.equal(await post(server.url, "hello"), "other other")
  })

  it("applies back-pressure to the client", async (t) => {
    const server = await serve(
      t,
      async (context) => {
        const stream = context.requestBody.stream()
        await new Promise((resolve) => stream.once("readable", resolve))
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve))
      },
      { limits: { body: "1gb" } },
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${200 << 20}\r\n\r\n`)
    const sent = socket.write(Buffer.alloc(100 << 20))
    assert.equal(sent, false)
    let before = -1
    await until(() => {
      const now = socket.writableLength
      const stalled = now === before && now < 101 << 20
      before = now
      return stalled
    }, "the client is stopped")
    assert.ok(socket.writableLength > 50 << 20)
    socket.destroy()
  })
})
