import loadWabt from "wabt"
import { type MeteredModule, meter } from "../../../src/sandbox/metering/meter.ts"
import { GUEST_PROFILE, type UntrustedProfile } from "../../../src/sandbox/metering/profiles.ts"

const wabt = await loadWabt()
const FEATURES = {
  mutable_globals: true,
  sat_float_to_int: true,
  sign_extension: true,
  simd: true,
  relaxed_simd: true,
  multi_value: true,
  tail_call: true,
  bulk_memory: true,
  reference_types: true,
  extended_const: true,
  threads: true,
  exceptions: true,
  memory64: true,
}

export function toWasm(text: string): Uint8Array<ArrayBuffer> {
  const module = wabt.parseWat("test.wat", text, FEATURES)
  try {
    return Uint8Array.from(module.toBinary({}).buffer)
  } finally {
    module.destroy()
  }
}

/** A module of hand-written sections of less than 128 bytes: `[id, ...contents]`. */
export function binary(...sections: number[][]): Uint8Array {
  const contents = sections.flatMap(([id, ...bytes]) => [id!, bytes.length, ...bytes])
  return Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...contents)
}

/** A module with a memory and one function `() -> ()` of these instructions, the first at byte 28. */
export function moduleOf(...instructions: number[]): Uint8Array {
  return binary([1, 1, 0x60, 0, 0], [3, 1, 0], [5, 1, 0, 1], [10, 1, instructions.length + 2, 0, ...instructions, 0x0b])
}

export type Exported = (...args: unknown[]) => unknown

/** An instance of a metered module whose host grants `budget` units in slices of `slice`. */
export class MeteredInstance {
  readonly module: MeteredModule
  readonly instance: WebAssembly.Instance
  granted = 0
  refills = 0
  /** The guest asked for more than its budget. */
  refused = false
  #budget: number
  readonly #slice: number

  constructor(
    original: Uint8Array,
    { imports = {}, budget = 1e9, slice = 1000, profile = GUEST_PROFILE }: Options = {},
  ) {
    this.#budget = budget
    this.#slice = slice
    this.module = meter(original, profile)
    const { module, name } = this.module.refill
    this.instance = new WebAssembly.Instance(new WebAssembly.Module(this.module.bytes), {
      ...imports,
      [module]: { [name]: () => this.#refill() },
    })
    if (this.module.start !== null) this.exports[this.module.start]!()
  }

  get exports(): Record<string, Exported> {
    return this.instance.exports as unknown as Record<string, Exported>
  }

  get left(): number {
    return this.exports[this.module.fuel.get]!() as number
  }

  set left(units: number) {
    this.exports[this.module.fuel.set]!(units)
  }

  /** Units spent since instantiation. */
  get used(): number {
    return this.granted - this.left
  }

  /** Begins to count anew. */
  begin(budget: number): void {
    this.#budget = budget
    this.granted = 0
    this.refused = false
    this.left = 0
  }

  #refill(): number {
    this.refills++
    const grant = Math.min(this.#slice, this.#budget - this.granted)
    if (grant <= 0) this.refused = true
    this.granted += grant
    return grant
  }
}

interface Options {
  readonly imports?: WebAssembly.Imports
  readonly budget?: number
  readonly slice?: number
  readonly profile?: UntrustedProfile
}

/** Repeatable pseudo-random numbers (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
