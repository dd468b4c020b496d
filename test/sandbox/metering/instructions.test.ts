import assert from "node:assert/strict"
import { it } from "node:test"
import { IMMEDIATE, IMMEDIATES, OP, VECTOR_IMMEDIATES } from "../../../src/sandbox/metering/instructions.ts"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { moduleOf } from "./support.ts"

const DROP = 0x1a

/**
 * After `unreachable` operands are of any type, so V8 judges an instruction by its immediates alone. What follows the
 * instruction, `drop` or 26, is neither an alignment nor a lane.
 */
function isValidWith(...instruction: number[]): boolean {
  return WebAssembly.validate(moduleOf(OP.unreachable, ...instruction, DROP, OP.unreachable))
}

it("takes for an opcode without immediates only what V8 does", () => {
  for (let opcode = 0; opcode < 256; opcode++)
    if (IMMEDIATES[opcode] === IMMEDIATE.none && opcode !== OP.else && opcode !== OP.end)
      assert(isValidWith(opcode), `opcode 0x${opcode.toString(16)}`)
})

it("knows the immediates of every vector opcode that V8 knows, and no other opcode", () => {
  // 0xff is no opcode, so an access with this offset is not valid as fewer immediates.
  const access = [0, 0xff, 0x7f]
  const shapes: [shape: number, immediates: number[]][] = [
    [IMMEDIATE.none, []],
    [IMMEDIATE.memoryAccess, access],
    [IMMEDIATE.memoryAccessLane, [...access, 1]],
    [IMMEDIATE.lane, [1]],
    [IMMEDIATE.vectorConst, new Array<number>(16).fill(1)],
  ]
  for (let opcode = 0; opcode < 0x400; opcode++) {
    const accepted = shapes.find(([, immediates]) => isValidWith(OP.prefixFd, ...toLeb(opcode), ...immediates))
    const expected = accepted?.[0] ?? IMMEDIATE.unknown
    assert.equal(VECTOR_IMMEDIATES[opcode] ?? IMMEDIATE.unknown, expected, `opcode 0xfd 0x${opcode.toString(16)}`)
  }
})

it("meters every instruction group next to a loop without changing what is valid", () => {
  for (const instruction of [
    [0xfc, 0],
    [0xfc, 7],
    [0x3f, 0],
    [0x43, 0, 0, 0x80, 0x3f],
    [0x44, 0, 0, 0, 0, 0, 0, 0, 0],
  ]) {
    const module = moduleOf(0x03, 0x40, 0x0b, 0x00, ...instruction, 0x00)
    assert(WebAssembly.validate(module))
    assert(WebAssembly.validate(meter(module, GUEST_PROFILE).bytes))
  }
})

function toLeb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7]
}
