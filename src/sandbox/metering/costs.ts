/**
 * What instructions cost, in units of fuel. A unit is about one simple instruction. Block structure costs nothing: it
 * produces no machine code.
 */
import { OP } from "./instructions.ts"

/** By opcode; prefixed instructions cost the entry of their prefix. */
export const COSTS = new Uint8Array(256).fill(1)
for (const structure of [0x01, OP.block, OP.loop, OP.else, OP.end]) COSTS[structure] = 0
COSTS[OP.call] = 5
COSTS[OP.returnCall] = 5
// What is called may be a function that its callers pay for; which one is not known.
COSTS[OP.callIndirect] = 12
COSTS[OP.returnCallIndirect] = 12
// V8 leaves wasm code to write a function into a table.
COSTS[OP.tableSet] = 100

/**
 * An instruction that works through `count` pages, bytes or entries. It costs `base`, and `count` shifted by `shift` (left
 * when positive) unless `count` is more than there can be: then the instruction fails without doing anything.
 */
export interface SizedCost {
  readonly unit: "pages" | "bytes" | "entries"
  readonly base: number
  readonly shift: number
}

export const MEMORY_GROW = 0
export const MEMORY_BULK = 1
export const TABLE_BULK = 2
export const SIZED_COSTS: readonly SizedCost[] = [
  { unit: "pages", base: 200, shift: 8 },
  { unit: "bytes", base: 16, shift: -3 },
  { unit: "entries", base: 64, shift: 6 },
]
