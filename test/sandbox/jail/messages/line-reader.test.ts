import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { LineReader } from "../../../../src/sandbox/jail/messages/line-reader.ts"
import { ProtocolFault } from "../../../../src/sandbox/jail/messages/protocol-fault.ts"
import { mulberry32 } from "../../../support/mulberry32.ts"

describe("LineReader", () => {
  it("takes a stream apart at its newlines, wherever the chunks end", () => {
    const lines = ["", "a", "", "{}", "x".repeat(200_000), "é".repeat(5), "last"]
    const stream = Buffer.from(lines.map((line) => `${line}\n`).join(""))
    const random = mulberry32(7)
    for (const most of [1, 3, 1000, 65_536, stream.length]) {
      const { reader, taken } = collecting(1_000_000)
      for (let at = 0; at < stream.length; ) {
        const size = most === 1 ? 1 : 1 + Math.floor(random() * most)
        reader.push(stream.subarray(at, at + size))
        at += size
      }
      assert.deepEqual(taken, lines)
      assert.equal(reader.pendingBytes, 0)
    }
  })

  it("keeps NULs, carriage returns and bytes that are not UTF-8", () => {
    const found: Buffer[] = []
    const reader = new LineReader(100, (line) => found.push(Buffer.from(line)))
    reader.push(Buffer.from([0, 13, 255, 10, 0]))
    reader.push(Buffer.from([10]))
    assert.deepEqual(found, [Buffer.from([0, 13, 255]), Buffer.from([0])])
  })

  it("tells how many bytes of an unfinished line there are", () => {
    const { reader, taken } = collecting(100)
    reader.push(Buffer.from("one\ntw"))
    assert.equal(reader.pendingBytes, 2)
    reader.push(Buffer.from("o"))
    assert.equal(reader.pendingBytes, 3)
    reader.push(Buffer.from("\n"))
    assert.equal(reader.pendingBytes, 0)
    assert.deepEqual(taken, ["one", "two"])
  })

  it("takes a line of exactly the limit, whole and in pieces, and refuses one byte more", () => {
    const { reader, taken } = collecting(10)
    reader.push(Buffer.from("0123456789\n"))
    reader.push(Buffer.from("01234"))
    reader.push(Buffer.from("56789"))
    reader.push(Buffer.from("\n"))
    assert.deepEqual(taken, ["0123456789", "0123456789"])
    assert.throws(() => reader.push(Buffer.from("01234567890\n")), ProtocolFault)
    const { reader: other } = collecting(10)
    other.push(Buffer.from("0123456789"))
    assert.throws(() => other.push(Buffer.from("0")), ProtocolFault)
  })

  it("refuses a line that never ends as soon as it is too long, and keeps nothing of it", () => {
    const { reader, taken } = collecting(1000)
    const chunk = Buffer.alloc(64)
    let pushed = 0
    assert.throws(() => {
      for (; pushed < 100_000_000; pushed += chunk.length) reader.push(chunk)
    }, /^ProtocolFault: it wrote a line of more than 1000 bytes: "\\u0000\\u0000/)
    assert.ok(pushed <= 1000, `took ${pushed} bytes`)
    assert.equal(reader.pendingBytes, 0)
    assert.deepEqual(taken, [])
  })

  it("refuses a line that is too long within one chunk, after the lines before it", () => {
    const { reader, taken } = collecting(5)
    assert.throws(() => reader.push(Buffer.from("a\nb\n123456\nc\n")), ProtocolFault)
    assert.deepEqual(taken, ["a", "b"])
  })

  it("passes on what the receiver of a line throws", () => {
    const reader = new LineReader(100, () => {
      throw new RangeError("enough")
    })
    assert.throws(() => reader.push(Buffer.from("a\n")), { message: "enough" })
    reader.push(Buffer.from("b"))
    assert.throws(() => reader.push(Buffer.from("\n")), { message: "enough" })
    assert.equal(reader.pendingBytes, 0)
  })

  it("takes no line while it is held, not even of a chunk that it is in the middle of", () => {
    const taken: string[] = []
    const reader = new LineReader(100, (line) => {
      taken.push(line.toString())
      if (line.toString().startsWith("stop")) reader.hold()
    })
    reader.push(Buffer.from("a\nstop 1\nb\nstop 2\nstop 3\nc"))
    assert.deepEqual(taken, ["a", "stop 1"])
    reader.push(Buffer.from("c\nd\n"))
    reader.push(Buffer.from("e"))
    assert.deepEqual(taken, ["a", "stop 1"])
    reader.release()
    assert.deepEqual(taken, ["a", "stop 1", "b", "stop 2"])
    reader.push(Buffer.from("e\n"))
    reader.release()
    assert.deepEqual(taken.slice(4), ["stop 3"])
    reader.release()
    assert.deepEqual(taken.slice(5), ["cc", "d", "ee"])
    reader.push(Buffer.from("f\n"))
    assert.equal(taken.at(-1), "f")
  })

  it("keeps the order of lines when whoever gets one pushes more, holds and releases", () => {
    const taken: string[] = []
    const reader = new LineReader(100, (line) => {
      taken.push(line.toString())
      reader.hold()
      if (line.toString() === "a") reader.push(Buffer.from("d\ne\n"))
      reader.release()
    })
    reader.push(Buffer.from("a\nb\nc"))
    reader.push(Buffer.from("\nf\n"))
    assert.deepEqual(taken, ["a", "b", "cd", "e", "", "f"])
  })

  it("refuses a line that is too long when it goes on, if that came while it was held", () => {
    const { reader, taken } = collecting(5)
    reader.hold()
    reader.push(Buffer.from("a\n123456\n"))
    assert.deepEqual(taken, [])
    assert.throws(() => reader.release(), ProtocolFault)
    assert.deepEqual(taken, ["a"])
  })

  it("copies a line that comes byte by byte a few times only", () => {
    const size = 1_000_000
    const { reader, taken } = collecting(size)
    const original = Buffer.prototype.set
    let copied = 0
    // What is written into buffers, growth included, is what the work consists of.
    Buffer.prototype.set = function (source: ArrayLike<number>, offset?: number) {
      copied += source.length
      original.call(this, source, offset)
    }
    try {
      for (let i = 0; i < size; i++) reader.push(LETTER)
    } finally {
      Buffer.prototype.set = original
    }
    reader.push(Buffer.from("\n"))
    assert.equal(taken[0]?.length, size)
    assert.ok(copied >= size && copied < 4 * size, `${copied} bytes were copied`)
  })
})

const LETTER = Buffer.from("x")

function collecting(maxBytes: number): { reader: LineReader; taken: string[] } {
  const taken: string[] = []
  return { reader: new LineReader(maxBytes, (line) => taken.push(line.toString())), taken }
}
