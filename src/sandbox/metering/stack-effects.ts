/**
 * By how much an instruction changes the height of the operand stack, in code that can be reached. Calls, branches and
 * block structure are not here: their effect depends on types.
 * Source: WebAssembly Core 3.0 §3.4 (typing rules of instructions).
 */
type Ranges = readonly (readonly [first: number, last: number])[]

/** By opcode. */
export const STACK_EFFECTS = effects(256, {
  "1": [
    [0x20, 0x20], // local.get
    [0x23, 0x23], // global.get
    [0x3f, 0x3f], // memory.size
    [0x41, 0x44], // constants
    [0xd0, 0xd0], // ref.null
    [0xd2, 0xd2], // ref.func
  ],
  "-1": [
    [0x1a, 0x1a], // drop
    [0x21, 0x21], // local.set
    [0x24, 0x24], // global.set
    [0x46, 0x4f], // comparisons
    [0x51, 0x66],
    [0x6a, 0x78], // arithmetic of two operands
    [0x7c, 0x8a],
    [0x92, 0x98],
    [0xa0, 0xa6],
  ],
  "-2": [
    [0x1b, 0x1c], // select
    [0x26, 0x26], // table.set
    [0x36, 0x3e], // stores
  ],
})

/** By the number after the prefix 0xfc. */
export const BULK_STACK_EFFECTS = effects(18, {
  "1": [[16, 16]], // table.size
  "-1": [[15, 15]], // table.grow
  "-3": [
    [8, 8], // memory.init
    [10, 12], // memory.copy, memory.fill, table.init
    [14, 14], // table.copy
    [17, 17], // table.fill
  ],
})

/** By the number after the prefix 0xfd. */
export const VECTOR_STACK_EFFECTS = effects(0x114, {
  "1": [[0x0c, 0x0c]], // v128.const
  "-1": [
    [0x0d, 0x0e], // shuffle, swizzle
    [0x17, 0x17], // replace_lane of each shape
    [0x1a, 0x1a],
    [0x1c, 0x1c],
    [0x1e, 0x1e],
    [0x20, 0x20],
    [0x22, 0x4c], // replace_lane, comparisons
    [0x4e, 0x51], // bitwise
    [0x54, 0x57], // load_lane
    [0x65, 0x66], // narrow
    [0x6b, 0x73], // i8x16 shifts, sums
    [0x76, 0x79],
    [0x7b, 0x7b],
    [0x82, 0x82], // i16x8
    [0x85, 0x86],
    [0x8b, 0x93],
    [0x95, 0x99],
    [0x9b, 0x9f],
    [0xab, 0xae], // i32x4
    [0xb1, 0xb1],
    [0xb5, 0xba],
    [0xbc, 0xbf],
    [0xcb, 0xce], // i64x2
    [0xd1, 0xd1],
    [0xd5, 0xdf],
    [0xe4, 0xeb], // f32x4
    [0xf0, 0xf7], // f64x2
    [0x100, 0x100], // relaxed swizzle, minima, maxima, products
    [0x10d, 0x112],
  ],
  "-2": [
    [0x0b, 0x0b], // v128.store
    [0x52, 0x52], // bitselect
    [0x58, 0x5b], // store_lane
    [0x105, 0x10c], // relaxed multiply-add and lane select
    [0x113, 0x113],
  ],
})

function effects(size: number, ranges: Record<string, Ranges>): Int8Array {
  const table = new Int8Array(size)
  for (const [effect, list] of Object.entries(ranges))
    for (const [first, last] of list) table.fill(Number(effect), first, last + 1)
  return table
}
