import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { and, answer, branch, encode, load, type Program } from "../../../../../src/sandbox/jail/launch/seccomp/bpf.ts"
import { toFilter } from "./run-filter.ts"

function run(program: Program, number: number): number {
  return toFilter(encode(program))({ number, architecture: 0 })
}

describe("classic BPF", () => {
  it("takes the branch that the comparison says, unsigned", () => {
    const equal = [...load(0), ...branch("==", 7, answer(1), answer(2))]
    assert.deepEqual(
      [6, 7, 8].map((number) => run(equal, number)),
      [2, 1, 2],
    )
    const least = [...load(0), ...branch(">=", 0x8000_0000, answer(1), answer(2))]
    assert.deepEqual(
      [0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((number) => run(least, number)),
      [2, 2, 1, 1],
    )
    const bits = [...load(0), ...branch("&", 0x8000_0002, answer(1), answer(2))]
    assert.deepEqual(
      [0, 1, 2, 0x8000_0000, 0x7fff_fffd].map((number) => run(bits, number)),
      [2, 2, 1, 1, 2],
    )
    const masked = [...load(0), ...and(0xf000), ...branch("==", 0x8000, answer(1), answer(2))]
    assert.deepEqual(
      [0x8000, 0x81a4, 0xffff_8fff, 0xc000].map((number) => run(masked, number)),
      [1, 1, 1, 2],
    )
  })

  it("jumps over branches of every length, on both sides of what one byte can say", () => {
    for (const length of [1, 254, 255, 256, 257, 600]) {
      const long: Program = [...Array.from({ length: length - 1 }, () => load(4)).flat(), ...answer(2)]
      const program = [...load(0), ...branch("==", 7, answer(1), long)]
      assert.equal(run(program, 7), 1, `jump over ${length}`)
      assert.equal(run(program, 8), 2, `fall into ${length}`)
    }
  })

  it("makes no program that is longer than the kernel takes", () => {
    const program = (length: number): Program => Array.from({ length }, () => answer(1)).flat()
    assert.equal(encode(program(4096)).length, 4096 * 8)
    assert.throws(() => encode(program(4097)), RangeError)
  })
})
