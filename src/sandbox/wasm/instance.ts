import { PluginError } from "../../errors.ts"
import type { GuestServices, GuestStorage } from "../../host/services.ts"
import { Budget } from "../limits/budget.ts"
import type { InstanceAccount } from "../limits/instance-account.ts"
import { watchCall } from "../limits/watch-call.ts"
import type { Exchange, HookCall, InstanceMode, Limits } from "../sandbox.ts"
import type { Abi, Binding, Guest, ImportedFunction, WaitingImport } from "./abi.ts"
import type { CompiledGuest } from "./compile.ts"
import { failureOf, type Stopped } from "./failures.ts"
import { Fuel } from "./fuel.ts"
import { captureImage, findRuns, type Image, restore } from "./image.ts"
import { LinearMemory } from "./linear-memory.ts"
import { requireStackRoom } from "./stack-room.ts"
import { suspendingEntry } from "./trampoline.ts"
import type { WasmCall } from "./wasm-call.ts"

const PAGE_BYTES = 65_536

/** What all instances of one guest share. */
export interface GuestSetup {
  readonly name: string
  readonly abi: Abi
  readonly compiled: CompiledGuest
  readonly services: GuestServices
  readonly limits: Limits
  readonly mode: InstanceMode
  readonly account: InstanceAccount
  /** Imports at which the guest may wait. Without any it is entered plainly, which costs a third. */
  readonly waiting: readonly WaitingImport[]
  readonly usage: Usage
  /** Added to this thread's clock to give the one the guest knows: a guest that moved must not see time go back. */
  readonly clockOffsetMs: number
}

/** What a guest has used of its thread, all instances together. */
export interface Usage {
  /** Milliseconds on the stack, by the monotonic clock. */
  busyMs: number
  entries: number
}

type EntryFunction = (...args: readonly (number | bigint)[]) => unknown

/** What unwinds the stack of a guest that nobody waits for any more. */
const ABANDONED = new Error("abandoned")

/** One memory with the guest in it, for one call at a time. */
export class Instance implements Guest {
  readonly setup: GuestSetup
  readonly memory: LinearMemory
  /** The call that has not returned yet. */
  running: WasmCall | null = null
  /** The guest was stopped in the middle: nothing in its memory can be relied on. */
  broken = false
  /** Its guest was stopped while it waited: what is left of it unwinds later. */
  abandoned = false
  /** It has been called since the image was put into it. */
  used = false
  /** Told when a call that had to wait is done. */
  onSettled: ((call: WasmCall) => void) | null = null
  /** When its guest last left the stack, performance.now(). */
  leftMs = 0
  readonly #binding: Binding
  readonly #exports: WebAssembly.Exports
  readonly #rawMemory: WebAssembly.Memory
  readonly #budget = new Budget()
  readonly #fuel: Fuel
  readonly #entries = new Map<string, EntryFunction>()
  #onStack = false
  #enteredMs = 0
  /** Bytes of memory that the account knows of. */
  #counted: number
  #result: number | bigint | undefined

  /** Nothing of the guest runs yet. The account has admitted the initial memory. @throws what V8 throws for want of memory. */
  constructor(setup: GuestSetup) {
    const { compiled, abi, name, limits } = setup
    const { metered, module } = compiled
    this.setup = setup
    this.#fuel = new Fuel(this.#budget)
    this.#binding = abi.bind(this, metered.shape)
    const refill = { [metered.refill.module]: { [metered.refill.name]: this.#fuel.refill } }
    const instance = new WebAssembly.Instance(module, { ...this.#imports(), ...refill })
    this.#exports = instance.exports
    this.#rawMemory = this.#exports.memory as WebAssembly.Memory
    this.memory = new LinearMemory(name, this.#rawMemory, limits.messageBytes)
    this.#counted = this.memory.byteLength
    this.#fuel.attach({
      get: this.#exports[metered.fuel.get] as () => number,
      set: this.#exports[metered.fuel.set] as (units: number) => void,
    })
    this.#binding.attach(this.#exports)
  }

  // --- What the ABI asks

  get name(): string {
    return this.setup.name
  }

  get services(): GuestServices {
    return this.setup.services
  }

  get limits(): Limits {
    return this.setup.limits
  }

  get current(): HookCall | null {
    const call = this.running
    return call === null || call.isLoading ? null : call.request
  }

  get call(): HookCall {
    const { current } = this
    if (current === null) throw new PluginError("E_GUEST_RESULT_INVALID", this.name, "no call is running")
    return current
  }

  get exchange(): Exchange {
    const { exchange } = this.call
    if (exchange === null) throw new PluginError("E_PERMISSION", this.name, "there is no request here")
    return exchange
  }

  get storage(): GuestStorage {
    return this.services.storage(this.call.tenant)
  }

  get clockMs(): number {
    return Math.floor(performance.now() + this.setup.clockOffsetMs)
  }

  charge(units: number): void {
    requireStackRoom()
    this.#fuel.charge(units)
  }

  wait<T>(
    promise: Promise<T>,
    landed: (value: T) => number | bigint | undefined,
    failed: (refusal: PluginError) => number | bigint | undefined,
    stop: () => void = () => {},
  ): Promise<number | bigint | undefined> {
    const call = this.running!
    // It may wait for long with what it has, and others grow meanwhile.
    if (!this.#count()) {
      promise.catch(() => {})
      stop()
      throw this.#outOfMemory(call)
    }
    this.#leave(call)
    return new Promise((resolve, reject) => {
      call.abandon = () => {
        stop()
        reject(ABANDONED)
      }
      const land = (make: () => number | bigint | undefined) => {
        if (call.done || this.running !== call) return
        call.abandon = null
        try {
          this.#enter(call, performance.now())
          resolve(make())
        } catch (error) {
          reject(error)
        }
      }
      promise.then(
        (value) => land(() => landed(value)),
        (error) =>
          land(() => {
            if (error instanceof PluginError) return failed(error)
            throw error
          }),
      )
    })
  }

  // --- What the sandbox does with it

  /** Bytes of its memory. */
  get bytes(): number {
    return this.#counted
  }

  /** Runs what comes before any hook: the start function, the ABI's initialisation. On failure the call has it. */
  boot(call: WasmCall, nowMs: number): void {
    const { start } = this.setup.compiled.metered
    call.isLoading = true
    this.#begin(call, nowMs)
    try {
      call.what = "its start function"
      if (start !== null) (this.#exports[start] as EntryFunction)()
      call.what = "_initialize"
      this.#binding.initialise?.()
      this.#settle(call, () => undefined)
    } catch (error) {
      this.#break(call, error)
    }
  }

  /** Runs the call's hook. Afterwards the call is done, or `onSettled` will tell. */
  start(call: WasmCall, nowMs: number): void {
    this.#begin(call, nowMs)
    let entered = false
    try {
      const next = this.#binding.enter(call.request)
      entered = true
      if (next === null) {
        this.#settle(call, () => undefined)
        return
      }
      const { exportName, args } = next
      const entry = this.#entry(exportName)
      const result = args.length === 0 ? entry() : entry(...args)
      if (this.setup.waiting.length === 0) this.#settle(call, () => this.#binding.leave(call.request, result as number))
      else this.#follow(call, result as Promise<void>)
    } catch (error) {
      const untouched = !entered && error instanceof PluginError && error.code === "E_LIMIT_MESSAGE"
      if (untouched) this.#settle(call, () => throws(error))
      else this.#break(call, error)
    }
  }

  /** Ends a call that waits. The instance cannot be used any more. */
  stop(error: PluginError): void {
    const call = this.running
    if (call === null) return
    this.broken = true
    call.fail(error)
    const { abandon } = call
    this.#end(call)
    this.abandoned = true
    // When its wait is just over there is nothing to abandon: it will go on.
    this.#fuel.stop()
    abandon?.()
  }

  capture(): Image {
    return captureImage(this.#rawMemory, [...this.setup.compiled.metered.globalExports.values()], this.#exports)
  }

  /** What of a new instance's memory is not zero. */
  contents(): [number, number][] {
    return findRuns(new Uint8Array(this.#rawMemory.buffer))
  }

  /**
   * Makes the image of it.
   * @param before - As for `restore`.
   * @returns false when that is not possible: a memory cannot shrink.
   */
  restore(image: Image, before: Parameters<typeof restore>[3]): boolean {
    const pages = this.memory.byteLength / PAGE_BYTES
    if (pages > image.pages) return false
    if (pages < image.pages) {
      this.#rawMemory.grow(image.pages - pages)
      this.#count()
    }
    restore(image, this.#rawMemory, this.#exports, before)
    this.broken = false
    this.used = false
    return true
  }

  // --- One call

  #begin(call: WasmCall, nowMs: number): void {
    if (this.running !== null) throw new Error(`${this.name}: a call entered the guest while another is in it`)
    this.running = call
    this.used = true
    this.#enter(call, nowMs)
    this.#fuel.begin(call.request.limits.fuel)
  }

  /** The guest is in a stack of its own now: it has returned, or waits, or is about to fail. */
  #follow(call: WasmCall, promise: Promise<void>): void {
    const leave = () => this.#settle(call, () => this.#binding.leave(call.request, this.#result))
    if (call.returned) {
      leave()
      return
    }
    watchCall(call, (code, what, cause) => {
      this.stop(new PluginError(code, this.name, what, { cause }))
      this.onSettled?.(call)
    })
    promise.then(
      () => {
        if (this.running !== call) return
        leave()
        this.onSettled?.(call)
      },
      (error) => {
        if (this.running !== call) return
        this.#break(call, error)
        this.onSettled?.(call)
      },
    )
  }

  /** The guest's function returned. */
  #settle(call: WasmCall, leave: () => WasmCall["result"]): void {
    try {
      call.result = leave()
      call.done = true
    } catch (error) {
      if (!(error instanceof PluginError)) {
        this.#break(call, error)
        return
      }
      call.fail(error)
    }
    if (this.#fuel.over) {
      this.#fuel.verdict = "E_LIMIT_FUEL"
      this.#break(call, new WebAssembly.RuntimeError())
    } else if (!this.#count()) this.#break(call, this.#outOfMemory(call))
    else this.#end(call)
  }

  #break(call: WasmCall, error: unknown): void {
    this.broken = true
    call.fail(failureOf(this.#stopped(call), error))
    this.#count()
    this.#end(call)
  }

  #end(call: WasmCall): void {
    call.request.fuelUsed = this.#fuel.used
    call.unwatch?.()
    call.abandon = null
    if (this.#onStack) this.#leave(call)
    this.running = null
    this.#binding.over()
  }

  #enter(call: WasmCall, nowMs: number): void {
    this.#onStack = true
    this.#enteredMs = nowMs
    this.#budget.enter(nowMs, call.cpuLeftMs, call.wallEndMs)
  }

  #leave(call: WasmCall): void {
    this.#onStack = false
    // Only who comes back needs to know what is left.
    if (!call.done) call.cpuLeftMs -= this.#budget.leave()
    this.leftMs = performance.now()
    const { usage } = this.setup
    usage.entries++
    usage.busyMs += this.leftMs - this.#enteredMs
  }

  #stopped(call: WasmCall): Stopped {
    return {
      plugin: this.name,
      what: call.what,
      limits: call.request.limits,
      verdict: this.#fuel.verdict ?? this.#budget.verdict,
      fuelUsed: this.#fuel.used,
      memoryBytes: this.memory.byteLength,
      maxMemoryBytes: this.limits.memoryBytes,
    }
  }

  /** Tells the account by how much the guest has grown. @returns false when that is more than there is. */
  #count(): boolean {
    const more = this.memory.byteLength - this.#counted
    if (more === 0) return true
    const room = this.setup.account.grow(more)
    if (room) this.#counted += more
    return room
  }

  #outOfMemory({ what }: WasmCall): PluginError {
    const got = "got no more memory: all plugins together have sandbox.max_guest_memory_mb"
    return new PluginError("E_LIMIT_MEMORY", this.name, `${what} ${got}`)
  }

  // --- Imports and entries

  /** The ABI's functions; those at which the guest waits suspend its stack. */
  #imports(): WebAssembly.Imports {
    const imports: WebAssembly.Imports = { ...this.#binding.imports }
    for (const { module, name } of this.setup.waiting) {
      const fn = this.#binding.imports[module]![name]!
      imports[module] = { ...imports[module], [name]: new WebAssembly.Suspending(fn as ImportedFunction) }
    }
    return imports
  }

  #entry(exportName: string): EntryFunction {
    const known = this.#entries.get(exportName)
    if (known !== undefined) return known
    const { compiled, waiting } = this.setup
    const fn = this.#exports[exportName]!
    let entry = fn as EntryFunction
    if (waiting.length > 0) {
      const type = compiled.metered.shape.exports.get(exportName)!.type
      entry = suspendingEntry(fn, type, (result) => {
        this.#result = result
        if (this.running !== null) this.running.returned = true
      })
    }
    this.#entries.set(exportName, entry)
    return entry
  }
}

/** Stands for the request while there is none: the guest is being loaded. */
export const NO_CALL: HookCall = {
  hook: "on_server_start",
  exchange: null,
  params: [],
  tenant: null,
  limits: { cpuMs: 1000, wallMs: 5000, fuel: 500_000_000 },
  leader: false,
  signal: null,
}

function throws(error: unknown): never {
  throw error
}
