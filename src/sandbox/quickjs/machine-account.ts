import { LAYOUT } from "./binary.ts"

/** What all machines of a process may take together. */
export interface MachineCeiling {
  readonly maxMachines: number
  /** Guest heaps, bytes. */
  readonly maxBytes: number
}

const PAGE_BYTES = 65_536
/** Pages of every machine that hold the C stack: reserved, and hardly ever touched. */
const STACK_PAGES = Math.floor((LAYOUT.heapStart - LAYOUT.dataEnd) / PAGE_BYTES)
/** Part of the ceiling that a lane has to itself, as long as there is one: neither thread can give up the other's machines. */
const LANE_PART = 1 / 4

/** Counts the machines of a thread and the memory they take. */
export class MachineAccount {
  ceiling: MachineCeiling
  #machines = 0
  #pages = 0

  constructor(ceiling: MachineCeiling) {
    this.ceiling = ceiling
  }

  /** Whether there is more than there may be: the ceiling was lowered. */
  get over(): boolean {
    return this.#machines > this.ceiling.maxMachines || this.#pages * PAGE_BYTES > this.ceiling.maxBytes
  }

  /** @param pages - Size of the whole machine. @returns false, and counts nothing, when there is no room for it. */
  admit(pages: number): boolean {
    if (this.#machines >= this.ceiling.maxMachines || !this.grow(pages - STACK_PAGES)) return false
    this.#machines++
    return true
  }

  /** @returns false, and counts nothing, when there is no room to grow by that much. */
  grow(pages: number): boolean {
    if ((this.#pages + pages) * PAGE_BYTES > this.ceiling.maxBytes) return false
    this.#pages += pages
    return true
  }

  shrink(pages: number): void {
    this.#pages -= pages
  }

  /** @param pages - Size of the whole machine. */
  dismiss(pages: number): void {
    this.#machines--
    this.shrink(pages - STACK_PAGES)
  }
}

/** Divides a ceiling between a serving thread and its lane. Each has room for a machine at least. */
export function divideCeiling({ maxMachines, maxBytes }: MachineCeiling): {
  readonly serving: MachineCeiling
  readonly lane: MachineCeiling
} {
  const machines = Math.max(1, Math.floor(maxMachines * LANE_PART))
  const bytes = Math.max(MACHINE_BYTES, Math.floor(maxBytes * LANE_PART))
  const rest = { maxMachines: Math.max(1, maxMachines - machines), maxBytes: Math.max(MACHINE_BYTES, maxBytes - bytes) }
  return { serving: rest, lane: { maxMachines: machines, maxBytes: bytes } }
}

const MACHINE_BYTES = (LAYOUT.initialPages - STACK_PAGES) * PAGE_BYTES
