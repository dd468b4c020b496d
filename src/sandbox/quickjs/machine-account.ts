import { LAYOUT } from "./binary.ts"

/** What all machines of a process may take together. */
export interface MachineCeiling {
  readonly maxMachines: number
  /** Guest heaps, bytes. */
  readonly maxBytes: number
}

/** Fields of the counts of one thread. */
const MACHINES = 0
/** Pages of their heaps. */
const PAGES = 1

const PAGE_BYTES = 65_536
/** Pages of every machine that hold the C stack: reserved, and hardly ever touched. */
const STACK_PAGES = Math.floor((LAYOUT.heapStart - LAYOUT.dataEnd) / PAGE_BYTES)

/** Counts of one thread, in memory that threads share. */
export function newCounts(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT))
}

/**
 * Counts the machines of a process and the memory they take. Each thread has counts of its own, so that what it had is
 * gone with it, and sees those of the others.
 */
export class MachineAccount {
  readonly ceiling: MachineCeiling
  readonly own: Int32Array
  #others: readonly Int32Array[]

  constructor(ceiling: MachineCeiling, own: Int32Array, others: readonly Int32Array[]) {
    this.ceiling = ceiling
    this.own = own
    this.#others = others
  }

  get machines(): number {
    return this.#sum(MACHINES)
  }

  get bytes(): number {
    return this.#sum(PAGES) * PAGE_BYTES
  }

  /** @returns the counts of one more thread. */
  addThread(): Int32Array {
    const counts = newCounts()
    this.#others = [...this.#others, counts]
    return counts
  }

  /** The threads that were added have ended, and what they had with them. */
  removeThreads(): void {
    this.#others = []
  }

  /** @param pages - Size of the whole machine. @returns false, and counts nothing, when there is no room for it. */
  admit(pages: number): boolean {
    return this.#add(1, pages - STACK_PAGES)
  }

  /** @returns false, and counts nothing, when there is no room to grow by that much. */
  grow(pages: number): boolean {
    return this.#add(0, pages)
  }

  shrink(pages: number): void {
    Atomics.sub(this.own, PAGES, pages)
  }

  /** @param pages - Size of the whole machine. */
  dismiss(pages: number): void {
    Atomics.sub(this.own, MACHINES, 1)
    this.shrink(pages - STACK_PAGES)
  }

  /** Adds first and looks then: two threads must not take the same room. */
  #add(machines: number, pages: number): boolean {
    Atomics.add(this.own, MACHINES, machines)
    Atomics.add(this.own, PAGES, pages)
    const { maxMachines, maxBytes } = this.ceiling
    const tooMany = machines > 0 && this.machines > maxMachines
    if (!tooMany && this.bytes <= maxBytes) return true
    Atomics.sub(this.own, MACHINES, machines)
    Atomics.sub(this.own, PAGES, pages)
    return false
  }

  #sum(field: number): number {
    return this.#others.reduce((sum, counts) => sum + Atomics.load(counts, field), Atomics.load(this.own, field))
  }
}
