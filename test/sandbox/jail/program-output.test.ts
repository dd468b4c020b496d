import assert from "node:assert/strict"
import { PassThrough } from "node:stream"
import { it } from "node:test"
import { ProgramOutput } from "../../../src/sandbox/jail/program-output.ts"

const LINES = 300

function spin(ms: number): void {
  const endMs = performance.now() + ms
  while (performance.now() < endMs);
}

/** Has a program write many lines at once. @returns the most of them that were taken in one turn of the event loop. */
async function mostInOneTurn(take: (line: string) => boolean): Promise<number> {
  const stdout = new PassThrough()
  let [inTurn, most] = [0, 0]
  const seen: string[] = []
  const output = new ProgramOutput(stdout, 1000, {
    take(line) {
      most = Math.max(most, ++inTurn)
      seen.push(line.toString())
      return take(line.toString())
    },
    fault: (error) => assert.fail(error as Error),
    done() {},
  })
  const numbers = Array.from({ length: LINES }, (_, number) => String(number))
  stdout.write(`${numbers.join("\n")}\n`)
  while (seen.length < LINES) {
    await new Promise((resolve) => setImmediate(resolve))
    inTurn = 0
  }
  assert.deepEqual(seen, numbers)
  output.drain()
  return most
}

it("takes lines that cost the host little, and were asked for, at once", async () => {
  assert.equal(await mostInOneTurn(() => true), LINES)
})

it("gives others their turn when lines cost the host much", async () => {
  const most = await mostInOneTurn(() => {
    spin(1)
    return false
  })
  assert.ok(most < 60, `${most} lines in one turn`)
})

it("takes no line while it is held, also of what has come already", async () => {
  const stdout = new PassThrough()
  const seen: string[] = []
  const output = new ProgramOutput(stdout, 1000, {
    take(line) {
      seen.push(line.toString())
      if (seen.length === 2) output.hold()
      return true
    },
    fault: (error) => assert.fail(error as Error),
    done() {},
  })
  stdout.end("a\nb\nc\nd\n")
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(seen, ["a", "b"])
  output.release()
  await output.ended
  assert.deepEqual(seen, ["a", "b", "c", "d"])
})

it("tells of a line that cannot be taken, and of one that is too long", async () => {
  for (const text of ["bad\n", `${"x".repeat(1001)}`]) {
    const stdout = new PassThrough()
    const fault = new Promise<unknown>((resolve) => {
      new ProgramOutput(stdout, 1000, {
        take(line) {
          throw new TypeError(line.toString())
        },
        fault: resolve,
        done() {},
      })
    })
    stdout.write(text)
    assert.match(String(await fault), /TypeError: bad|ProtocolFault: it wrote a line of more than 1000 bytes/)
  }
})
