import assert from "node:assert/strict"
import { Writable } from "node:stream"
import { describe, it } from "node:test"
import { createLogger } from "../../src/telemetry/log.ts"
import { LogTail, mergeLogLines } from "../../src/telemetry/log-tail.ts"

describe("the tail of the log", () => {
  it("has what the log has, redacted, as JSON also where the log is pretty", () => {
    for (const format of ["json", "pretty"] as const) {
      const tail = new LogTail()
      const sink = new Writable({ write: (_chunk, _encoding, done) => done() })
      const logger = createLogger({ level: "info", format, access: true }, sink, tail)
      logger.info({ token: "s3cret" }, "hello")
      logger.debug("not at this level")
      const [line, ...more] = tail.lines(10)
      assert.deepEqual(more, [])
      const { msg, token } = JSON.parse(line!)
      assert.deepEqual({ msg, token }, { msg: "hello", token: "[redacted]" })
    }
  })

  it("keeps the last 1000 lines in order", () => {
    const tail = new LogTail()
    for (let index = 0; index < 3500; index++) tail.write(`${index}\n`)
    assert.deepEqual(tail.lines(2), ["3498", "3499"])
    assert.equal(tail.lines(5000).length, 1000)
    assert.equal(tail.lines(5000)[0], "2500")
    assert.deepEqual(tail.lines(0), [])
  })

  it("is bounded in bytes whatever plugins log", () => {
    const tail = new LogTail()
    const line = `{"level":"info","msg":"${"x".repeat(32_000)}"}`
    for (let index = 0; index < 1000; index++) tail.write(`${line}\n`)
    const kept = tail.lines(1000)
    assert.ok(kept.length > 100 && kept.join("").length <= 4 * 1024 * 1024)
    tail.write("last\n")
    assert.equal(tail.lines(1)[0], "last")
  })

  it("replaces a line that is too long by a note that is a line of the log", () => {
    const tail = new LogTail()
    tail.write(`{"level":"warn","time":"2026-01-01T00:00:00.000Z","msg":"${"x".repeat(70_000)}"}\n`)
    const { level, time, msg } = JSON.parse(tail.lines(1)[0]!)
    assert.deepEqual({ level, time }, { level: "warn", time: "2026-01-01T00:00:00.000Z" })
    assert.match(msg, /a line of 700\d\d characters is left out/)
  })

  it("is followed by several until each stops", () => {
    const tail = new LogTail()
    const seen: string[] = []
    const listener = (line: string) => seen.push(line)
    const stops = [tail.follow(listener), tail.follow(listener)]
    tail.write("a\n")
    stops[0]!()
    stops[0]!()
    tail.write("b\n")
    stops[1]!()
    tail.write("c\n")
    assert.deepEqual(seen, ["a", "a", "b"])
  })
})

describe("the logs of several processes", () => {
  const line = (second: number, msg: string) =>
    `{"level":"info","time":"2026-01-01T00:00:0${second}.000Z","msg":"${msg}"}`

  it("become one, by time, with each process's own order kept", () => {
    const first = [line(1, "a"), line(3, "b"), line(3, "c")]
    const second = [line(2, "x"), line(3, "y"), line(9, "z")]
    const messages = mergeLogLines([first, second], 10).map((text) => JSON.parse(text).msg)
    assert.deepEqual(messages, ["a", "x", "b", "c", "y", "z"])
    assert.deepEqual(mergeLogLines([first, second], 1), [line(9, "z")])
    assert.deepEqual(mergeLogLines([first], 0), [])
  })

  it("are not put out of order by a time in what a guest said", () => {
    const evil = '{"level":"info","msg":"\\"time\\":\\"1999-01-01T00:00:00.000Z\\""}'
    const merged = mergeLogLines([[line(1, "a"), evil], [line(0, "b")]], 10)
    assert.deepEqual(merged, [line(0, "b"), line(1, "a"), evil])
  })
})
