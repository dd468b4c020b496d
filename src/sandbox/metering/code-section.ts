import { BodyScan } from "./body-scan.ts"
import { type Declarations, expectEnd } from "./declarations.ts"
import { EVENT } from "./events.ts"
import { FuelCode, type FuelPlace, TIGHT_LOOP_LABELS } from "./fuel-code.ts"
import { I32, OP } from "./instructions.ts"
import type { ModuleLimits } from "./limits.ts"
import { checkLimit, checkMeteredSize, invalid } from "./module-rejected.ts"
import type { Profile } from "./profiles.ts"
import { Reader } from "./reader.ts"
import { Writer } from "./writer.ts"

/** A function without a loop that costs at most this is charged once, for all of its instructions. */
const SMALL_FUNCTION_COST = 64
/** Of that, at most this is left to callers to pay, so that paths on which the function calls nothing touch no counter. */
const MOST_PREPAID = 24
/** Larger bodies are not asked for it. */
const PREPAID_BODY_BYTES = 256
/** V8's own limit. */
const MOST_LOCALS = 50_000

/** Where the parts of one function body are, as offsets into the module. */
interface Body {
  readonly type: number
  readonly localGroups: number
  readonly localsStart: number
  readonly codeStart: number
  readonly end: number
}

/**
 * Which charges of a body are written; "first": one at the entry, for the whole function; "call": one in front of its
 * first call, for all that callers have not paid.
 */
type Charges = "all" | "first" | "call" | "none"

/** Rewrites the function bodies and adds the slow path behind them. */
export class CodeSection {
  /** Bodies left without charges because of their size. */
  unmetered = 0

  readonly #module: Declarations
  readonly #profile: Profile
  readonly #limits: ModuleLimits | null
  readonly #fuel: FuelCode
  readonly #scan: BodyScan
  readonly #place: FuelPlace = { local: 0, countLocal: 0, cached: false }
  readonly #out = new Writer(65_536)
  readonly #hints = new Writer(4096)
  #hintedFunctions = 0

  constructor(module: Declarations, profile: Profile) {
    this.#module = module
    this.#profile = profile
    this.#limits = profile.trust === "untrusted" ? profile.limits : null
    this.#fuel = new FuelCode(module, profile)
    this.#scan = new BodyScan(module, this.#limits, profile.trust === "untrusted")
  }

  rewrite(reader: Reader | undefined, out: Writer): void {
    const functions = this.#module.functionTypes
    const count = reader?.count("function body") ?? 0
    if (count !== functions.length) invalid(`${functions.length} functions but ${count} bodies`, reader?.at ?? 0)
    out.u32(count + this.#module.addedFunctions)
    if (reader !== undefined) {
      if (this.#profile.trust === "untrusted") this.#planPrepaid(new Reader(reader.bytes, reader.at, reader.end))
      functions.forEach((type, index) => {
        this.#rewriteFunction(reader, type, index)
        out.sized(this.#out)
        // At once: the whole of it could be hundreds of megabytes.
        checkMeteredSize(out.length, this.#limits?.meteredBytes ?? Infinity, reader.at)
        this.#hint(this.#module.importedFunctions + 1 + index)
      })
      expectEnd(reader)
    }
    this.#addFunction(out, () => this.#fuel.writeSlowFunction(this.#out))
    if (this.#profile.trust === "trusted") return
    this.#addFunction(out, () => this.#fuel.writeGetFunction(this.#out))
    this.#addFunction(out, () => this.#fuel.writeSetFunction(this.#out))
  }

  /** The custom section that tells V8 which branches are unlikely, so that it moves the slow path out of the way. */
  branchHints(out: Writer): void {
    out.name("metadata.code.branch_hint")
    out.u32(this.#hintedFunctions)
    out.append(this.#hints)
  }

  #addFunction(out: Writer, write: () => void): void {
    this.#out.clear()
    write()
    out.sized(this.#out)
  }

  /** The first instruction whose effect is in neither memory nor globals, with its offset. */
  get hiddenState(): string | null {
    return this.#scan.hiddenState
  }

  #hint(index: number): void {
    const { unlikely } = this.#fuel
    if (unlikely.length === 0) return
    this.#hintedFunctions++
    this.#hints.u32(index)
    this.#hints.u32(unlikely.length)
    for (const offset of unlikely) {
      this.#hints.u32(offset)
      this.#hints.u8(1)
      this.#hints.u8(0)
    }
    unlikely.length = 0
  }

  /**
   * Finds the functions that callers pay for, wholly or up to their first call. They have no loop, and a call of any kind
   * in them comes behind their check, so no circle of calls is without one. Nobody pays in front of a call by the host:
   * an exported function is not one of those that charge nothing.
   */
  #planPrepaid(section: Reader): void {
    const { functionTypes, prepaid, isLeaf, isExported } = this.#module
    for (let index = 0; index < functionTypes.length; index++) {
      const size = section.u32()
      const start = section.at
      section.skip(size)
      if (size > PREPAID_BODY_BYTES) continue
      this.#scanBody(new Reader(section.bytes, start, section.at), functionTypes[index]!)
      const { hasLoop, hasSized, calls, callsTogether, firstCallRun, firstCallEnd } = this.#scan
      const total = this.#cost(0, this.#scan.count)
      if (hasLoop || hasSized || !callsTogether || total > SMALL_FUNCTION_COST) continue
      if (calls === 0 && isExported[index] === 1) continue
      const left = calls === 0 ? 0 : this.#cost(firstCallRun, firstCallEnd)
      if (total - left > MOST_PREPAID) continue
      prepaid[index] = total - left
      isLeaf[index] = calls === 0 ? 1 : 0
    }
    this.#scan.joinedValues = 0
  }

  #rewriteFunction(section: Reader, type: number, index: number): void {
    const offset = section.at
    const size = section.u32()
    checkLimit("function size in bytes", size, this.#limits?.functionBytes ?? Infinity, offset)
    const start = section.at
    section.skip(size)
    const body = this.#scanBody(new Reader(section.bytes, start, section.at), type)
    this.#writeFunction(section.bytes, body, this.#plan(size, index))
  }

  #scanBody(reader: Reader, type: number): Body {
    const localGroups = reader.count("local group")
    const localsStart = reader.at
    let locals = this.#module.parameterCounts[type]!
    for (let i = 0; i < localGroups; i++) {
      locals += reader.u32()
      reader.valueType()
    }
    checkLimit("locals of one function", locals, this.#limits?.locals ?? MOST_LOCALS, localsStart)
    const codeStart = reader.at
    this.#scan.scan(reader, locals)
    if (reader.at !== reader.end) invalid("bytes after the end of the function", reader.at)
    this.#place.local = locals
    this.#place.countLocal = locals + 1
    return { type, localGroups, localsStart, codeStart, end: reader.end }
  }

  #plan(size: number, index: number): Charges {
    if (this.#profile.trust === "trusted") {
      this.#place.cached = false
      if (size <= this.#profile.unmeteredAboveBytes) return "all"
      this.unmetered++
      return "none"
    }
    const { hasLoop, charges, calls, leafCalls } = this.#scan
    this.#place.cached = false
    if (this.#module.prepaid[index]! >= 0) return calls === 0 ? "none" : "call"
    if (!hasLoop && this.#cost(0, this.#scan.count) <= SMALL_FUNCTION_COST) return "first"
    // A cached counter is saved and loaded around every call; one in the global is loaded and saved at every charge.
    this.#place.cached = hasLoop || charges > calls - leafCalls + 1
    return "all"
  }

  /** What the runs cost that start from one event to another. */
  #cost(from: number, to: number): number {
    const { kinds, values } = this.#scan
    let total = 0
    for (let event = from; event < to; event++)
      if (kinds[event] === EVENT.charge || kinds[event] === EVENT.checkedCharge) total += values[event]!
    return total
  }

  #writeFunction(bytes: Uint8Array, body: Body, charges: Charges): void {
    const { kinds, positions, values, resumes, count } = this.#scan
    const out = this.#out
    const fuel = this.#fuel
    const place = this.#place
    out.clear()
    this.#writeLocals(bytes, body, charges)
    if (place.cached) {
      // A branch to the function's own label has to pass the save at the end: the body becomes a block.
      out.u8(OP.block)
      out.s32(this.#module.resultBlockTypes[body.type]!)
    }
    let copied = body.codeStart
    let inTightLoop = false
    for (let event = 1; event < count; event++) {
      const kind = kinds[event]!
      const position = positions[event]!
      const value = values[event]!
      if (kind === EVENT.charge || kind === EVENT.checkedCharge) {
        const checked = kind === EVENT.checkedCharge || charges !== "all"
        const cost = this.#chargeAt(event, charges)
        if (cost === null || (cost === 0 && !checked)) continue
        out.copy(bytes, copied, position)
        copied = position
        fuel.charge(out, place, cost, checked, event === 1)
        continue
      }
      if (kind === EVENT.return && !place.cached) continue
      if (kind === EVENT.plainLoop) continue
      if ((kind === EVENT.leavingBranch || kind === EVENT.leavingTable) && !inTightLoop) continue
      out.copy(bytes, copied, position)
      copied = position
      switch (kind) {
        case EVENT.functionReference:
          out.op(OP.refFunc, this.#module.moveFunction(value, position))
          copied = resumes[event]!
          break
        case EVENT.callOfLeaf:
          out.op(OP.call, this.#module.moveFunction(value, position))
          copied = resumes[event]!
          break
        case EVENT.call:
          if (place.cached) fuel.save(out, place)
          out.op(bytes[position]!, this.#module.moveFunction(value, position))
          copied = resumes[event]!
          if (place.cached) fuel.load(out, place)
          break
        case EVENT.callIndirect:
          if (!place.cached) break
          fuel.save(out, place)
          copied = resumes[event]!
          out.copy(bytes, position, copied)
          fuel.load(out, place)
          break
        case EVENT.return:
          fuel.save(out, place)
          break
        case EVENT.sized:
          fuel.chargeSized(out, place, value)
          break
        case EVENT.tightLoop:
          fuel.openTightLoop(out, bytes, position + 1, resumes[event]!)
          inTightLoop = true
          break
        case EVENT.tightLoopCharge:
          fuel.chargeTightLoop(out, place, value)
          break
        case EVENT.tightLoopEnd:
          fuel.closeTightLoop(out, place, values[value]!)
          inTightLoop = false
          break
        case EVENT.leavingBranch:
          out.op(bytes[position]!, value + TIGHT_LOOP_LABELS)
          copied = resumes[event]!
          break
        case EVENT.leavingTable:
          this.#writeTable(bytes, position, value)
          copied = resumes[event]!
          break
      }
    }
    // With a cached counter the body's own `end` closes the block.
    out.copy(bytes, copied, body.end)
    if (place.cached) {
      fuel.save(out, place)
      out.u8(OP.end)
    }
  }

  /** Copies a `br_table`, and lets the labels above `loop` pass the blocks around the loop. */
  #writeTable(bytes: Uint8Array, position: number, loop: number): void {
    const reader = new Reader(bytes, position + 1)
    const targets = reader.u32()
    this.#out.op(bytes[position]!, targets)
    for (let i = 0; i <= targets; i++) {
      const label = reader.u32()
      this.#out.u32(label > loop ? label + TIGHT_LOOP_LABELS : label)
    }
  }

  #writeLocals(bytes: Uint8Array, body: Body, charges: Charges): void {
    const needsCount = this.#scan.hasSized
    const needsCounter = needsCount || (charges !== "none" && this.#scan.charges > 0)
    this.#out.u32(body.localGroups + (needsCounter ? 1 : 0) + (needsCount ? 1 : 0))
    this.#out.copy(bytes, body.localsStart, body.codeStart)
    if (needsCounter) this.#out.op(1, this.#fuel.counterType)
    if (needsCount) this.#out.op(1, I32)
  }

  /** What to charge where a run starts, or null for nothing. */
  #chargeAt(event: number, charges: Charges): number | null {
    const { values, count, firstCallRun, firstCallEnd } = this.#scan
    switch (charges) {
      case "none":
        return null
      case "first":
        return event === 1 ? this.#cost(0, count) : null
      case "call":
        return event === firstCallRun ? this.#cost(firstCallRun, firstCallEnd) : null
      case "all":
        if (this.#profile.trust === "trusted") return Math.min(values[event]!, this.#profile.maxLoopCharge)
        return values[event]!
    }
  }
}
