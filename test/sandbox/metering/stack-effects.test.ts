import assert from "node:assert/strict"
import { it } from "node:test"
import { IMMEDIATE, IMMEDIATES, OP, VECTOR_IMMEDIATES } from "../../../src/sandbox/metering/instructions.ts"
import { BULK_STACK_EFFECTS, STACK_EFFECTS, VECTOR_STACK_EFFECTS } from "../../../src/sandbox/metering/stack-effects.ts"
import { binary } from "./support.ts"

const DROP = 0x1a
/** A constant of each type. */
const OPERANDS = [
  [OP.i32Const, 0],
  [OP.i64Const, 0],
  [0x43, 0, 0, 0, 0],
  [0x44, 0, 0, 0, 0, 0, 0, 0, 0],
  [OP.prefixFd, 0x0c, ...new Array<number>(16).fill(0)],
  [0xd0, 0x70],
]
/** Immediates of each shape that are valid in the module of `isValid`. */
const BYTES = new Map<number, readonly number[]>([
  [IMMEDIATE.none, []],
  [IMMEDIATE.index, [0]],
  [IMMEDIATE.tableIndex, [0]],
  [IMMEDIATE.global, [0]],
  [IMMEDIATE.memoryAccess, [0, 0]],
  [IMMEDIATE.memoryAccessLane, [0, 0, 0]],
  [IMMEDIATE.memoryIndex, [0]],
  [IMMEDIATE.lane, [0]],
  [IMMEDIATE.vectorConst, new Array<number>(16).fill(0)],
  [IMMEDIATE.heapType, [0x70]],
  [IMMEDIATE.int32, [0]],
  [IMMEDIATE.int64, [0]],
  [IMMEDIATE.float32, [0, 0, 0, 0]],
  [IMMEDIATE.float64, [0, 0, 0, 0, 0, 0, 0, 0]],
])
/** Instructions whose effect depends on types; the scan computes it. */
const BY_TYPE: readonly number[] = [OP.unreachable, OP.else, OP.end, OP.return]

/** A module with a memory, a table of functions, an i32 global, data, elements and an i32 local. */
function isValid(code: readonly number[]): boolean {
  return WebAssembly.validate(
    binary(
      [1, 1, 0x60, 0, 0],
      [3, 1, 0],
      [4, 1, 0x70, 0, 1],
      [5, 1, 0, 1],
      [6, 1, 0x7f, 1, OP.i32Const, 0, OP.end],
      [9, 1, 1, 0, 1, 0],
      [12, 1],
      [10, 1, code.length + 4, 1, 1, 0x7f, ...code, OP.end],
      [11, 1, 1, 0],
    ),
  )
}

/** @returns The effects under which V8 takes the instruction with some operands. */
function effectsOf(instruction: readonly number[]): number[] {
  const found: number[] = []
  let operandLists: number[][][] = [[]]
  for (let pops = 0; pops <= 3 && found.length === 0; pops++) {
    for (const operands of operandLists)
      for (const pushes of [0, 1]) {
        const drops = new Array<number>(pushes).fill(DROP)
        if (found.length === 0 && isValid([...operands.flat(), ...instruction, ...drops])) found.push(pushes - pops)
      }
    operandLists = operandLists.flatMap((list) => OPERANDS.map((operand) => [...list, operand]))
  }
  return found
}

it("knows the effect of every instruction whose types are fixed", () => {
  for (let opcode = 0; opcode < 256; opcode++) {
    const immediates = BYTES.get(IMMEDIATES[opcode]!)
    if (immediates === undefined || BY_TYPE.includes(opcode)) continue
    assert.deepEqual(effectsOf([opcode, ...immediates]), [STACK_EFFECTS[opcode]], `opcode 0x${opcode.toString(16)}`)
  }
})

it("knows the effect of every bulk instruction", () => {
  const immediates = [[0, 0], [0], [0, 0], [0], [0, 0], [0], [0, 0], [0], [0], [0]]
  immediates.forEach((bytes, i) => {
    assert.deepEqual(effectsOf([OP.prefixFc, 8 + i, ...bytes]), [BULK_STACK_EFFECTS[8 + i]], `opcode 0xfc ${8 + i}`)
  })
})

it("knows the effect of every vector instruction", () => {
  VECTOR_IMMEDIATES.forEach((shape, opcode) => {
    if (shape === IMMEDIATE.unknown) return
    const leb = opcode < 0x80 ? [opcode] : [(opcode & 0x7f) | 0x80, opcode >> 7]
    const effects = effectsOf([OP.prefixFd, ...leb, ...BYTES.get(shape)!])
    assert.deepEqual(effects, [VECTOR_STACK_EFFECTS[opcode]], `opcode 0xfd 0x${opcode.toString(16)}`)
  })
})
