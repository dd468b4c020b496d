import { LAYOUT } from "./binary.ts"

/** What all machines of a process may take together. */
export interface MachineCeiling {
  readonly maxMachines: number
  /** Guest heaps, bytes. */
  readonly maxBytes: number
}

/** Fields of one thread in the shared counts: machines, and pages of their heaps. */
const FIELDS = 2
const PAGE_BYTES = 65_536
/** Pages of every machine that hold the C stack: reserved, and hardly ever touched. */
const STACK_PAGES = Math.floor((LAYOUT.heapStart - LAYOUT.dataEnd) / PAGE_BYTES)

/**
 * Counts the machines of a process and the memory they take, across its threads. Each thread counts what it has itself,
 * so that what a thread had is gone with it.
 */
export class MachineAccount {
  readonly ceiling: MachineCeiling
  /** For every thread its machines and their pages; shared memory. */
  readonly counts: Int32Array
  readonly #at: number

  /** @param thread - Number of this thread from 0. */
  constructor(ceiling: MachineCeiling, counts: Int32Array, thread: number) {
    this.ceiling = ceiling
    this.counts = counts
    this.#at = thread * FIELDS
  }

  static forThreads(ceiling: MachineCeiling, threads: number): MachineAccount {
    const counts = new Int32Array(new SharedArrayBuffer(threads * FIELDS * Int32Array.BYTES_PER_ELEMENT))
    return new MachineAccount(ceiling, counts, 0)
  }

  get machines(): number {
    return this.#sum(0)
  }

  get bytes(): number {
    return this.#sum(1) * PAGE_BYTES
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
    Atomics.sub(this.counts, this.#at + 1, pages)
  }

  /** @param pages - Size of the whole machine. */
  dismiss(pages: number): void {
    Atomics.sub(this.counts, this.#at, 1)
    this.shrink(pages - STACK_PAGES)
  }

  /** A thread has ended, and all it had with it. */
  forget(thread: number): void {
    for (let field = 0; field < FIELDS; field++) Atomics.store(this.counts, thread * FIELDS + field, 0)
  }

  /** Adds first and looks then: two threads must not take the same room. */
  #add(machines: number, pages: number): boolean {
    Atomics.add(this.counts, this.#at, machines)
    Atomics.add(this.counts, this.#at + 1, pages)
    if (this.machines <= this.ceiling.maxMachines && this.bytes <= this.ceiling.maxBytes) return true
    Atomics.sub(this.counts, this.#at, machines)
    Atomics.sub(this.counts, this.#at + 1, pages)
    return false
  }

  #sum(field: number): number {
    let sum = 0
    for (let at = field; at < this.counts.length; at += FIELDS) sum += Atomics.load(this.counts, at)
    return sum
  }
}
