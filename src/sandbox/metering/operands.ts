import { COSTS } from "./costs.ts"
import { IMMEDIATE, IMMEDIATES, OP, VECTOR_IMMEDIATES } from "./instructions.ts"
import { unsupported } from "./module-rejected.ts"
import type { Reader } from "./reader.ts"
import { STACK_EFFECTS, VECTOR_STACK_EFFECTS } from "./stack-effects.ts"

/**
 * Passes over instructions that cost 1 and do nothing but work on the stack, in their most common encodings: nine of ten
 * instructions. The reader's `end` is checked by whoever reads on.
 * @returns Their number and what they change of the height of the stack; the same object each time.
 */
export function skipSimple(reader: Reader): { readonly count: number; readonly height: number } {
  const { bytes, end } = reader
  let { at } = reader
  let count = 0
  let height = 0
  while (at < end) {
    const opcode = bytes[at]!
    const shape = SIMPLE[opcode]!
    if (shape === 0) break
    if (shape > 1 && bytes[at + 1]! >= (shape === 3 ? 0x40 : 0x80)) break
    if (shape === 3 && bytes[at + 2]! >= 0x80) break
    at += shape
    count++
    height += STACK_EFFECTS[opcode]!
  }
  reader.at = Math.min(at, end)
  skipped.count = count
  skipped.height = height
  return skipped
}

const skipped = { count: 0, height: 0 }

/** Bytes that a simple instruction takes in its shortest form: without, with one, and with two immediates; 0 for others. */
const SIMPLE = IMMEDIATES.map((shape, opcode) => {
  if (COSTS[opcode] !== 1 || opcode === OP.unreachable || opcode === OP.return) return 0
  if (shape === IMMEDIATE.none) return 1
  if (shape === IMMEDIATE.index || shape === IMMEDIATE.int32 || shape === IMMEDIATE.int64) return 2
  return shape === IMMEDIATE.memoryAccess ? 3 : 0
})

/** V8 takes the empty block type in more than its one byte too, which would be read as the index of a type. */
export function checkBlockTypeIndex({ bytes, at }: Reader): void {
  let last = at
  while (bytes[last]! >= 0x80) last++
  if (last > at && (bytes[last]! & 0x40) !== 0) unsupported("a block type of more than one byte", at)
}

export function readMemoryAccess(reader: Reader): void {
  const offset = reader.at
  if (reader.u32() >= 0x40) unsupported("more than one memory", offset)
  reader.u32()
}

export function readMemoryIndex(reader: Reader): void {
  const offset = reader.at
  if (reader.u32() !== 0) unsupported("more than one memory", offset)
}

/** @returns How the instruction changes the height of the stack. */
export function readVectorInstruction(reader: Reader, start: number): number {
  const opcode = reader.u32()
  switch (VECTOR_IMMEDIATES[opcode]) {
    case IMMEDIATE.none:
      break
    case IMMEDIATE.memoryAccess:
      readMemoryAccess(reader)
      break
    case IMMEDIATE.memoryAccessLane:
      readMemoryAccess(reader)
      reader.skip(1)
      break
    case IMMEDIATE.lane:
      reader.skip(1)
      break
    case IMMEDIATE.vectorConst:
      reader.skip(16)
      break
    default:
      unsupported(`opcode 0xfd 0x${opcode.toString(16)}`, start)
  }
  return VECTOR_STACK_EFFECTS[opcode]!
}
