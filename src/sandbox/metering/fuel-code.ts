import { SIZED_COSTS, type SizedCost } from "./costs.ts"
import type { Declarations } from "./declarations.ts"
import { I32, I64, OP, VOID } from "./instructions.ts"
import type { Profile } from "./profiles.ts"
import type { Writer } from "./writer.ts"

const PAGE_BYTES = 65_536

/** How many more labels there are inside a tight loop than in the original. */
export const TIGHT_LOOP_LABELS = 3

/** Where the code of one function finds the counter. */
export interface FuelPlace {
  /** A local of the counter's type. */
  local: number
  /** A local of type i32 for the count of a sized instruction. */
  countLocal: number
  /** True: `local` holds the counter and the global is brought up to date around calls. False: the global holds it. */
  cached: boolean
}

/** Writes the instructions that charge, check, save and load the counter. Each leaves the operand stack as it was. */
export class FuelCode {
  readonly counterType: number
  /** Where in the current function body the code branches to the slow path, for the branch hints. */
  readonly unlikely: number[] = []
  readonly #wide: boolean
  readonly #global: number
  readonly #slow: number
  readonly #refill: number
  readonly #most: Record<SizedCost["unit"], number>

  constructor(module: Declarations, profile: Profile) {
    this.#wide = profile.trust === "untrusted"
    this.counterType = this.#wide ? I64 : I32
    this.#global = module.fuelGlobal
    this.#slow = module.slowFunction
    this.#refill = module.refillFunction
    this.#most = {
      pages: profile.maxMemoryPages,
      bytes: Math.min(profile.maxMemoryPages * PAGE_BYTES, 0xffff_ffff),
      entries: profile.maxTableEntries,
    }
  }

  /** Subtracts `cost`. With `first` the local of a cached counter does not hold it yet. */
  charge(out: Writer, place: FuelPlace, cost: number, checked: boolean, first: boolean): void {
    if (place.cached && !first) out.op(OP.localGet, place.local)
    else out.op(OP.globalGet, this.#global)
    this.#subtract(out, cost)
    this.#store(out, place, checked)
  }

  /**
   * Opens the blocks around a loop whose check leaves it when it fails. A loop without a call in it is what V8 unrolls, and
   * keeps in registers.
   * @param blockType - Of the loop, as it is encoded; without parameters.
   */
  openTightLoop(out: Writer, bytes: Uint8Array, typeStart: number, typeEnd: number): void {
    out.u8(OP.block)
    out.copy(bytes, typeStart, typeEnd)
    out.u8(OP.loop)
    out.copy(bytes, typeStart, typeEnd)
    out.op(OP.block, VOID)
  }

  /** Subtracts `cost` at the begin of a tight loop, and leaves it when the counter is negative. */
  chargeTightLoop(out: Writer, place: FuelPlace, cost: number): void {
    out.op(OP.localGet, place.local)
    this.#subtract(out, cost)
    out.op(OP.localTee, place.local)
    this.#constant(out, 0)
    out.u8(OP.i64LtS)
    this.unlikely.push(out.length)
    out.op(OP.brIf, 1)
  }

  /** Gets more fuel behind a tight loop, gives back what the turn cost, and begins the turn again. */
  closeTightLoop(out: Writer, place: FuelPlace, cost: number): void {
    out.op(OP.br, 2)
    out.u8(OP.end)
    out.op(OP.localGet, place.local)
    out.op(OP.call, this.#slow)
    this.#constant(out, cost)
    out.u8(OP.i64Add)
    out.op(OP.localSet, place.local)
    out.op(OP.br, 0)
    out.u8(OP.end)
    out.u8(OP.end)
  }

  /** Charges and checks an instruction by the count on top of the stack, which stays there. */
  chargeSized(out: Writer, place: FuelPlace, operation: number): void {
    const { unit, base, shift } = SIZED_COSTS[operation]!
    out.op(OP.localTee, place.countLocal)
    if (place.cached) out.op(OP.localGet, place.local)
    else out.op(OP.globalGet, this.#global)
    out.op(OP.localGet, place.countLocal)
    this.#int32(out, Math.abs(shift))
    out.u8(shift < 0 ? OP.i32ShrU : OP.i32Shl)
    this.#int32(out, 0)
    out.op(OP.localGet, place.countLocal)
    this.#int32(out, this.#most[unit])
    out.u8(OP.i32LeU)
    out.u8(OP.select)
    if (this.#wide) out.u8(OP.i64ExtendI32U)
    out.u8(this.#wide ? OP.i64Sub : OP.i32Sub)
    this.#subtract(out, base)
    this.#store(out, place, true)
  }

  save(out: Writer, place: FuelPlace): void {
    out.op(OP.localGet, place.local)
    out.op(OP.globalSet, this.#global)
  }

  load(out: Writer, place: FuelPlace): void {
    out.op(OP.globalGet, this.#global)
    out.op(OP.localSet, place.local)
  }

  /**
   * The function behind every failed check: takes the counter, asks the host for more until it is not negative, and
   * returns it. It stops with `unreachable`, which wasm code cannot catch. A grant that is not a number is none.
   */
  writeSlowFunction(out: Writer): void {
    const [lessThan, lessOrEqual, add] = this.#wide
      ? [OP.i64LtS, OP.i64LeS, OP.i64Add]
      : [OP.i32LtS, OP.i32LeS, OP.i32Add]
    out.u8(1) // one group of locals: the grant
    out.op(1, this.counterType)
    out.op(OP.localGet, 0)
    out.op(OP.globalSet, this.#global)
    out.op(OP.loop, VOID)
    out.op(OP.call, this.#refill)
    if (this.#wide) truncate(out)
    out.op(OP.localTee, 1)
    this.#constant(out, 0)
    out.u8(lessOrEqual)
    out.op(OP.if, VOID)
    out.u8(OP.unreachable)
    out.u8(OP.end)
    out.op(OP.globalGet, this.#global)
    out.op(OP.localGet, 1)
    out.u8(add)
    out.op(OP.localTee, 0)
    out.op(OP.globalSet, this.#global)
    out.op(OP.localGet, 0)
    this.#constant(out, 0)
    out.u8(lessThan)
    out.op(OP.brIf, 0)
    out.u8(OP.end)
    out.op(OP.localGet, 0)
    out.u8(OP.end)
  }

  /** `() -> f64` */
  writeGetFunction(out: Writer): void {
    out.u8(0) // no locals
    out.op(OP.globalGet, this.#global)
    out.u8(OP.f64ConvertI64S)
    out.u8(OP.end)
  }

  /** `(f64) -> ()` */
  writeSetFunction(out: Writer): void {
    out.u8(0) // no locals
    out.op(OP.localGet, 0)
    truncate(out)
    out.op(OP.globalSet, this.#global)
    out.u8(OP.end)
  }

  #subtract(out: Writer, cost: number): void {
    this.#constant(out, cost)
    out.u8(this.#wide ? OP.i64Sub : OP.i32Sub)
  }

  /** Takes the new value from the stack. */
  #store(out: Writer, place: FuelPlace, checked: boolean): void {
    if (!checked) {
      if (place.cached) out.op(OP.localSet, place.local)
      else out.op(OP.globalSet, this.#global)
      return
    }
    out.op(OP.localTee, place.local)
    this.#constant(out, 0)
    out.u8(this.#wide ? OP.i64LtS : OP.i32LtS)
    this.unlikely.push(out.length)
    out.op(OP.if, VOID)
    out.op(OP.localGet, place.local)
    out.op(OP.call, this.#slow)
    out.op(OP.localSet, place.local)
    out.u8(OP.end)
    if (!place.cached) this.save(out, place)
  }

  #constant(out: Writer, value: number): void {
    out.u8(this.#wide ? OP.i64Const : OP.i32Const)
    out.s32(value)
  }

  #int32(out: Writer, value: number): void {
    out.u8(OP.i32Const)
    out.s32(value)
  }
}

/** `i64.trunc_sat_f64_s`: never traps, and makes 0 of what is not a number. */
function truncate(out: Writer): void {
  out.op(OP.prefixFc, 6)
}
