import { Writer } from "../../../src/sandbox/metering/writer.ts"

const I32 = 0x7f
const I64 = 0x7e
const F32 = 0x7d
const F64 = 0x7c
const NUMBERS = [I32, I64, F32, F64]
const ACTIVE_SEGMENT = 0
const PASSIVE_SEGMENT = 1

interface FunctionType {
  readonly parameters: readonly number[]
  readonly results: readonly number[]
}

/**
 * Generates a valid module that ends: a global of steps goes down at every function entry and loop turn, and at zero the
 * module traps. Float bits are never stored or reinterpreted, because the bits of a NaN are not determined.
 * @param below - Random numbers: `below(n)` is from 0 to n - 1.
 */
export function randomModule(below: (limit: number) => number): Uint8Array<ArrayBuffer> {
  return new Generator(below).module()
}

class Generator {
  readonly #below: (limit: number) => number
  readonly #types: FunctionType[] = []
  /** Function index to type; the first is imported. */
  readonly #functions: FunctionType[] = []
  readonly #globals = [I32, ...NUMBERS, I32]
  #code = new Writer()
  #locals: number[] = []
  /** Types a branch to each open label carries, the outermost first. */
  #labels: (readonly number[])[] = []
  #results: readonly number[] = []
  #size = 0
  /** False in functions that count no step at their entry. */
  #mayCall = true

  constructor(below: (limit: number) => number) {
    this.#below = below
  }

  module(): Uint8Array<ArrayBuffer> {
    this.#functions.push({ parameters: [I32], results: [I32] })
    const own = 2 + this.#below(5)
    for (let i = 0; i < own; i++)
      this.#functions.push({
        parameters: this.#someTypes(3),
        results: this.#below(3) === 0 ? this.#someTypes(3) : this.#someTypes(1),
      })
    const bodies = this.#functions.slice(1).map((type) => this.#function(type))
    const out = new Writer()
    for (const byte of [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.u8(byte)
    const functionTypes = this.#functions.map((type) => this.#typeIndex(type))
    section(out, 1, this.#types, (type, contents) => {
      contents.u8(0x60)
      for (const list of [type.parameters, type.results]) {
        contents.u32(list.length)
        for (const value of list) contents.u8(value)
      }
    })
    section(out, 2, [0], (_, contents) => {
      contents.name("host")
      contents.name("f")
      contents.op(0, functionTypes[0]!)
    })
    section(out, 3, functionTypes.slice(1), (type, contents) => contents.u32(type))
    section(out, 4, [0], (_, contents) => {
      for (const byte of [0x70, 1, 6, 12]) contents.u8(byte)
    })
    section(out, 5, [0], (_, contents) => {
      for (const byte of [1, 1, 2]) contents.u8(byte)
    })
    section(out, 6, this.#globals, (type, contents) => {
      contents.u8(type)
      contents.u8(1)
      const saved = this.#code
      this.#code = contents
      if (contents.length < 4) this.#constant(I32, 300)
      else this.#constant(type, this.#below(100))
      this.#code = saved
      contents.u8(0x0b)
    })
    const segment = this.#functions.map(() => this.#below(this.#functions.length)).slice(0, 3)
    const exported = [
      // What only the module itself calls may be charged at its calls.
      ...functionTypes
        .slice(1)
        .map((_, i) => ({ name: `f${i}`, kind: 0, index: i + 1 }))
        .filter(({ index }) => index === 1 || this.#below(3) > 0),
      { name: "memory", kind: 2, index: 0 },
      { name: "table", kind: 1, index: 0 },
      ...this.#globals.map((_, index) => ({ name: `g${index}`, kind: 3, index })),
    ]
    section(out, 7, exported, ({ name, kind, index }, contents) => {
      contents.name(name)
      contents.op(kind, index)
    })
    section(out, 9, [ACTIVE_SEGMENT, PASSIVE_SEGMENT], (kind, contents) => {
      if (kind === ACTIVE_SEGMENT) {
        for (const byte of [0, 0x41, 0, 0x0b, 5]) contents.u8(byte)
        for (let i = 0; i < 5; i++) contents.u32(this.#below(this.#functions.length))
        return
      }
      for (const byte of [1, 0, segment.length]) contents.u8(byte)
      for (const index of segment) contents.u32(index)
    })
    out.op(12, 1)
    out.u8(1)
    section(out, 10, bodies, (body, contents) => contents.sized(body))
    section(out, 11, [0], (_, contents) => {
      contents.u8(1)
      contents.name("passive data")
    })
    return out.finish()
  }

  #function(type: FunctionType): Writer {
    const own = this.#someTypes(4)
    this.#code = new Writer()
    this.#locals = [...type.parameters, ...own]
    this.#labels = [type.results]
    this.#results = type.results
    this.#size = this.#below(3) === 0 ? this.#below(12) : 10 + this.#below(150)
    this.#code.u32(own.length)
    for (const local of own) this.#code.op(1, local)
    this.#mayCall = this.#below(6) > 0
    if (this.#mayCall) this.#step()
    this.#statements(this.#below(3) === 0 ? 1 : 4)
    this.#values(type.results, 2)
    this.#code.u8(0x0b)
    return this.#code
  }

  /** Counts down the steps; traps at zero. */
  #step(): void {
    this.#code.op(0x23, 0)
    this.#code.u8(0x45)
    this.#code.op(0x04, 0x40)
    this.#code.u8(0x00)
    this.#code.u8(0x0b)
    this.#code.op(0x23, 0)
    this.#constant(I32, 1)
    this.#code.u8(0x6b)
    this.#code.op(0x24, 0)
  }

  /** Zero after a few steps, so that a loop ends. */
  #stepsRemainder(): void {
    this.#code.op(0x23, 0)
    this.#constant(I32, 1 + this.#below(40))
    this.#code.u8(0x70)
  }

  #statements(depth: number): void {
    const count = this.#below(4)
    for (let i = 0; i < count && this.#size > 0; i++) this.#statement(depth)
  }

  #statement(depth: number): void {
    this.#size--
    const code = this.#code
    const simple = depth <= 0
    switch (this.#below(simple ? 8 : 20)) {
      case 0: {
        const local = this.#below(this.#locals.length + 1)
        const type = this.#locals[local]
        if (type === undefined) {
          code.u8(0x01)
          return
        }
        this.#value(type, depth)
        code.op(0x21, local)
        return
      }
      case 1: {
        const index = 1 + this.#below(this.#globals.length - 1)
        this.#value(this.#globals[index]!, depth)
        code.op(0x24, index)
        return
      }
      case 2:
        this.#value(I32, depth)
        this.#value(this.#below(2) ? I32 : I64, depth)
        code.u8(0x1a)
        this.#value(I32, depth)
        code.op(0x3b, 0)
        code.u32(this.#below(100))
        return
      case 3:
        this.#value(this.#pick(NUMBERS), depth)
        code.u8(0x1a)
        return
      case 4: // br
        if (this.#below(4) > 0) return
        this.#branch(0x0c, depth)
        return
      case 5: {
        // memory.fill or memory.copy, mostly in bounds
        this.#constant(I32, this.#below(70_000))
        this.#value(I32, depth)
        if (this.#below(2)) {
          code.u8(0x1a)
          this.#constant(I32, this.#below(1000))
        }
        this.#constant(I32, this.#below(200))
        code.u8(0xfc)
        if (this.#below(2)) {
          code.op(11, 0)
          return
        }
        code.op(10, 0)
        code.u8(0)
        return
      }
      case 6: {
        this.#constant(I32, this.#below(2))
        code.op(0x40, 0)
        code.u8(0x1a)
        return
      }
      case 7: // return
        if (this.#below(5) > 0) return
        this.#values(this.#results, 1)
        code.u8(0x0f)
        return
      case 8:
      case 9: // if
        this.#value(I32, depth - 1)
        this.#block(0x04, [], [], depth)
        return
      case 10:
      case 11: {
        const parameters = this.#someTypes(2)
        this.#values(parameters, depth - 1)
        const results = this.#someTypes(2)
        this.#block(0x02, parameters, results, depth)
        for (const _ of results) code.u8(0x1a)
        return
      }
      case 12:
      case 13: {
        const parameters = this.#someTypes(1)
        const results = this.#someTypes(2)
        this.#values(parameters, depth - 1)
        this.#block(0x03, parameters, results, depth)
        for (const _ of results) code.u8(0x1a)
        return
      }
      case 14: // br_if
        this.#branch(0x0d, depth - 1)
        return
      case 15: // br_table
        this.#branchTable(depth - 1)
        return
      case 16: {
        if (!this.#mayCall) return
        const callee = this.#below(this.#functions.length)
        this.#call(callee, depth, this.#below(3) === 0)
        return
      }
      case 18:
        this.#segment()
        return
      case 19: {
        // A call that is the only one of a branch: what is in front of it may be paid by callers.
        if (!this.#mayCall) return
        this.#value(I32, 1)
        code.op(0x04, 0x40)
        this.#call(this.#below(this.#functions.length), 1, false)
        code.u8(0x0b)
        return
      }
      case 17: {
        if (this.#below(8) === 0) {
          code.u8(0x00)
          this.#deadCode()
          return
        }
        // table.grow, table.fill or table.set, with null or a function of the table
        const kind = this.#below(3)
        if (kind > 0) this.#constant(I32, this.#below(8))
        if (this.#below(3)) code.op(0xd0, 0x70)
        else {
          this.#constant(I32, this.#below(5))
          code.op(0x25, 0)
        }
        if (kind < 2) this.#constant(I32, this.#below(3))
        if (kind === 2) {
          code.op(0x26, 0)
          return
        }
        code.u8(0xfc)
        code.op(kind === 0 ? 15 : 17, 0)
        if (kind === 0) code.u8(0x1a)
      }
    }
  }

  /** Operands are of any type and there are enough of them; nothing of it runs. */
  #deadCode(): void {
    const code = this.#code
    for (let count = this.#below(4); count > 0; count--)
      switch (this.#below(6)) {
        case 0:
          code.u8(0x1a)
          break
        case 1: // i32.add
          code.u8(0x6a)
          code.u8(0x1a)
          break
        case 2: // select of i64
          code.op(0x1c, 1)
          code.u8(I64)
          code.u8(0x1a)
          break
        case 3: {
          const label = this.#below(this.#labels.length)
          code.op(0x0d, label)
          for (const _ of this.#labels[this.#labels.length - 1 - label]!) code.u8(0x1a)
          break
        }
        case 4:
          code.u8(0x03)
          code.u8(0x40)
          code.op(0x0c, 0)
          code.u8(0x0b)
          break
        default: {
          const callee = this.#below(this.#functions.length)
          code.op(0x10, callee)
          for (const _ of this.#functions[callee]!.results) code.u8(0x1a)
        }
      }
  }

  /** memory.init, data.drop, table.init, elem.drop or table.copy */
  #segment(): void {
    const code = this.#code
    const kind = this.#pick([8, 9, 12, 13, 14])
    if (kind !== 9 && kind !== 13)
      for (let operand = 0; operand < 3; operand++) this.#constant(I32, this.#below(kind === 8 ? 5 : 3))
    code.u8(0xfc)
    code.op(kind, kind === 12 || kind === 13 ? 1 : 0)
    if (kind !== 9 && kind !== 13) code.u8(0)
  }

  #block(opcode: number, parameters: readonly number[], results: readonly number[], depth: number): void {
    const code = this.#code
    code.u8(opcode)
    if (parameters.length === 0 && results.length === 0 && this.#below(2)) code.u8(0x40)
    else code.s32(this.#typeIndex({ parameters, results }))
    this.#labels.push(opcode === 0x03 ? parameters : results)
    this.#blockBody(parameters, results, depth, opcode === 0x03)
    if (opcode === 0x04 && (parameters.join() !== results.join() || this.#below(2))) {
      code.u8(0x05)
      this.#blockBody(parameters, results, depth, false)
    }
    code.u8(0x0b)
    this.#labels.pop()
  }

  #blockBody(parameters: readonly number[], results: readonly number[], depth: number, isLoop: boolean): void {
    for (const _ of parameters) this.#code.u8(0x1a)
    if (isLoop) this.#step()
    this.#statements(depth - 1)
    if (isLoop && this.#below(3)) {
      this.#values(parameters, 1)
      if (this.#below(3)) this.#stepsRemainder()
      else this.#value(I32, 1)
      this.#code.op(0x0d, 0)
      for (const _ of parameters) this.#code.u8(0x1a)
    }
    this.#values(results, depth - 1)
  }

  #branch(opcode: number, depth: number): void {
    const label = this.#below(this.#labels.length)
    const carried = this.#labels[this.#labels.length - 1 - label]!
    this.#values(carried, depth)
    if (opcode === 0x0d) this.#value(I32, depth)
    this.#code.op(opcode, label)
    if (opcode === 0x0d) for (const _ of carried) this.#code.u8(0x1a)
  }

  #branchTable(depth: number): void {
    const carried = this.#pick(this.#labels)
    const same = this.#labels.flatMap((types, i) =>
      types.join() === carried.join() ? [this.#labels.length - 1 - i] : [],
    )
    this.#values(carried, depth)
    this.#value(I32, depth)
    this.#constant(I32, 3)
    this.#code.u8(0x71)
    this.#code.op(0x0e, 2)
    for (let i = 0; i < 3; i++) this.#code.u32(this.#pick(same))
  }

  #call(callee: number, depth: number, tail: boolean): void {
    const type = this.#functions[callee]!
    this.#values(type.parameters, depth - 1)
    const tailCall = tail && type.results.join() === this.#results.join()
    if (this.#below(2)) this.#code.op(tailCall ? 0x12 : 0x10, callee)
    else {
      this.#constant(I32, this.#below(7))
      this.#code.op(tailCall ? 0x13 : 0x11, this.#typeIndex(type))
      this.#code.u8(0)
    }
    for (const _ of type.results) this.#code.u8(0x1a)
  }

  #values(types: readonly number[], depth: number): void {
    for (const type of types) this.#value(type, depth)
  }

  /** Leaves one value of `type` on the stack. */
  #value(type: number, depth: number): void {
    this.#size--
    const code = this.#code
    if (depth <= 0 || this.#size < 0) {
      this.#leaf(type)
      return
    }
    switch (this.#below(9)) {
      case 0:
      case 1:
        this.#leaf(type)
        return
      case 2:
      case 3:
        this.#value(type, depth - 1)
        this.#value(type, depth - 1)
        code.u8(this.#pick(BINARY.get(type)!))
        return
      case 4: {
        const [opcode, from] = this.#pick(CONVERSIONS.get(type)!)
        this.#value(from, depth - 1)
        code.u8(opcode)
        return
      }
      case 5:
        this.#value(I32, depth - 1)
        this.#block(0x04, [], [type], depth - 1)
        return
      case 6:
        this.#block(this.#below(2) ? 0x02 : 0x03, [], [type], depth - 1)
        return
      case 7: {
        const callees = this.#functions.flatMap((f, i) => (f.results.length === 1 && f.results[0] === type ? [i] : []))
        if (callees.length === 0 || !this.#mayCall) {
          this.#leaf(type)
          return
        }
        const callee = this.#pick(callees)
        this.#values(this.#functions[callee]!.parameters, depth - 1)
        code.op(0x10, callee)
        return
      }
      default:
        this.#value(type, depth - 1)
        this.#value(type, depth - 1)
        this.#value(I32, depth - 1)
        code.u8(0x1b)
        return
    }
  }

  #leaf(type: number): void {
    const code = this.#code
    const locals = this.#locals.flatMap((local, i) => (local === type ? [i] : []))
    const globals = this.#globals.flatMap((global, i) => (global === type && i > 0 ? [i] : []))
    switch (this.#below(5)) {
      case 0:
        this.#constant(type, this.#pick([0, 1, -1, 7, 100, 65_536, 2 ** 31 - 1, -(2 ** 31)]))
        return
      case 1:
        if (locals.length > 0) {
          code.op(0x20, this.#pick(locals))
          return
        }
        this.#constant(type, 3)
        return
      case 2:
        code.op(0x23, this.#pick(globals))
        return
      case 3:
        if (type === I32 && this.#below(2)) {
          code.op(0x3f, 0)
          return
        }
        if (type !== I32 && type !== I64) {
          this.#constant(type, 2)
          return
        }
        this.#constant(I32, this.#below(66_000))
        code.op(type === I32 ? 0x28 : 0x29, 0)
        code.u32(this.#below(100))
        return
      default:
        if (locals.length === 0) {
          this.#constant(type, 5)
          return
        }
        this.#constant(type, this.#below(1000))
        code.op(0x22, this.#pick(locals))
        return
    }
  }

  #constant(type: number, value: number): void {
    const bytes = new Uint8Array(8)
    const view = new DataView(bytes.buffer)
    if (type === I32 || type === I64) {
      this.#code.u8(type === I32 ? 0x41 : 0x42)
      this.#code.s32(value)
      return
    }
    this.#code.u8(type === F32 ? 0x43 : 0x44)
    if (type === F32) view.setFloat32(0, value, true)
    else view.setFloat64(0, value, true)
    this.#code.copy(bytes, 0, type === F32 ? 4 : 8)
  }

  #someTypes(most: number): number[] {
    return Array.from({ length: this.#below(most + 1) }, () => this.#pick(NUMBERS))
  }

  #typeIndex(type: FunctionType): number {
    const key = (other: FunctionType) => `${other.parameters}>${other.results}`
    const index = this.#types.findIndex((other) => key(other) === key(type))
    return index >= 0 ? index : this.#types.push(type) - 1
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!
  }
}

/** Opcodes of two operands; divisions trap now and then. */
const BINARY = new Map([
  [I32, [0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x74, 0x77, 0x46, 0x48, 0x4f]],
  [I64, [0x7c, 0x7d, 0x7e, 0x7f, 0x82, 0x83, 0x84, 0x86, 0x89]],
  [F32, [0x92, 0x93, 0x94, 0x96]],
  [F64, [0xa0, 0xa1, 0xa2, 0xa4]],
])
/** Opcodes of one operand, with its type; truncations trap now and then. */
const CONVERSIONS = new Map<number, readonly (readonly [opcode: number, from: number])[]>([
  [
    I32,
    [
      [0x45, I32],
      [0x67, I32],
      [0xa7, I64],
      [0x50, I64],
      [0xaa, F64],
      [0xc0, I32],
    ],
  ],
  [
    I64,
    [
      [0xac, I32],
      [0xad, I32],
      [0x79, I64],
      [0xb0, F64],
      [0xc3, I64],
    ],
  ],
  [
    F32,
    [
      [0x8b, F32],
      [0xb2, I32],
      [0xb6, F64],
    ],
  ],
  [
    F64,
    [
      [0x99, F64],
      [0xb7, I32],
      [0xb9, I64],
      [0xbb, F32],
    ],
  ],
])

function section<T>(out: Writer, id: number, entries: readonly T[], write: (entry: T, contents: Writer) => void): void {
  const contents = new Writer()
  contents.u32(entries.length)
  for (const entry of entries) write(entry, contents)
  out.u8(id)
  out.sized(contents)
}
