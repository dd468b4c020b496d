import { F64, FUNCTION_TYPE, I32, I64, OP, VOID } from "./instructions.ts"
import { checkLimit, invalid, unsupported } from "./module-rejected.ts"
import type { ExternShape, ImportShape } from "./module-shape.ts"
import { nameStartsWith, nameTextStart, readName, skipName } from "./names.ts"
import type { Profile } from "./profiles.ts"
import { Reader } from "./reader.ts"
import { readTypeNames, typeName } from "./type-names.ts"
import { Writer } from "./writer.ts"

/** Import module of the refill function; a guest's module may not use it. */
export const METER_MODULE = "__meter"
export const REFILL_NAME = "refill"
/** Prefix of every export the rewriter adds, and in the trusted profile the counter's own; reserved. */
export const FUEL_EXPORT = "__fuel"
export const FUEL_GET_EXPORT = `${FUEL_EXPORT}_get`
export const FUEL_SET_EXPORT = `${FUEL_EXPORT}_set`
export const START_EXPORT = `${FUEL_EXPORT}_start`

const EXTERNAL = { function: 0, table: 1, memory: 2, global: 3, tag: 4 } as const
/** Behind the module's own types: `() -> units`, `units -> ()` and `counter -> counter`. */
const METER_TYPE = { get: 0, set: 1, slow: 2 } as const
const METER_TYPES = 3
const EXTENDED_CONST_OPS = new Set([0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e])

/**
 * Everything in front of the code section: reads each section, remembers what function bodies need to know, and writes it
 * back with the fuel counter's declarations added. `refill` becomes the last imported function, so own functions move up
 * by one; the counter becomes the last global and the meter's own functions the last functions, so nothing else moves.
 */
export class Declarations {
  typeCount = 0
  /** By type: parameters, results, and the block type `[] -> results` as a signed integer. */
  readonly parameterCounts: number[] = []
  readonly resultCounts: number[] = []
  readonly resultBlockTypes: number[] = []
  readonly importedFunctionTypes: number[] = []
  /** Own functions' types. */
  readonly functionTypes: number[] = []
  /**
   * By own function: what a direct call pays for it, in front of what it charges by itself; -1 for a function that charges
   * everything by itself.
   */
  prepaid = new Int8Array(0)
  /** By own function: 1 if it charges nothing by itself, and so does not touch the counter. */
  isLeaf = new Uint8Array(0)
  /** By own function: 1 if the host may call it by name. */
  isExported = new Uint8Array(0)
  globalCount = 0
  /** Indices of own mutable globals that JavaScript can read and write. */
  readonly mutableGlobals: number[] = []
  readonly importShapes: ImportShape[] = []
  readonly exportShapes = new Map<string, ExternShape>()
  /** The module's own memory, in pages. */
  memory: { readonly initialPages: number; readonly maximumPages: number } | null = null
  /** A mutable global whose value JavaScript cannot save, with its offset. */
  hiddenState: string | null = null

  readonly #profile: Profile
  readonly #counterType: number
  readonly #typeReaders: Reader[] = []
  readonly #globalTypes: string[] = []
  #tables = 0
  #memories = 0

  constructor(profile: Profile) {
    this.#profile = profile
    this.#counterType = profile.trust === "trusted" ? I32 : I64
  }

  get importedFunctions(): number {
    return this.importedFunctionTypes.length
  }

  get refillFunction(): number {
    return this.importedFunctions
  }

  /** In the new numbering. */
  get slowFunction(): number {
    return this.importedFunctions + 1 + this.functionTypes.length
  }

  /** Functions that the meter adds behind the module's own. */
  get addedFunctions(): number {
    return this.#profile.trust === "trusted" ? 1 : 3
  }

  get fuelGlobal(): number {
    return this.globalCount
  }

  /** @returns The type of a function by its index in the original numbering. */
  typeOf(index: number, offset: number): number {
    const type = this.importedFunctionTypes[index] ?? this.functionTypes[index - this.importedFunctions]
    return type ?? invalid(`no function ${index}`, offset)
  }

  /** @returns The function's index in the new numbering. */
  moveFunction(index: number, offset: number): number {
    return this.findFunction(index) ?? invalid(`no function ${index}`, offset)
  }

  /** @returns The function's index in the new numbering, or null when there is no such function. */
  findFunction(index: number): number | null {
    if (index < this.importedFunctions) return index
    return index < this.importedFunctions + this.functionTypes.length ? index + 1 : null
  }

  /** Adds the types of the meter's functions, and `() -> results` for every type with several results. */
  types(reader: Reader | undefined, out: Writer): void {
    const limits = this.#limits
    const multiResult: { type: number; start: number; end: number }[] = []
    const start = reader?.at ?? 0
    this.typeCount = reader?.count("type") ?? 0
    checkLimit("function types", this.typeCount, limits?.types ?? Infinity, start)
    const first = reader?.at ?? 0
    for (let type = 0; type < this.typeCount && reader !== undefined; type++) {
      const offset = reader.at
      if (reader.u8() !== FUNCTION_TYPE) unsupported("garbage collection", offset)
      this.#typeReaders.push(new Reader(reader.bytes, reader.at, reader.end))
      const parameters = readValueTypes(reader, "parameter")
      checkLimit("parameters of one function", parameters, limits?.parameters ?? Infinity, offset)
      const resultsStart = reader.at
      const results = readValueTypes(reader, "result")
      checkLimit("results of one function", results, limits?.results ?? Infinity, offset)
      this.parameterCounts.push(parameters)
      this.resultCounts.push(results)
      if (results <= 1) this.resultBlockTypes.push(asSigned(results === 0 ? VOID : reader.bytes[reader.at - 1]!))
      else {
        this.resultBlockTypes.push(this.typeCount + METER_TYPES + multiResult.length)
        multiResult.push({ type, start: resultsStart, end: reader.at })
      }
    }
    out.u32(this.typeCount + METER_TYPES + multiResult.length)
    if (reader !== undefined) copyToEnd(reader, first, out)
    const hostType = this.#counterType === I32 ? I32 : F64
    for (const byte of [FUNCTION_TYPE, 0, 1, hostType]) out.u8(byte)
    for (const byte of [FUNCTION_TYPE, 1, hostType, 0]) out.u8(byte)
    for (const byte of [FUNCTION_TYPE, 1, this.#counterType, 1, this.#counterType]) out.u8(byte)
    for (const { start, end } of multiResult) {
      out.op(FUNCTION_TYPE, 0)
      out.copy(reader!.bytes, start, end)
    }
  }

  imports(reader: Reader | undefined, out: Writer): void {
    const count = reader?.count("import") ?? 0
    checkLimit("imports", count, this.#limits?.imports ?? Infinity, reader?.at ?? 0)
    out.u32(count + 1)
    for (let i = 0; i < count && reader !== undefined; i++) this.#import(reader, out)
    if (reader !== undefined) expectEnd(reader)
    out.name(METER_MODULE)
    out.name(REFILL_NAME)
    out.op(EXTERNAL.function, this.typeCount)
  }

  functions(reader: Reader | undefined, out: Writer): void {
    const count = reader?.count("function") ?? 0
    checkLimit("functions", count, this.#limits?.functions ?? Infinity, reader?.at ?? 0)
    out.u32(count + this.addedFunctions)
    for (let i = 0; i < count && reader !== undefined; i++) {
      const type = this.#typeIndex(reader)
      this.functionTypes.push(type)
      out.u32(type)
    }
    if (reader !== undefined) expectEnd(reader)
    this.prepaid = new Int8Array(count).fill(-1)
    this.isLeaf = new Uint8Array(count)
    this.isExported = new Uint8Array(count)
    out.u32(this.typeCount + METER_TYPE.slow)
    if (this.#profile.trust === "trusted") return
    out.u32(this.typeCount + METER_TYPE.get)
    out.u32(this.typeCount + METER_TYPE.set)
  }

  tables(reader: Reader, out: Writer): void {
    const count = reader.count("table")
    out.u32(count)
    for (let i = 0; i < count; i++) {
      if (reader.bytes[reader.at] === 0x40) unsupported("a table with an initial value", reader.at)
      this.#table(reader, out)
    }
    expectEnd(reader)
  }

  memories(reader: Reader, out: Writer): void {
    const count = reader.count("memory")
    out.u32(count)
    for (let i = 0; i < count; i++) this.memory = this.#memory(reader, out)
    expectEnd(reader)
  }

  globals(reader: Reader | undefined, out: Writer): void {
    const count = reader?.count("global") ?? 0
    checkLimit("globals", count, this.#limits?.globals ?? Infinity, reader?.at ?? 0)
    out.u32(count + 1)
    for (let i = 0; i < count && reader !== undefined; i++) {
      const offset = reader.at
      const type = this.#globalType(reader, out)
      // JavaScript cannot read a vector, and a reference leads into the instance it came from.
      if (/^mut (?:v128|funcref|externref)$/.test(type))
        this.hiddenState ??= `a mutable global of type ${type.slice(4)} at byte ${offset}`
      else if (type.startsWith("mut ")) this.mutableGlobals.push(this.globalCount)
      this.#constantExpression(reader, out)
      this.globalCount++
    }
    if (reader !== undefined) expectEnd(reader)
    out.u8(this.#counterType)
    out.u8(1)
    out.u8(this.#counterType === I32 ? OP.i32Const : OP.i64Const)
    out.u8(0)
    out.u8(OP.end)
  }

  /** @param start - The start section; its function becomes an export, except in the trusted profile. */
  exports(reader: Reader | undefined, start: Reader | undefined, out: Writer): void {
    const saved = this.#profile.exportGlobals ? this.mutableGlobals : []
    const count = reader?.count("export") ?? 0
    checkLimit("exports", count, this.#limits?.exports ?? Infinity, reader?.at ?? 0)
    const kept = new Writer(1024)
    let keptCount = 0
    for (let i = 0; i < count && reader !== undefined; i++) {
      const start = reader.at
      skipName(reader)
      if (nameStartsWith(reader.bytes, start, reader.at, FUEL_EXPORT))
        invalid(`reserved export name ${FUEL_EXPORT}`, start)
      const nameEnd = reader.at
      const kind = reader.u8()
      const offset = reader.at
      const index = reader.u32()
      const moved = kind === EXTERNAL.function ? this.moveFunction(index, offset) : index
      if (kind === EXTERNAL.function && index >= this.importedFunctions)
        this.isExported[index - this.importedFunctions] = 1
      this.exportShapes.set(readName(reader.bytes, start), this.#externShape(kind, index, offset))
      if (!this.#keepsExport(reader.bytes, start, nameEnd)) continue
      kept.copy(reader.bytes, start, nameEnd)
      kept.op(kind, moved)
      keptCount++
    }
    if (reader !== undefined) expectEnd(reader)
    const own = new Writer(256)
    const ownCount = this.#profile.trust === "trusted" ? this.#exportCounter(own) : this.#exportFunctions(start, own)
    out.u32(keptCount + ownCount + saved.length)
    out.append(kept)
    out.append(own)
    for (const index of saved) {
      out.name(globalExport(index))
      out.op(EXTERNAL.global, index)
    }
  }

  /** @returns The start function's index in the new numbering. */
  start(reader: Reader): number {
    const offset = reader.at
    const index = reader.u32()
    expectEnd(reader)
    if (index >= this.importedFunctions) this.isExported[index - this.importedFunctions] = 1
    return this.moveFunction(index, offset)
  }

  /** Source: WebAssembly Core 3.0 §5.5.12, the eight forms of an element segment. */
  elements(reader: Reader, out: Writer): void {
    const limits = this.#limits
    const count = reader.count("element segment")
    checkLimit("element segments", count, limits?.elementSegments ?? Infinity, reader.at)
    out.u32(count)
    let total = 0
    for (let i = 0; i < count; i++) {
      const offset = reader.at
      const flags = reader.u32()
      if (flags > 7) invalid(`unknown form ${flags} of an element segment`, offset)
      out.u32(flags)
      const passive = (flags & 1) !== 0
      const expressions = (flags & 4) !== 0
      if (!passive && (flags & 2) !== 0) out.u32(reader.u32())
      if (!passive) this.#constantExpression(reader, out)
      if ((flags & 3) !== 0) out.u8(expressions ? reader.referenceType() : reader.u8())
      const entries = reader.count("element")
      total += entries
      checkLimit("element entries", total, limits?.elementEntries ?? Infinity, offset)
      out.u32(entries)
      for (let j = 0; j < entries; j++) {
        if (expressions) this.#constantExpression(reader, out)
        else out.u32(this.moveFunction(reader.u32(), reader.at))
      }
    }
    expectEnd(reader)
  }

  /** Nothing in data segments moves. */
  data(reader: Reader, out: Writer): void {
    const start = reader.at
    checkLimit("data segments", reader.count("data segment"), this.#limits?.dataSegments ?? Infinity, start)
    out.copy(reader.bytes, start, reader.end)
  }

  get #limits() {
    return this.#profile.trust === "untrusted" ? this.#profile.limits : null
  }

  #exportCounter(out: Writer): number {
    out.name(FUEL_EXPORT)
    out.op(EXTERNAL.global, this.fuelGlobal)
    return 1
  }

  #exportFunctions(start: Reader | undefined, out: Writer): number {
    out.name(FUEL_GET_EXPORT)
    out.op(EXTERNAL.function, this.slowFunction + 1)
    out.name(FUEL_SET_EXPORT)
    out.op(EXTERNAL.function, this.slowFunction + 2)
    if (start === undefined) return 2
    out.name(START_EXPORT)
    out.op(EXTERNAL.function, this.start(start))
    return 3
  }

  #import(reader: Reader, out: Writer): void {
    const start = reader.at
    skipName(reader)
    if (nameStartsWith(reader.bytes, start, reader.at, METER_MODULE))
      invalid(`reserved import module ${METER_MODULE}`, start)
    const nameStart = reader.at
    skipName(reader)
    const offset = reader.at
    const kind = reader.u8()
    out.copy(reader.bytes, start, reader.at)
    let index = 0
    if (kind === EXTERNAL.function) {
      const type = this.#typeIndex(reader)
      index = this.importedFunctionTypes.push(type) - 1
      out.u32(type)
    } else if (kind === EXTERNAL.table) this.#table(reader, out)
    else if (kind === EXTERNAL.memory) this.#memory(reader, out, true)
    else if (kind === EXTERNAL.global) {
      this.#globalType(reader, out)
      index = this.globalCount++
    } else if (kind === EXTERNAL.tag) unsupported("exception handling", offset)
    const shape = this.#externShape(kind, index, offset)
    this.importShapes.push({ module: readName(reader.bytes, start), name: readName(reader.bytes, nameStart), ...shape })
  }

  /** @returns The global's type in the text format. */
  #globalType(reader: Reader, out: Writer): string {
    const type = reader.valueType()
    const mutable = readMutability(reader)
    out.u8(type)
    out.u8(mutable)
    const text = `${mutable ? "mut " : ""}${typeName(type)}`
    this.#globalTypes.push(text)
    return text
  }

  #externShape(kind: number, index: number, offset: number): ExternShape {
    switch (kind) {
      case EXTERNAL.function:
        return { kind: "function", type: this.#functionTypeText(this.typeOf(index, offset)) }
      case EXTERNAL.table:
        return { kind: "table", type: "" }
      case EXTERNAL.memory:
        return { kind: "memory", type: "" }
      case EXTERNAL.global:
        return { kind: "global", type: this.#globalTypes[index] ?? invalid(`no global ${index}`, offset) }
      default:
        return invalid(`unknown kind ${kind} of an import or export`, offset)
    }
  }

  #functionTypeText(type: number): string {
    const { bytes, at, end } = this.#typeReaders[type]!
    const reader = new Reader(bytes, at, end)
    return `(${readTypeNames(reader)}) -> (${readTypeNames(reader)})`
  }

  #keepsExport(bytes: Uint8Array, nameStart: number, nameEnd: number): boolean {
    const keep = this.#profile.trust === "trusted" ? this.#profile.keepExports : null
    if (keep === null) return true
    return keep.has(Buffer.from(bytes.subarray(nameTextStart(bytes, nameStart), nameEnd)).toString("utf8"))
  }

  #typeIndex(reader: Reader): number {
    const offset = reader.at
    const type = reader.u32()
    if (type >= this.typeCount) invalid(`no type ${type}`, offset)
    return type
  }

  #table(reader: Reader, out: Writer): void {
    const offset = reader.at
    checkLimit("tables", ++this.#tables, this.#limits?.tables ?? Infinity, offset)
    out.u8(reader.referenceType())
    const { minimum, maximum } = readSizes(reader)
    const cap = this.#profile.maxTableEntries
    checkLimit("initial table entries", minimum, cap, offset)
    writeSizes(out, minimum, Math.min(maximum, cap))
  }

  #memory(reader: Reader, out: Writer, imported = false) {
    const offset = reader.at
    if (++this.#memories > 1) unsupported("more than one memory", offset)
    const { minimum, maximum } = readSizes(reader)
    const profile = this.#profile
    const replaced = imported && profile.trust === "trusted" ? profile.initialMemoryPages : null
    const initial = replaced ?? minimum
    checkLimit("initial memory pages", initial, profile.maxMemoryPages, offset)
    const maximumPages = Math.min(maximum, profile.maxMemoryPages)
    writeSizes(out, initial, maximumPages)
    return { initialPages: initial, maximumPages }
  }

  /** Copies an initialiser; only `ref.func` in it changes. */
  #constantExpression(reader: Reader, out: Writer): void {
    for (;;) {
      const start = reader.at
      const opcode = reader.u8()
      if (opcode === OP.refFunc) {
        out.op(opcode, this.moveFunction(reader.u32(), start))
        continue
      }
      if (opcode === OP.i32Const) reader.skipInt32()
      else if (opcode === OP.i64Const) reader.skipInt64()
      else if (opcode === 0x43) reader.skip(4)
      else if (opcode === 0x44) reader.skip(8)
      else if (opcode === 0xd0) reader.heapType()
      else if (opcode === OP.globalGet) {
        if (reader.u32() >= this.globalCount) invalid("a global that is not yet defined", start)
      } else if (opcode === OP.prefixFd) {
        if (reader.u32() !== 0x0c) invalid("not a constant instruction", start)
        reader.skip(16)
      } else if (opcode === OP.prefixFb) unsupported("garbage collection", start)
      else if (opcode !== OP.end && !EXTENDED_CONST_OPS.has(opcode)) invalid("not a constant instruction", start)
      out.copy(reader.bytes, start, reader.at)
      if (opcode === OP.end) return
    }
  }
}

/** Export name of an own mutable global. */
export function globalExport(index: number): string {
  return `${FUEL_EXPORT}_g${index}`
}

export function expectEnd(reader: Reader): void {
  if (reader.at !== reader.end) invalid("bytes after the end of the section", reader.at)
}

function copyToEnd(reader: Reader, start: number, out: Writer): void {
  expectEnd(reader)
  out.copy(reader.bytes, start, reader.end)
}

function readValueTypes(reader: Reader, what: string): number {
  const count = reader.count(what)
  for (let i = 0; i < count; i++) reader.valueType()
  return count
}

/** One byte of a signed LEB128 integer as that integer: the form block types take in memory. */
function asSigned(byte: number): number {
  return byte - 0x80
}

function readMutability(reader: Reader): number {
  const offset = reader.at
  const mutable = reader.u8()
  if (mutable > 1) unsupported("a shared global", offset)
  return mutable
}

function readSizes(reader: Reader): { minimum: number; maximum: number } {
  const offset = reader.at
  const flags = reader.u8()
  if (flags & 4) unsupported("memory64", offset)
  if (flags & 2) unsupported("shared memory (threads)", offset)
  if (flags & 8) unsupported("a custom page size", offset)
  if (flags > 1) invalid(`unknown limits flags 0x${flags.toString(16)}`, offset)
  const minimum = reader.u32()
  return { minimum, maximum: flags === 1 ? reader.u32() : Infinity }
}

function writeSizes(out: Writer, minimum: number, maximum: number): void {
  out.u8(1)
  out.u32(minimum)
  out.u32(maximum)
}
