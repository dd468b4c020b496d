import { readFileSync } from "node:fs"
import { HOOK_NAMES, toCamelCase } from "../../hooks.ts"
import { LAYOUT, type MeteredEngine } from "./binary.ts"
import { type BaseImage, captureBase } from "./image.ts"
import { LIBRARY_GLOBALS } from "./library.ts"
import { Machine } from "./machine.ts"
import { OP_CODES } from "./ops.ts"
import { newString, TAG, tagOf } from "./values.ts"

/** The engine with the prelude in it, booted once per process. Its addresses hold in every machine. */
export interface Base {
  readonly module: MeteredEngine
  readonly image: BaseImage
  readonly handles: Handles
}

/** Addresses of guest values and of memory the host uses, all inside the base image. */
export interface Handles {
  readonly runtime: number
  readonly context: number
  readonly undefined: number
  /** Room for the argument pointers of one call. */
  readonly argv: number
  /** Room for argument values that own nothing. */
  readonly slots: number
  readonly jobContext: number
  /** Room for a string on its way in, SCRATCH_BYTES long. */
  readonly scratch: number
  // Functions of the prelude, see prelude/hooks.js.
  readonly register: number
  readonly callRequest: number
  readonly callResponse: number
  readonly callEvent: number
  readonly threw: number
  readonly hostError: number
  readonly need: number
}

/** C stack a guest may use. With more, deep recursion in native code would overflow the host's stack first. */
const STACK_BYTES = 128 * 1024

export const SCRATCH_BYTES = 256

/** Largest part of the prelude. */
const PART_BYTES = 64 * 1024

/** Arguments a host call of a guest function has at most. */
export const MAX_ARGUMENTS = 8

export function bootBase(module: MeteredEngine): Base {
  const machine = new Machine(module, LAYOUT.initialPages, null)
  const { engine } = machine
  engine.constructors()
  const runtime = engine.newRuntime()
  engine.setMaxStackSize(runtime, STACK_BYTES)
  engine.enableInterruptHandler(runtime)
  engine.enableModuleLoader(runtime, 1)
  const context = engine.newContext(runtime, 0)
  const memory = {
    runtime,
    context,
    undefined: engine.getUndefined(),
    argv: machine.allocate(4 * MAX_ARGUMENTS),
    slots: machine.allocate(8 * MAX_ARGUMENTS),
    jobContext: machine.allocate(4),
    scratch: machine.allocate(SCRATCH_BYTES),
  }
  const boot = new Boot(machine, memory)
  // The prelude's own functions need neither source text nor line numbers, and every byte here is copied for each reset.
  machine.bytes[runtime + LAYOUT.stripFlags] = 3
  const op = boot.newFunction("op")
  const codes = boot.evaluate(`(${JSON.stringify(OP_CODES)})`, "codes")
  const globals = boot.evaluate(`(${JSON.stringify(LIBRARY_GLOBALS)})`, "globals")
  const kit = boot.call(boot.evaluate(part("kit"), "bext:kit"), op, codes, globals)
  boot.call(boot.evaluate(part("context"), "bext:context"), kit)
  const hooks = boot.call(boot.evaluate(part("hooks"), "bext:hooks"), kit, boot.evaluate(HOOK_TABLE, "hooks"))
  const handles: Handles = {
    ...memory,
    register: boot.get(hooks, "register"),
    callRequest: boot.get(hooks, "callRequest"),
    callResponse: boot.get(hooks, "callResponse"),
    callEvent: boot.get(hooks, "callEvent"),
    threw: boot.get(hooks, "threw"),
    hostError: boot.get(hooks, "hostError"),
    need: boot.get(hooks, "need"),
  }
  // Guests keep their line numbers, for stack traces. Nobody reads their source text in there.
  machine.bytes[runtime + LAYOUT.stripFlags] = 1
  const image = captureBase(machine, boot.findRandomState())
  boot.evaluate(WARM_UP, "warm-up")
  return { module, image, handles }
}

const HOOK_TABLE = `(${JSON.stringify(HOOK_NAMES.map((name) => ({ name, camel: toCamelCase(name) })))})`

/**
 * What guests usually do. V8 compiles a function of the engine when it is first called, which takes milliseconds in all;
 * this way no request waits for it. Runs after the base image was taken, in a machine that is not used again.
 */
const WARM_UP = `
for (let round = 0; round < 20; round++) {
  const list = Array.from({ length: 20 }, (_, i) => ({ i, name: "name-" + i }))
  list.sort((a, b) => b.i - a.i).map(({ name }) => name).filter((name) => name.endsWith("1")).join()
  JSON.parse(JSON.stringify({ list, nested: [1.5, null, true, "é"] }))
  "x-some-name".replace(/-(.)/g, (_, letter) => letter.toUpperCase()).split("S").includes("x")
  new Map(list.map(({ i, name }) => [name, i])).get("name-3")
  class One { #value = round; get value() { return this.#value } }
  try { throw new TypeError(String(new One().value)) } catch (error) { error.stack }
  Object.entries({ a: 1, b: 2 }).toString().trim().toLowerCase().startsWith("a")
  new Uint8Array(16).fill(1).subarray(2).slice(1)
  ;(async () => { await round })()
}`

function part(name: string): string {
  return readFileSync(new URL(`./prelude/${name}.js`, import.meta.url), "utf8")
}

/** Evaluates trusted code. A failure here is a bug of bext. */
class Boot {
  readonly #machine: Machine
  readonly #memory: Pick<Handles, "context" | "undefined" | "argv" | "scratch">

  constructor(machine: Machine, memory: Pick<Handles, "context" | "undefined" | "argv" | "scratch">) {
    this.#machine = machine
    this.#memory = memory
  }

  newFunction(name: string): number {
    const text = this.#machine.newCString(name)
    return this.#machine.engine.newFunction(this.#memory.context, text, 0, 0, 1)
  }

  evaluate(source: string, file: string): number {
    const machine = this.#machine
    // High above the heap, so that the texts leave no holes in it.
    const code = machine.bytes.length - 2 * PART_BYTES
    const name = machine.bytes.length - PART_BYTES
    const size = machine.bytes.write(source, code, PART_BYTES - 1, "utf8")
    machine.bytes.write(file, name, PART_BYTES - 1, "utf8")
    const value = machine.engine.eval(this.#memory.context, code, size, name, 0, 0)
    machine.bytes.fill(0, code)
    return this.#checked(value, file)
  }

  call(fn: number, ...values: number[]): number {
    const { context, argv, undefined: self } = this.#memory
    this.#machine.u32.set(values, argv >> 2)
    return this.#checked(this.#machine.engine.call(context, fn, self, values.length, argv), "prelude")
  }

  get(object: number, name: string): number {
    const machine = this.#machine
    const key = newString(machine, this.#memory.context, this.#memory.scratch, name)
    const value = machine.engine.getProp(this.#memory.context, object, key)
    machine.engine.freeValue(this.#memory.context, key)
    return this.#checked(value, name)
  }

  /** Finds the state of Math.random: the 8 bytes of the context whose successor appears after one draw. */
  findRandomState(): number {
    const { bytes } = this.#machine
    const from = this.#memory.context
    const before = Array.from({ length: 512 }, (_, i) => bytes.readBigUInt64LE(from + i * 8))
    this.evaluate("Math.random()", "random")
    const found = before.findIndex((state, i) => state !== 0n && bytes.readBigUInt64LE(from + i * 8) === next(state))
    if (found === -1) throw new Error("the state of Math.random is not where it was expected")
    return from + found * 8
  }

  #checked(value: number, what: string): number {
    if (tagOf(this.#machine, value) !== TAG.exception) return value
    const { context } = this.#memory
    const error = this.#machine.engine.resolveException(context, value)
    const text = this.#machine.engine.getString(context, error)
    const message = this.#machine.bytes.toString("utf8", text, this.#machine.bytes.indexOf(0, text))
    throw new Error(`prelude, ${what}: ${message}`)
  }
}

/** One step of xorshift64*. */
function next(state: bigint): bigint {
  let x = state
  x ^= x >> 12n
  x = BigInt.asUintN(64, x ^ (x << 25n))
  return x ^ (x >> 27n)
}
