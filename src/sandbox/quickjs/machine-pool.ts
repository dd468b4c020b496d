import { type Evictable, type InstanceAccount, NoRoom } from "../limits/instance-account.ts"
import type { Base } from "./base.ts"
import { LAYOUT } from "./binary.ts"
import { emptyImage, type Image, restore } from "./image.ts"
import { Machine } from "./machine.ts"

const PAGE_BYTES = 65_536
const STACK_PAGES = Math.floor((LAYOUT.heapStart - LAYOUT.dataEnd) / PAGE_BYTES)
/** Idle machines kept for the next guest that needs one. */
const MAX_IDLE = 8
/** A machine that grew this far above its image is given back to the system: its pages would stay resident. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024

/**
 * The machines of a thread. Any of them can become an instance of any guest with the same memory limit. Idle
 * ones are given up before any guest's instance.
 */
export class MachinePool implements Evictable {
  readonly account: InstanceAccount
  readonly #base: Base
  readonly #empty: Image
  readonly #idle: Machine[] = []

  constructor(base: Base, account: InstanceAccount) {
    this.#base = base
    this.#empty = emptyImage(base.image)
    this.account = account
    account.register(this)
  }

  get restsSinceMs(): number | null {
    return this.#idle.length > 0 ? Number.NEGATIVE_INFINITY : null
  }

  /** Gives up an idle machine. */
  evict(): void {
    const idle = this.#idle.shift()
    if (idle !== undefined) this.#drop(idle)
  }

  /**
   * @param image - What the machine's memory shall hold.
   * @throws {NoRoom} or what the system says when it has no memory.
   */
  take(memoryBytes: number, image: Image): Machine {
    const maxPages = pagesFor(memoryBytes)
    const machine = this.#takeIdle(maxPages) ?? this.#make(maxPages)
    restore(machine, image, "nothing")
    return machine
  }

  /** Takes a machine at rest back and wipes it. */
  giveBack(machine: Machine): void {
    machine.host = null
    if (this.#idle.length >= MAX_IDLE || isSwollen(machine, this.#empty)) {
      this.#drop(machine)
      return
    }
    restore(machine, this.#empty, "anything")
    this.#idle.push(machine)
  }

  /** @returns the machine at rest with the image in it once more, or another one in its place. */
  reset(machine: Machine, image: Image): Machine {
    if (isSwollen(machine, image)) return this.#replace(machine, image)
    restore(machine, image, "call")
    return machine
  }

  /** As `reset` for a machine whose guest was stopped in the middle; null: an engine without a guest. */
  renew(machine: Machine, image: Image | null): Machine {
    const content = image ?? this.#empty
    if (isSwollen(machine, content)) return this.#replace(machine, content)
    restore(machine, content, "anything")
    return machine
  }

  #takeIdle(maxPages: number): Machine | undefined {
    const at = this.#idle.findLastIndex((machine) => machine.maxPages === maxPages)
    return at === -1 ? undefined : this.#idle.splice(at, 1)[0]
  }

  #make(maxPages: number): Machine {
    while (!this.account.admit(heapBytes(LAYOUT.initialPages))) {
      if (!this.account.makeRoom()) throw new NoRoom()
      const evicted = this.#takeIdle(maxPages)
      if (evicted !== undefined) return evicted
    }
    try {
      return new Machine(this.#base.module, maxPages, this.#growth)
    } catch (error) {
      this.account.dismiss(heapBytes(LAYOUT.initialPages))
      throw error
    }
  }

  readonly #growth = {
    grow: (pages: number): boolean => this.account.grow(pages * PAGE_BYTES),
    shrink: (pages: number): void => this.account.shrink(pages * PAGE_BYTES),
  }

  #drop(machine: Machine): void {
    this.account.dismiss(heapBytes(machine.pages))
  }

  #replace(machine: Machine, image: Image): Machine {
    let other: Machine
    try {
      other = new Machine(this.#base.module, machine.maxPages, this.#growth)
    } catch {
      // The system has no memory for another one: the old one, wiped, has to do.
      restore(machine, image, "anything")
      return machine
    }
    machine.host = null
    this.account.shrink((machine.pages - other.pages) * PAGE_BYTES)
    restore(other, image, "nothing")
    return other
  }
}

/** What a machine of so many pages takes: those of the C stack are reserved, and hardly ever touched. */
function heapBytes(pages: number): number {
  return (pages - STACK_PAGES) * PAGE_BYTES
}

function isSwollen(machine: Machine, image: Image): boolean {
  return machine.bytes.length > Math.max(image.end, image.heapEnd, LAYOUT.initialPages * PAGE_BYTES) + HIGH_WATER_BYTES
}

/**
 * The wasm maximum is what bounds a guest's memory: the engine's own counter does not see the size of small allocations,
 * because this build cannot ask its allocator for them.
 */
function pagesFor(memoryBytes: number): number {
  const pages = Math.ceil((LAYOUT.heapStart + memoryBytes) / PAGE_BYTES)
  return Math.min(Math.max(pages, LAYOUT.initialPages), 32_768)
}
