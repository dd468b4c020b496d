import { collectGarbage } from "./collect-garbage.ts"

/** What the instances of all guests of a process may take together, whatever their tier. */
export interface InstanceCeiling {
  readonly maxInstances: number
  /** Guest heaps, bytes. */
  readonly maxBytes: number
}

/** Something at rest that can be given up to make room. */
export interface Evictable {
  /** When it was called last, on the clock of performance.now(); null: nothing of it is at rest. */
  readonly restsSinceMs: number | null
  /** Gives up an instance at rest: afterwards there is room for more, or `restsSinceMs` is different. */
  evict(): void
}

/** There is no room under the ceiling, and nothing at rest that could make some. */
export class NoRoom extends Error {}

const MIB = 1024 * 1024
const DEFAULT_CEILING: InstanceCeiling = { maxInstances: 2000, maxBytes: 2048 * MIB }
/** Part of the ceiling that a lane has to itself, as long as there is one: neither thread can give up the other's instances. */
const LANE_PART = 1 / 4
/** Room for one instance of any tier at least, in a lane and beside it. */
const LEAST_BYTES = 16 * MIB
/** What may have been dismissed and not be freed yet, bytes: beside the ceiling. */
const MAX_GARBAGE_BYTES = 256 * MIB

/** Counts the instances of a thread and the memory they take. One for all tiers of the thread. */
export class InstanceAccount {
  readonly #whole: InstanceCeiling
  #ceiling: InstanceCeiling
  #instances = 0
  #bytes = 0
  /** Dismissed since garbage was collected. */
  #garbageBytes = 0
  readonly #guests = new Set<Evictable>()

  constructor(ceiling: InstanceCeiling = DEFAULT_CEILING) {
    this.#whole = ceiling
    this.#ceiling = ceiling
  }

  register(guest: Evictable): void {
    this.#guests.add(guest)
  }

  unregister(guest: Evictable): void {
    this.#guests.delete(guest)
  }

  /** @returns false, and counts nothing, when there is no room for an instance of that size. */
  admit(bytes: number): boolean {
    this.#free()
    if (this.#instances >= this.#ceiling.maxInstances || this.#bytes + bytes > this.#ceiling.maxBytes) return false
    this.#instances++
    this.#bytes += bytes
    return true
  }

  /** An instance is to grow. Others are given up for it. @returns false, and counts nothing, when that makes no room. */
  grow(bytes: number): boolean {
    while (this.#bytes + bytes > this.#ceiling.maxBytes) if (!this.makeRoom()) return false
    this.#bytes += bytes
    return true
  }

  shrink(bytes: number): void {
    this.#bytes -= bytes
  }

  dismiss(bytes: number): void {
    this.#instances--
    this.#bytes -= bytes
    this.#garbageBytes += bytes
  }

  /** Gives up what is longest at rest. @returns false when nothing is. */
  makeRoom(): boolean {
    let oldest: Evictable | null = null
    let oldestMs = Number.POSITIVE_INFINITY
    for (const guest of this.#guests) {
      const sinceMs = guest.restsSinceMs
      if (sinceMs === null || sinceMs >= oldestMs) continue
      oldest = guest
      oldestMs = sinceMs
    }
    oldest?.evict()
    return oldest !== null
  }

  /**
   * There is a lane from now on: what is over this thread's part is given up, as far as it is at rest.
   * @returns the lane's part.
   */
  divide(): InstanceCeiling {
    const { maxInstances, maxBytes } = this.#whole
    const instances = Math.max(1, Math.floor(maxInstances * LANE_PART))
    const bytes = Math.max(LEAST_BYTES, Math.floor(maxBytes * LANE_PART))
    this.#ceiling = {
      maxInstances: Math.max(1, maxInstances - instances),
      maxBytes: Math.max(LEAST_BYTES, maxBytes - bytes),
    }
    while (this.#isOver() && this.makeRoom());
    return { maxInstances: instances, maxBytes: bytes }
  }

  /** The lane is gone. */
  unite(): void {
    this.#ceiling = this.#whole
  }

  /** A guest can make its instances be replaced as fast as it is called. */
  #free(): void {
    if (this.#garbageBytes <= MAX_GARBAGE_BYTES) return
    this.#garbageBytes = 0
    collectGarbage()
  }

  #isOver(): boolean {
    return this.#instances > this.#ceiling.maxInstances || this.#bytes > this.#ceiling.maxBytes
  }
}

export function newAccount(ceiling: InstanceCeiling): InstanceAccount {
  return new InstanceAccount(ceiling)
}
