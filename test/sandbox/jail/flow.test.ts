import assert from "node:assert/strict"
import { PassThrough } from "node:stream"
import { it } from "node:test"
import { Flow } from "../../../src/sandbox/jail/flow.ts"

/** A stream of numbered chunks, and what of it was read. */
function counted(most: number) {
  const stream = new PassThrough({ highWaterMark: 16 })
  const flow = new Flow({ stop: () => stream.pause(), go: () => stream.resume() }, most)
  const read: number[] = []
  stream.on("data", (chunk: Buffer) => {
    read.push(chunk.length)
    flow.count(1, performance.now())
  })
  return { stream, flow, read }
}

it("stands still when more came than a tenth of a second lets through, and goes on afterwards", async () => {
  const { stream, flow, read } = counted(3)
  stream.resume()
  for (let count = 0; count < 20; count++) stream.write("x")
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(stream.isPaused(), "it was stopped")
  const before = read.length
  await new Promise<void>((resolve) => stream.once("resume", () => resolve()))
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(read.length > before, "more was read")
  flow.drain()
})

it("stays still while it is held, also when a tenth of a second is over", async () => {
  const { stream, flow, read } = counted(1000)
  flow.hold()
  stream.write("x")
  await new Promise((resolve) => setTimeout(resolve, 150))
  assert.deepEqual(read, [])
  flow.release()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(read, [1])
  flow.drain()
})

it("lets the rest through at the end, whatever was held back", async () => {
  const { stream, flow, read } = counted(1)
  for (let count = 0; count < 50; count++) stream.write("x")
  flow.hold()
  stream.end()
  flow.drain()
  await new Promise((resolve) => stream.once("end", resolve))
  assert.ok(read.reduce((sum, length) => sum + length, 0) === 50)
  assert.ok(!stream.isPaused())
})
