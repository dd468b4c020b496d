import { COSTS, MEMORY_BULK, MEMORY_GROW, TABLE_BULK } from "./costs.ts"
import type { Declarations } from "./declarations.ts"
import { EVENT } from "./events.ts"
import { featureOf, IMMEDIATE, IMMEDIATES, OP, VOID } from "./instructions.ts"
import type { ModuleLimits } from "./limits.ts"
import { checkLimit, invalid, unsupported } from "./module-rejected.ts"
import {
  checkBlockTypeIndex,
  readMemoryAccess,
  readMemoryIndex,
  readVectorInstruction,
  skipSimple,
} from "./operands.ts"
import type { Reader } from "./reader.ts"
import { BULK_STACK_EFFECTS, STACK_EFFECTS } from "./stack-effects.ts"

/**
 * Reads one function body after another and lists where something has to be written, in the order of the body. The lists
 * are parallel arrays, reused: a body can have 100,000 events.
 */
export class BodyScan {
  count = 0
  kinds = new Uint8Array(1024)
  positions = new Int32Array(1024)
  values = new Int32Array(1024)
  resumes = new Int32Array(1024)
  hasLoop = false
  hasSized = false
  calls = 0
  /** Calls of functions that do not touch the counter; they are among the calls. */
  leafCalls = 0
  charges = 0
  /** Event of the run of the body's first call; the sink if there is none. */
  firstCallRun = 0
  /** Charges before this event and not before `firstCallRun` are of code in the first call's block. */
  firstCallEnd = 0
  /** The first call's block has all of the body's calls in it, and none is in code that cannot be reached. */
  callsTogether = true
  /** See `ModuleLimits.joinedValues`; over all bodies so far. */
  joinedValues = 0
  /** The first instruction, over all bodies, that changes what is in neither memory nor globals, with its offset. */
  hiddenState: string | null = null

  readonly #module: Declarations
  readonly #limits: ModuleLimits | null
  readonly #everyBlock: boolean
  /** By depth of open block: is it a loop, does a branch leave it, and which charge does the code after a loop belong to. */
  #isLoop = new Uint8Array(256)
  #isTarget = new Uint8Array(256)
  /** By depth of open block: the event of a loop. */
  #loopEvent = new Int32Array(256)
  #outer = new Int32Array(256)
  /** By depth of open block: operands below it, its parameters and its results. */
  #base = new Int32Array(256)
  #parameters = new Int32Array(256)
  #results = new Int32Array(256)

  /** @param everyBlock - Charge every straight run of instructions and check at the entry; otherwise only loops. */
  constructor(module: Declarations, limits: ModuleLimits | null, everyBlock: boolean) {
    this.#module = module
    this.#limits = limits
    this.#everyBlock = everyBlock
  }

  /**
   * @param reader - At the first instruction; afterwards behind the body's `end`.
   * @param locals - Parameters and locals of the function.
   */
  scan(reader: Reader, locals: number): void {
    const everyBlock = this.#everyBlock
    const bodyStart = reader.at
    this.count = 0
    this.hasLoop = false
    this.hasSized = false
    this.calls = 0
    this.leafCalls = 0
    this.charges = 0
    this.firstCallRun = 0
    this.firstCallEnd = -1
    this.callsTogether = true
    let firstCallDepth = 0
    const sink = this.#add(EVENT.sink, reader.at)
    let current = everyBlock ? this.#addCharge(EVENT.checkedCharge, reader.at) : sink
    let depth = 0
    /** Operands on the stack; not exact in code that cannot be reached, which is not compiled. */
    let height = 0
    let joined = 0
    /** Depth of the innermost loop while it may be a tight one, or 0. */
    let tight = 0
    this.#openBlock(0, false, sink)
    for (;;) {
      const simple = skipSimple(reader)
      this.values[current]! += simple.count
      height += simple.height
      const start = reader.at
      const opcode = reader.u8()
      this.values[current]! += COSTS[opcode]!
      height += STACK_EFFECTS[opcode]!
      switch (IMMEDIATES[opcode]) {
        case IMMEDIATE.none:
          if (opcode === OP.end) {
            if (depth === firstCallDepth && this.firstCallEnd < 0) this.firstCallEnd = this.count
            if (depth === 0) {
              this.#checkJoinedValues(joined, bodyStart)
              return
            }
            if (depth === tight) {
              this.#endTightLoop(depth, reader.at)
              // The loop has three more blocks around it.
              joined += 2 * (locals + atLeastZero(this.#base[depth]!))
              tight = 0
            }
            // What follows a loop is reached only from the loop's last instruction: the run goes on.
            if (this.#isLoop[depth] === 1) current = everyBlock ? current : this.#outer[depth]!
            else if (everyBlock && this.#isTarget[depth] === 1) current = this.#addCharge(EVENT.charge, reader.at)
            height = this.#base[depth]! + this.#results[depth]!
            joined += locals + atLeastZero(height)
            depth--
          } else if (opcode === OP.else) {
            if (depth === firstCallDepth && this.firstCallEnd < 0) this.firstCallEnd = this.count
            height = this.#base[depth]! + this.#parameters[depth]!
            joined += locals + atLeastZero(height)
            if (everyBlock) current = this.#addCharge(EVENT.charge, reader.at)
          } else if (everyBlock) {
            if (opcode === OP.unreachable) current = sink
            else if (opcode === OP.return) {
              this.#add(EVENT.return, start)
              current = sink
            }
          }
          break
        case IMMEDIATE.index:
          reader.u32()
          break
        case IMMEDIATE.int32:
          reader.skipInt32()
          break
        case IMMEDIATE.memoryAccess:
          readMemoryAccess(reader)
          break
        case IMMEDIATE.blockType:
          depth++
          checkLimit("nested blocks", depth, this.#limits?.nesting ?? Infinity, start)
          if (opcode === OP.if) height--
          joined += locals + atLeastZero(height)
          this.#openBlock(depth, opcode === OP.loop, current)
          this.#blockType(reader, depth, height)
          if (opcode === OP.loop) {
            this.hasLoop = true
            joined += LOOP_CHECK
            tight = everyBlock && this.#parameters[depth] === 0 ? depth : 0
            if (tight > 0) this.#loopEvent[depth] = this.#add(EVENT.plainLoop, start, 0, reader.at)
            current = this.#addCharge(EVENT.checkedCharge, reader.at)
          } else if (opcode === OP.if && everyBlock) {
            this.#isTarget[depth] = 1
            current = this.#addCharge(EVENT.charge, reader.at)
          }
          break
        case IMMEDIATE.branch: {
          const label = this.#branchTarget(reader, depth)
          if (tight > depth - label) this.#add(EVENT.leavingBranch, start, label, reader.at)
          if (opcode === OP.brIf) height--
          joined += locals + atLeastZero(height)
          if (everyBlock) current = opcode === OP.brIf ? this.#addCharge(EVENT.charge, reader.at) : sink
          break
        }
        case IMMEDIATE.branchTable: {
          const targets = reader.count("branch table") + 1
          for (let i = 0; i < targets; i++) this.#branchTarget(reader, depth)
          if (tight > 0) this.#add(EVENT.leavingTable, start, depth - tight, reader.at)
          // Branches to the same label share their code.
          joined += Math.min(targets, depth + 1) * (locals + atLeastZero(height))
          if (everyBlock) current = sink
          break
        }
        case IMMEDIATE.functionIndex: {
          const index = reader.u32()
          if (opcode === OP.refFunc) this.#add(EVENT.functionReference, start, index, reader.at)
          else {
            const { prepaid, isLeaf } = this.#module
            const callee = index - this.#module.importedFunctions
            if (current !== sink) this.values[current]! += Math.max(prepaid[callee] ?? 0, 0)
            const toLeaf = opcode === OP.call && isLeaf[callee] === 1
            if (toLeaf) this.leafCalls++
            firstCallDepth = this.#noteCall(current, depth, firstCallDepth)
            tight = 0
            this.#add(toLeaf ? EVENT.callOfLeaf : EVENT.call, start, index, reader.at)
            if (opcode === OP.returnCall) current = this.#tailCall(start, sink)
            joined += locals + atLeastZero(height)
            height += this.#resultsMinusParameters(this.#module.typeOf(index, start))
          }
          break
        }
        case IMMEDIATE.callIndirect: {
          const type = this.#typeIndex(reader)
          reader.u32()
          firstCallDepth = this.#noteCall(current, depth, firstCallDepth)
          tight = 0
          this.#add(EVENT.callIndirect, start, 0, reader.at)
          if (opcode === OP.returnCallIndirect) current = this.#tailCall(start, sink)
          joined += locals + atLeastZero(height)
          height += this.#resultsMinusParameters(type) - 1
          break
        }
        case IMMEDIATE.global: {
          const index = reader.u32()
          // The next index is the fuel counter's.
          if (index >= this.#module.globalCount) invalid(`no global ${index}`, start)
          break
        }
        case IMMEDIATE.int64:
          reader.skipInt64()
          break
        case IMMEDIATE.float32:
          reader.skip(4)
          break
        case IMMEDIATE.float64:
          reader.skip(8)
          break
        case IMMEDIATE.memoryIndex:
          readMemoryIndex(reader)
          joined += locals + atLeastZero(height)
          if (opcode === OP.memoryGrow) this.#addSized(start, MEMORY_GROW)
          break
        case IMMEDIATE.tableIndex:
          // Like bulk instructions these call into V8, with every value of the function saved around the call.
          joined += locals + atLeastZero(height)
          reader.u32()
          if (opcode === OP.tableSet) this.hiddenState ??= `table.set at byte ${start}`
          break
        case IMMEDIATE.selectTypes: {
          const count = reader.count("select type")
          for (let i = 0; i < count; i++) reader.valueType()
          break
        }
        case IMMEDIATE.heapType:
          reader.heapType()
          break
        case IMMEDIATE.prefixFc:
          joined += locals + atLeastZero(height)
          height += this.#prefixFc(reader, start)
          break
        case IMMEDIATE.prefixFd:
          height += readVectorInstruction(reader, start)
          break
        default:
          unsupported(featureOf(opcode), start)
      }
    }
  }

  /** @returns How the instruction changes the height of the stack. */
  #prefixFc(reader: Reader, start: number): number {
    const opcode = reader.u32()
    if (opcode <= 7) return 0 // saturating truncation
    this.hiddenState ??= nameHiddenState(opcode, start)
    switch (opcode) {
      case 8: // memory.init
        reader.u32()
        readMemoryIndex(reader)
        this.#addSized(start, MEMORY_BULK)
        break
      case 10: // memory.copy
        readMemoryIndex(reader)
        readMemoryIndex(reader)
        this.#addSized(start, MEMORY_BULK)
        break
      case 11: // memory.fill
        readMemoryIndex(reader)
        this.#addSized(start, MEMORY_BULK)
        break
      case 9: // data.drop
      case 13: // elem.drop
      case 16: // table.size
        reader.u32()
        break
      case 12: // table.init
      case 14: // table.copy
        reader.u32()
        reader.u32()
        this.#addSized(start, TABLE_BULK)
        break
      case 15: // table.grow
      case 17: // table.fill
        reader.u32()
        this.#addSized(start, TABLE_BULK)
        break
      default:
        unsupported(`opcode 0xfc 0x${opcode.toString(16)}`, start)
    }
    return BULK_STACK_EFFECTS[opcode]!
  }

  #blockType(reader: Reader, depth: number, height: number): void {
    const first = reader.bytes[reader.at]!
    let parameters = 0
    let results = 0
    if (first === VOID) reader.skip(1)
    // One byte with the sign bit of a signed integer: a value type.
    else if ((first & 0xc0) === 0x40) {
      reader.valueType()
      results = 1
    } else {
      checkBlockTypeIndex(reader)
      const type = this.#typeIndex(reader)
      parameters = this.#module.parameterCounts[type]!
      results = this.#module.resultCounts[type]!
    }
    this.#base[depth] = height - parameters
    this.#parameters[depth] = parameters
    this.#results[depth] = results
  }

  #typeIndex(reader: Reader): number {
    const offset = reader.at
    const type = reader.u32()
    if (type >= this.#module.typeCount) invalid(`no type ${type}`, offset)
    return type
  }

  #resultsMinusParameters(type: number): number {
    return this.#module.resultCounts[type]! - this.#module.parameterCounts[type]!
  }

  #branchTarget(reader: Reader, depth: number): number {
    const offset = reader.at
    const label = reader.u32()
    if (label > depth) invalid(`no label ${label}`, offset)
    this.#isTarget[depth - label] = 1
    return label
  }

  #endTightLoop(depth: number, position: number): void {
    const event = this.#loopEvent[depth]!
    this.kinds[event] = EVENT.tightLoop
    this.kinds[event + 1] = EVENT.tightLoopCharge
    this.#add(EVENT.tightLoopEnd, position, event + 1)
  }

  /** @returns Depth of the first call's block. */
  #noteCall(run: number, depth: number, firstCallDepth: number): number {
    const first = this.calls++ === 0
    if (first) this.firstCallRun = run
    // The sink is event 0.
    if (run === 0 || this.firstCallEnd >= 0) this.callsTogether = false
    return first ? depth : firstCallDepth
  }

  #tailCall(start: number, sink: number): number {
    if (!this.#everyBlock) unsupported("a tail call in a module whose function entries are not checked", start)
    return sink
  }

  #openBlock(depth: number, isLoop: boolean, outer: number): void {
    if (depth === this.#isLoop.length) {
      this.#isLoop = grown(this.#isLoop, Uint8Array)
      this.#isTarget = grown(this.#isTarget, Uint8Array)
      this.#loopEvent = grown(this.#loopEvent, Int32Array)
      this.#outer = grown(this.#outer, Int32Array)
      this.#base = grown(this.#base, Int32Array)
      this.#parameters = grown(this.#parameters, Int32Array)
      this.#results = grown(this.#results, Int32Array)
    }
    this.#isLoop[depth] = isLoop ? 1 : 0
    this.#isTarget[depth] = 0
    this.#outer[depth] = outer
  }

  #checkJoinedValues(joined: number, offset: number): void {
    this.joinedValues += joined
    if (this.#limits === null) return
    checkLimit("values joined in one function", joined, this.#limits.functionJoinedValues, offset)
    checkLimit("values joined in all functions", this.joinedValues, this.#limits.joinedValues, offset)
  }

  #addCharge(kind: number, position: number): number {
    this.charges++
    return this.#add(kind, position)
  }

  #addSized(start: number, operation: number): void {
    this.hasSized = true
    this.#add(EVENT.sized, start, operation)
  }

  #add(kind: number, position: number, value = 0, resume = position): number {
    if (this.count === this.kinds.length) {
      this.kinds = grown(this.kinds, Uint8Array)
      this.positions = grown(this.positions, Int32Array)
      this.values = grown(this.values, Int32Array)
      this.resumes = grown(this.resumes, Int32Array)
    }
    const event = this.count++
    this.kinds[event] = kind
    this.positions[event] = position
    this.values[event] = value
    this.resumes[event] = resume
    return event
  }
}

function nameHiddenState(opcode: number, start: number): string | null {
  const name = HIDDEN_STATE[opcode]
  return name === undefined ? null : `${name} at byte ${start}`
}

/** Instructions behind the prefix 0xfc whose effect is in neither memory nor globals. */
const HIDDEN_STATE: readonly (string | undefined)[] = Object.assign([], {
  9: "data.drop",
  12: "table.init",
  13: "elem.drop",
  14: "table.copy",
  15: "table.grow",
  17: "table.fill",
})

/** What the check of a loop adds to the joined values: a module of nothing but loops grows 14 times. */
const LOOP_CHECK = 4

/** Behind `unreachable` the height can fall below the truth without end: it must not make up for what was counted before. */
function atLeastZero(height: number): number {
  return Math.max(height, 0)
}

function grown<A extends Uint8Array | Int32Array>(array: A, kind: new (length: number) => A): A {
  const larger = new kind(array.length * 2)
  larger.set(array)
  return larger
}
