import assert from "node:assert/strict"
import { once } from "node:events"
import { PassThrough, Readable } from "node:stream"
import { describe, it } from "node:test"
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import { BextError } from "../../src/errors.ts"
import { bodyState, bufferResponse } from "../../src/plugins/buffer-response.ts"
import { response, textOf } from "./request-context.ts"

const limits = { maxBytes: 1000, maxMs: 60_000 }
const never = new AbortController().signal
const unlimited = { take: () => {} }

const buffer = (state: ReturnType<typeof response>, bounds = limits) => bufferResponse(state, bounds, unlimited, never)

describe("bodyState", () => {
  it("tells what can be shown at once, what has to be read, and what never ends", () => {
    const encoded = [["Content-Encoding", "gzip"]] as const
    assert.equal(bodyState(response(null)), "ready")
    assert.equal(bodyState(response("text")), "ready")
    assert.equal(bodyState(response(Buffer.from("bytes"), [["content-encoding", "identity"]])), "ready")
    assert.equal(bodyState(response(Buffer.from("bytes"), encoded)), "waits")
    assert.equal(bodyState(response(Readable.from(["a"]))), "waits")
    for (const type of ["text/event-stream", "Text/Event-Stream;charset=utf-8"]) {
      assert.equal(bodyState(response(Readable.from(["a"]), [["content-type", type]])), "endless")
    }
    assert.equal(bodyState(response(Readable.from(["a"]), [["content-type", "text/event-streams"]])), "waits")
  })
})

describe("bufferResponse", () => {
  it("reads a stream to its end", async () => {
    const state = response(Readable.from(["one ", "two"]))
    assert.equal(String(await buffer(state)), "one two")
    assert.equal(await textOf(state.body), "one two")
  })

  const page = "hello ".repeat(100)
  for (const [coding, encode] of [
    ["gzip", gzipSync],
    ["deflate", deflateSync],
    ["br", brotliCompressSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    it(`shows ${coding} decoded and leaves the response as it was`, async () => {
      const encoded = encode(page)
      const state = response(Readable.from([encoded]), [["Content-Encoding", coding]])
      assert.equal(String(await buffer(state)), page)
      assert.deepEqual(state.body, encoded)
      assert.equal(state.headers.get("content-encoding"), coding)
    })
  }

  it("decodes codings in the reverse of the order they were applied in", async () => {
    const state = response(brotliCompressSync(gzipSync(page)), [["Content-Encoding", "gzip, br"]])
    assert.equal(String(await buffer(state)), page)
  })

  it("gives up on a body over the limit, which is still there in full", async () => {
    const chunks = Array.from({ length: 50 }, (_, i) => `${i} `.repeat(50))
    const state = response(Readable.from(chunks))
    assert.match(String(await buffer(state)), /over max_body \(1000 bytes\)/)
    assert.ok(state.body instanceof Readable)
    assert.equal(await textOf(state.body), chunks.join(""))
  })

  it("gives up on a body that does not end in time, which goes on where it was", async () => {
    const source = new PassThrough()
    source.write("first ")
    const state = response(source)
    assert.match(String(await buffer(state, { maxBytes: 1000, maxMs: 20 })), /did not end within 20 ms/)
    source.end("second")
    assert.equal(await textOf(state.body), "first second")
  })

  it("lets go of the source when the rest is not wanted", async () => {
    const source = new PassThrough()
    source.write("x".repeat(2000))
    const state = response(source)
    await buffer(state)
    const closed = once(source, "close")
    ;(state.body as Readable).destroy()
    await closed
    assert.equal(source.destroyed, true)
  })

  it("stops at an expansion bomb", async () => {
    const state = response(gzipSync(Buffer.alloc(10_000_000)), [["Content-Encoding", "gzip"]])
    assert.match(String(await buffer(state, { maxBytes: 100_000, maxMs: 60_000 })), /cannot be decoded/)
  })

  it("says so when it cannot decode, and leaves the bytes alone", async () => {
    for (const coding of ["compress", "gzip, gzip, gzip, gzip", "gzip"]) {
      const bytes = Buffer.from("not encoded")
      const state = response(bytes, [["Content-Encoding", coding]])
      assert.match(String(await buffer(state)), /cannot be decoded/)
      assert.equal(state.body, bytes)
    }
  })

  it("passes on the failure of the source", async () => {
    const source = new PassThrough()
    source.write("start")
    const reading = buffer(response(source))
    source.destroy(new Error("upstream died"))
    await assert.rejects(reading, /upstream died/)
  })

  it("ends with the client", async () => {
    const source = new PassThrough()
    const client = new AbortController()
    const reading = bufferResponse(response(source), limits, unlimited, client.signal)
    client.abort(new Error("client went away"))
    await assert.rejects(reading, /client went away/)
    assert.equal(source.destroyed, true)
  })

  it("takes what it holds from the process's budget, and lets go when that is used up", async () => {
    let left = 10
    const take = (bytes: number) => {
      left -= bytes
      if (left < 0) throw new BextError("E_OVERLOADED", "used up")
    }
    const source = new PassThrough()
    const reading = bufferResponse(response(source), limits, { take }, never)
    source.write("12345")
    source.write("1234567")
    await assert.rejects(reading, { code: "E_OVERLOADED" })
    assert.equal(source.destroyed, true)
  })
})
