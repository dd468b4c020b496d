/**
 * What follows each opcode in the code section, and what the instruction costs.
 * Source: WebAssembly Core 3.0 §5.4 and appendix "Index of Instructions".
 */

/** Opcodes that the rewriter reads or writes by name. */
export const OP = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  tableSet: 0x26,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  i32LtS: 0x48,
  i32LeS: 0x4c,
  i32LeU: 0x4d,
  i64LtS: 0x53,
  i64LeS: 0x57,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Shl: 0x74,
  i32ShrU: 0x76,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64ExtendI32U: 0xad,
  f64ConvertI64S: 0xb9,
  refFunc: 0xd2,
  prefixFb: 0xfb,
  prefixFc: 0xfc,
  prefixFd: 0xfd,
} as const

/** Block type without parameters and results. */
export const VOID = 0x40
export const I32 = 0x7f
export const I64 = 0x7e
export const F64 = 0x7c
export const F32 = 0x7d
export const V128 = 0x7b
export const FUNCREF = 0x70
export const EXTERNREF = 0x6f
/** Binary form of a function type. */
export const FUNCTION_TYPE = 0x60

/** Shapes of what follows an opcode. `UNKNOWN` is refused by name. */
export const IMMEDIATE = {
  unknown: 0,
  none: 1,
  index: 2,
  memoryAccess: 3,
  blockType: 4,
  branchTable: 5,
  int32: 6,
  int64: 7,
  float32: 8,
  float64: 9,
  callIndirect: 10,
  selectTypes: 11,
  heapType: 12,
  memoryIndex: 13,
  global: 14,
  functionIndex: 15,
  branch: 16,
  vectorConst: 17,
  lane: 18,
  memoryAccessLane: 19,
  prefixFc: 20,
  prefixFd: 21,
  tableIndex: 22,
} as const

export const IMMEDIATES = table(256, [
  [0x00, 0x01, IMMEDIATE.none],
  [0x02, 0x04, IMMEDIATE.blockType],
  [0x05, 0x05, IMMEDIATE.none],
  [0x0b, 0x0b, IMMEDIATE.none],
  [0x0c, 0x0d, IMMEDIATE.branch],
  [0x0e, 0x0e, IMMEDIATE.branchTable],
  [0x0f, 0x0f, IMMEDIATE.none],
  [0x10, 0x10, IMMEDIATE.functionIndex],
  [0x11, 0x11, IMMEDIATE.callIndirect],
  [0x12, 0x12, IMMEDIATE.functionIndex],
  [0x13, 0x13, IMMEDIATE.callIndirect],
  [0x1a, 0x1b, IMMEDIATE.none],
  [0x1c, 0x1c, IMMEDIATE.selectTypes],
  [0x20, 0x22, IMMEDIATE.index],
  [0x23, 0x24, IMMEDIATE.global],
  [0x25, 0x26, IMMEDIATE.tableIndex],
  [0x28, 0x3e, IMMEDIATE.memoryAccess],
  [0x3f, 0x40, IMMEDIATE.memoryIndex],
  [0x41, 0x41, IMMEDIATE.int32],
  [0x42, 0x42, IMMEDIATE.int64],
  [0x43, 0x43, IMMEDIATE.float32],
  [0x44, 0x44, IMMEDIATE.float64],
  [0x45, 0xc4, IMMEDIATE.none],
  [0xd0, 0xd0, IMMEDIATE.heapType],
  [0xd1, 0xd1, IMMEDIATE.none],
  [0xd2, 0xd2, IMMEDIATE.functionIndex],
  [0xfc, 0xfc, IMMEDIATE.prefixFc],
  [0xfd, 0xfd, IMMEDIATE.prefixFd],
])

/** Shapes after the vector prefix 0xfd, relaxed SIMD included; the gaps are opcodes nobody has assigned. */
export const VECTOR_IMMEDIATES = table(0x114, [
  [0x00, 0x0b, IMMEDIATE.memoryAccess],
  [0x0c, 0x0d, IMMEDIATE.vectorConst],
  [0x0e, 0x14, IMMEDIATE.none],
  [0x15, 0x22, IMMEDIATE.lane],
  [0x23, 0x53, IMMEDIATE.none],
  [0x54, 0x5b, IMMEDIATE.memoryAccessLane],
  [0x5c, 0x5d, IMMEDIATE.memoryAccess],
  [0x5e, 0xff, IMMEDIATE.none],
  [0x100, 0x113, IMMEDIATE.none],
])
for (const gap of [
  0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2,
  0xee,
])
  VECTOR_IMMEDIATES[gap] = IMMEDIATE.unknown

/** Names what an opcode of no known shape belongs to, for the error. */
export function featureOf(opcode: number): string {
  if (opcode >= 0x06 && opcode <= 0x0a) return "exception handling"
  if (opcode === 0x18 || opcode === 0x19 || opcode === 0x1f) return "exception handling"
  if (opcode === 0x14 || opcode === 0x15 || (opcode >= 0xd3 && opcode <= 0xd6)) return "a typed function reference"
  if (opcode >= 0xe0 && opcode <= 0xe6) return "stack switching"
  if (opcode === 0xfb) return "garbage collection"
  if (opcode === 0xfe) return "a thread instruction"
  return `opcode 0x${opcode.toString(16)}`
}

function table(size: number, ranges: readonly (readonly [first: number, last: number, shape: number])[]): Uint8Array {
  const shapes = new Uint8Array(size)
  for (const [first, last, shape] of ranges) shapes.fill(shape, first, last + 1)
  return shapes
}
