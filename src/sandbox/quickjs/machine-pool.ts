import type { Base } from "./base.ts"
import { LAYOUT } from "./binary.ts"
import { emptyImage, type Image, restore } from "./image.ts"
import { Machine } from "./machine.ts"
import type { MachineAccount, MachineCeiling } from "./machine-account.ts"

/** Idle machines kept for the next guest that needs one. */
const MAX_IDLE = 8
/** A machine that grew this far above its image is given back to the system: its pages would stay resident. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024

/** A guest whose instances at rest can be given up. */
export interface Evictable {
  /** When it was called last, on the clock of performance.now(); null: nothing of it is at rest. */
  readonly restsSinceMs: number | null
  /** Gives the machine of an instance at rest back to the pool. */
  evict(): void
}

/** There is no room under the ceiling, and nothing at rest that could make some. */
export class NoRoom extends Error {}

/**
 * The machines of a thread. Any of them can become an instance of any guest with the same memory limit. When the ceiling
 * is reached, idle ones go first, then instances at rest, the one longest without a call first.
 */
export class MachinePool {
  readonly account: MachineAccount
  readonly #base: Base
  readonly #empty: Image
  readonly #idle: Machine[] = []
  readonly #guests = new Set<Evictable>()

  constructor(base: Base, account: MachineAccount) {
    this.#base = base
    this.#empty = emptyImage(base.image)
    this.account = account
  }

  register(guest: Evictable): void {
    this.#guests.add(guest)
  }

  unregister(guest: Evictable): void {
    this.#guests.delete(guest)
  }

  /** Gives up what is over a lower ceiling, as far as it is at rest. */
  limitTo(ceiling: MachineCeiling): void {
    this.account.ceiling = ceiling
    while (this.account.over && this.#makeRoom());
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
    while (!this.account.admit(LAYOUT.initialPages)) {
      if (!this.#makeRoom()) throw new NoRoom()
      const evicted = this.#takeIdle(maxPages)
      if (evicted !== undefined) return evicted
    }
    try {
      return new Machine(this.#base.module, maxPages, this.#growth)
    } catch (error) {
      this.account.dismiss(LAYOUT.initialPages)
      throw error
    }
  }

  readonly #growth = {
    grow: (pages: number): boolean => {
      while (!this.account.grow(pages)) if (!this.#makeRoom()) return false
      return true
    },
    shrink: (pages: number): void => this.account.shrink(pages),
  }

  /** Gives up one machine, or one instance, whose machine is idle then. @returns false when there is none. */
  #makeRoom(): boolean {
    const idle = this.#idle.shift()
    if (idle !== undefined) {
      this.#drop(idle)
      return true
    }
    const oldest = this.#oldest()
    oldest?.evict()
    return oldest !== null
  }

  #oldest(): Evictable | null {
    let oldest: Evictable | null = null
    let oldestMs = Number.POSITIVE_INFINITY
    for (const guest of this.#guests) {
      const sinceMs = guest.restsSinceMs
      if (sinceMs === null || sinceMs >= oldestMs) continue
      oldest = guest
      oldestMs = sinceMs
    }
    return oldest
  }

  #drop(machine: Machine): void {
    this.account.dismiss(machine.pages)
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
    this.account.shrink(machine.pages - other.pages)
    restore(other, image, "nothing")
    return other
  }
}

function isSwollen(machine: Machine, image: Image): boolean {
  return machine.bytes.length > Math.max(image.end, image.heapEnd, LAYOUT.initialPages * 65_536) + HIGH_WATER_BYTES
}

/**
 * The wasm maximum is what bounds a guest's memory: the engine's own counter does not see the size of small allocations,
 * because this build cannot ask its allocator for them.
 */
function pagesFor(memoryBytes: number): number {
  const pages = Math.ceil((LAYOUT.heapStart + memoryBytes) / 65_536)
  return Math.min(Math.max(pages, LAYOUT.initialPages), 32_768)
}
