import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { FrameBoundary } from "../../src/http/frame-boundary.ts"

/** A frame of `length` zeros, its length written in the shortest way or in `bytes` of them. */
function frame(opcode: number, length: number, masked: boolean, bytes = length < 126 ? 0 : length < 65_536 ? 2 : 8) {
  const header = Buffer.alloc(2 + bytes)
  header[0] = 0x80 | opcode
  header[1] = (masked ? 0x80 : 0) | (bytes === 0 ? length : bytes === 2 ? 126 : 127)
  if (bytes === 2) header.writeUInt16BE(length, 2)
  if (bytes === 8) header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, Buffer.alloc(masked ? 4 : 0, 0x88), Buffer.alloc(length, 0x88)])
}

const FRAMES = [
  frame(1, 0, false),
  frame(1, 0, true),
  frame(2, 1, true),
  frame(0, 125, false),
  frame(9, 125, true),
  frame(2, 126, false),
  frame(2, 65_535, true),
  frame(2, 65_536, false),
  frame(2, 70_000, true),
  frame(1, 5, false, 2),
  frame(1, 5, true, 8),
]
const STREAM = Buffer.concat(FRAMES)

describe("the way through a stream of frames", () => {
  it("knows every boundary, however the stream is cut", () => {
    const ends = new Set<number>()
    for (let count = 0; count <= FRAMES.length; count++) ends.add(Buffer.concat(FRAMES.slice(0, count)).length)
    for (const size of [1, 2, 3, 7, 127, 1_000, 65_536, STREAM.length]) {
      const frames = new FrameBoundary()
      for (let at = 0; at < STREAM.length; at += size) {
        assert.equal(frames.between, ends.has(at), `at ${at} in pieces of ${size}`)
        frames.pass(STREAM.subarray(at, at + size))
      }
      assert.ok(frames.between)
      assert.equal(frames.closed, false)
    }
  })

  it("stops behind the first frame that ends in a piece", () => {
    const frames = new FrameBoundary()
    let rest: Uint8Array = STREAM
    for (const { length } of FRAMES) {
      assert.equal(frames.passFrame(rest), length)
      rest = rest.subarray(length)
    }
    assert.equal(frames.passFrame(FRAMES[8]!.subarray(0, 4)), undefined)
    assert.equal(frames.passFrame(FRAMES[8]!.subarray(4, 69_000)), undefined)
    assert.equal(frames.between, false)
    assert.equal(frames.passFrame(Buffer.concat([FRAMES[8]!.subarray(69_000), FRAMES[0]!])), FRAMES[8]!.length - 69_000)
  })

  it("sees a Close frame, and none where a payload or a mask looks like one", () => {
    for (const masked of [false, true]) {
      const frames = new FrameBoundary()
      frames.pass(STREAM)
      assert.equal(frames.closed, false)
      frames.pass(frame(8, 2, masked))
      assert.equal(frames.closed, true)
    }
  })

  it("never ends inside a frame that says it is longer than a number can hold", () => {
    for (const length of ["ffffffffffffffff", "8000000000000000", "0020000000000000"]) {
      const frames = new FrameBoundary()
      frames.pass(Buffer.from(`827f${length}`, "hex"))
      assert.equal(frames.passFrame(Buffer.alloc(100_000)), undefined)
      assert.equal(frames.between, false)
    }
  })
})
