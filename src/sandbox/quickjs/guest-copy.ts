import type { HookName } from "../../hooks.ts"
import type { GuestServices } from "../../host/services.ts"
import type { GuestCopy, GuestState, InstanceMode, Limits } from "../sandbox.ts"
import type { Base } from "./base.ts"
import type { BaseImage, Image } from "./image.ts"
import type { GuestSetup, InstanceState } from "./instance.ts"
import type { MachinePool } from "./machine-pool.ts"
import type { ModulesData } from "./modules.ts"
import { LoadedModules } from "./modules-loaded.ts"

/** A guest for another thread, whose machines have the same base. */
export interface QuickjsCopy extends GuestCopy {
  readonly name: string
  readonly limits: Limits
  readonly mode: InstanceMode
  readonly hooks: readonly HookName[]
  readonly modules: ModulesData
  /** What `image` differs from; null: the base. */
  readonly begin: BaseImage | null
  readonly image: Omit<Image, "base">
}

export interface QuickjsState extends GuestState {
  readonly lastCall: number
  /** Null: it begins with the image. */
  readonly instance: InstanceState | null
}

export function toCopy(setup: GuestSetup, hooks: ReadonlySet<HookName>): QuickjsCopy {
  const { name, limits, mode, modules, begin, base } = setup
  if (setup.image === null) throw new Error(`${name}: it is not ready`)
  const { base: _, ...image } = setup.image
  const own = begin === base.image ? null : begin
  return { tier: "quickjs", name, limits, mode, hooks: [...hooks], modules: modules.toData(), begin: own, image }
}

/** Base images that guests from another thread brought along; each comes with every guest that needs it. */
const MAX_BEGINS = 32

/** Makes setups from copies. */
export class CopiedGuests {
  readonly #base: Base
  readonly #pool: MachinePool
  readonly #clockOffsetMs: number
  readonly #begins: BaseImage[] = []

  constructor(base: Base, pool: MachinePool, clockOffsetMs: number) {
    this.#base = base
    this.#pool = pool
    this.#clockOffsetMs = clockOffsetMs
  }

  toSetup(copy: QuickjsCopy, services: GuestServices): GuestSetup {
    const { name, limits, mode } = copy
    const begin = copy.begin === null ? this.#base.image : this.#known(copy.begin)
    return {
      name,
      base: this.#base,
      pool: this.#pool,
      services,
      limits,
      mode,
      modules: LoadedModules.fromData(name, copy.modules),
      begin,
      image: { ...copy.image, base: begin },
      usage: { busyMs: 0, entries: 0 },
      clockOffsetMs: this.#clockOffsetMs,
    }
  }

  /** The same image that came before, if it did. */
  #known(begin: BaseImage): BaseImage {
    const known = this.#begins.find(
      (one) => equalBytes(one.heap, begin.heap) && equalBytes(one.variables, begin.variables),
    )
    if (known !== undefined) return known
    // The constants are the engine's, the same in every image.
    const own = { ...begin, constants: this.#base.image.constants }
    this.#begins.push(own)
    if (this.#begins.length > MAX_BEGINS) this.#begins.shift()
    return own
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
