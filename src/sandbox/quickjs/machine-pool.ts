import type { Base } from "./base.ts"
import { LAYOUT } from "./binary.ts"
import { emptyImage, type Image, restore } from "./image.ts"
import { Machine } from "./machine.ts"

/** Idle machines kept for the next guest that needs one. */
const MAX_IDLE = 8
/** A machine that grew this far above its image is given back to the system: its pages would stay resident. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024
/** The process's machines. Any of them can become an instance of any guest with the same memory limit. */
export class MachinePool {
  readonly #base: Base
  readonly #empty: Image
  readonly #idle: Machine[] = []

  constructor(base: Base) {
    this.#base = base
    this.#empty = emptyImage(base.image)
  }

  /** @param image - What the machine's memory shall hold. */
  take(memoryBytes: number, image: Image): Machine {
    const maxPages = pagesFor(memoryBytes)
    const at = this.#idle.findLastIndex((machine) => machine.maxPages === maxPages)
    const machine = at === -1 ? new Machine(this.#base.module, maxPages) : this.#idle.splice(at, 1)[0]!
    restore(machine, image, "nothing")
    return machine
  }

  /** Takes a machine at rest back and wipes it. */
  giveBack(machine: Machine): void {
    machine.host = null
    if (this.#idle.length >= MAX_IDLE || isSwollen(machine, this.#empty)) return
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

  #replace(machine: Machine, image: Image): Machine {
    let other: Machine
    try {
      other = new Machine(this.#base.module, machine.maxPages)
    } catch {
      // The system has no memory for another one: the old one, wiped, has to do.
      restore(machine, image, "anything")
      return machine
    }
    machine.host = null
    restore(other, image, "nothing")
    return other
  }
}

function isSwollen(machine: Machine, image: Image): boolean {
  return machine.bytes.length > Math.max(image.end, LAYOUT.initialPages * 65_536) + HIGH_WATER_BYTES
}

/**
 * The wasm maximum is what bounds a guest's memory: the engine's own counter does not see the size of small allocations,
 * because this build cannot ask its allocator for them.
 */
function pagesFor(memoryBytes: number): number {
  const pages = Math.ceil((LAYOUT.heapStart + memoryBytes) / 65_536)
  return Math.min(Math.max(pages, LAYOUT.initialPages), 32_768)
}
