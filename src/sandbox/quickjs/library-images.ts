import type { Base } from "./base.ts"
import { GuestMemory } from "./guest-memory.ts"
import { type BaseImage, captureBase, emptyImage } from "./image.ts"
import type { MachineHost } from "./machine.ts"
import type { MachinePool } from "./machine-pool.ts"
import { PURE_OPERATIONS } from "./ops.ts"

/** Images kept. Guests that differ in what they use are many in theory, few in practice. */
const MAX_IMAGES = 32
/** Any guest memory holds the whole library. */
const MEMORY_BYTES = 8 * 1024 * 1024

/** Machines without a guest in which library files are evaluated already, so that not every guest has to do it again. */
export class LibraryImages {
  readonly #base: Base
  readonly #pool: MachinePool
  /** By the names of the files; the one used last at the end. */
  readonly #images = new Map<string, BaseImage>()

  constructor(base: Base, pool: MachinePool) {
    this.#base = base
    this.#pool = pool
  }

  /** @param names - One name of each file. */
  of(names: readonly string[]): BaseImage {
    if (names.length === 0) return this.#base.image
    const key = names.join()
    const image = this.#images.get(key) ?? this.#make(names)
    this.#images.delete(key)
    this.#images.set(key, image)
    if (this.#images.size > MAX_IMAGES) this.#images.delete(this.#images.keys().next().value!)
    return image
  }

  #make(names: readonly string[]): BaseImage {
    const { image } = this.#base
    const machine = this.#pool.take(MEMORY_BYTES, emptyImage(image))
    const memory = new GuestMemory(machine, this.#base.handles, MEMORY_BYTES, () => {})
    machine.host = libraryHost(memory)
    for (const name of names) need(memory, name)
    const made = captureBase(machine, image.randomState, image.constants)
    this.#pool.giveBack(machine)
    return made
  }
}

/** Evaluates the file that provides `name`, unless it is there already. */
export function need(memory: GuestMemory, name: string): void {
  const value = memory.newText(name)
  memory.pass(0, value)
  memory.free(memory.checked(memory.call(memory.handles.need, 1)))
  memory.free(value)
}

/** Answers nothing that could differ between guests: it must not get into their images. */
function libraryHost(memory: GuestMemory): MachineHost {
  return {
    callFunction(argv) {
      const operation = PURE_OPERATIONS.get(memory.number(argv))
      if (operation === undefined) throw new Error("a library file asked for something of a guest")
      return operation({ memory }, argv + 8)
    },
    interrupt() {},
    spent: () => false,
    resolveModule: () => null,
    loadModule: () => null,
  }
}
