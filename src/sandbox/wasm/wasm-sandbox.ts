import { PluginError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import { type Evictable, NoRoom } from "../limits/instance-account.ts"
import { watchCall } from "../limits/watch-call.ts"
import type { CallLimits, GuestCopy, GuestState, HookCall, Json, MovableSandbox, Sandbox } from "../sandbox.ts"
import { toCopy, type WasmState } from "./guest-copy.ts"
import { type Image, imageBytes } from "./image.ts"
import { type GuestSetup, Instance, NO_CALL } from "./instance.ts"
import { WasmCall } from "./wasm-call.ts"

const PAGE_BYTES = 65_536
/** Calls that may wait for a shared instance whose guest waits. */
const MAX_TURNS = 1000
const UNLIMITED: CallLimits = { cpuMs: Infinity, wallMs: Infinity, fuel: Infinity }
/** Milliseconds that turns may take one right after the other, until others get the thread. */
const TURNS_MS = 5

/** What a sandbox begins with. */
export interface LoadedGuest {
  readonly hooks: ReadonlySet<HookName>
  /** The instance it was loaded in; null: it came from another thread, with an image. */
  readonly first: Instance | null
  readonly image: Image | null
  /** What the memory of a new instance holds before the image: [begin, end), ascending. */
  readonly contents: readonly (readonly [number, number])[]
}

/** One loaded guest: its image, and the instances made from it. */
export class WasmSandbox implements Sandbox, Evictable {
  readonly hooks: ReadonlySet<HookName>
  readonly #setup: GuestSetup
  /** The instance the guest was loaded in, until it is ready. */
  #first: Instance | null
  /** What memory and globals were when it became ready; null: not yet, or they are not all of its state. */
  #image: Image | null = null
  readonly #contents: LoadedGuest["contents"]
  /** How it became ready, to do it again for a guest without image. */
  #startCall: HookCall | null = null
  #isReady = false
  #shared: Instance | null = null
  #generation = 0
  #evictions = 0
  /** Fresh instances, all at rest with the image in them. */
  readonly #idle: Instance[] = []
  readonly #leased = new Set<Instance>()
  /** Calls whose turn has not come: the guest waits in the shared instance. */
  readonly #turns = new Set<WasmCall>()
  /** The next turn is put off. */
  #turnsLater: NodeJS.Immediate | null = null
  #lastCallMs = 0
  #disposed = false

  constructor(setup: GuestSetup, { first, image, contents, hooks }: LoadedGuest) {
    this.#setup = setup
    this.#first = first
    this.#image = image
    this.#isReady = first === null
    this.#contents = contents
    this.hooks = hooks
    setup.account.register(this)
  }

  get generation(): number {
    return this.#generation
  }

  get memoryBytes(): number {
    const memories = this.#all().reduce((sum, { bytes }) => sum + bytes, 0)
    return memories + (this.#image === null ? 0 : imageBytes(this.#image))
  }

  get instances(): number {
    return this.#all().length
  }

  get evictions(): number {
    return this.#evictions
  }

  get busyMs(): number {
    return this.#setup.usage.busyMs
  }

  get entries(): number {
    return this.#setup.usage.entries
  }

  get idle(): boolean {
    return this.#first === null && this.#leased.size === 0 && this.#turns.size === 0 && this.#sharedRests()
  }

  get staysBecause(): string | undefined {
    const { inexact } = this.#setup.compiled.metered
    return inexact === null ? undefined : `its instances cannot be copied (${inexact})`
  }

  get restsSinceMs(): number | null {
    return this.#idle.length > 0 || (this.#shared !== null && this.#sharedRests()) ? this.#lastCallMs : null
  }

  async ready(start: HookCall | null): Promise<void> {
    const first = this.#first
    if (first === null) throw new Error("ready was called twice")
    const { inexact } = this.#setup.compiled.metered
    if (start !== null && this.hooks.has(start.hook)) {
      const call = new WasmCall(start, performance.now())
      first.onSettled = () => call.answer?.()
      first.start(call, performance.now())
      if (!call.done && inexact !== null) first.stop(this.#cannotStartAgain(inexact))
      if (!call.done) {
        await new Promise<void>((resolve) => {
          call.answer = resolve
        })
      }
      if (call.failure !== null) throw call.failure
      this.#startCall = start
    }
    if (this.#disposed) throw this.#gone()
    if (inexact === null) this.#image = first.capture()
    this.#isReady = true
    first.used = false
    this.#first = null
    this.#lastCallMs = performance.now()
    if (this.#setup.mode === "shared") this.#shared = this.#settled(first)
    else this.#idle.push(this.#settled(first))
  }

  call(request: HookCall): Json | undefined | Promise<Json | undefined> {
    const nowMs = request.nowMs ?? performance.now()
    this.#lastCallMs = nowMs
    const call = new WasmCall(request, nowMs)
    if (this.#setup.mode === "shared") {
      if (this.#turns.size > 0 || this.#shared?.running != null) return this.#queue(call)
      this.#shared ??= this.#open()
      return this.#run(this.#shared, call, nowMs)
    }
    return this.#run(this.#lease(request.limits), call, nowMs)
  }

  evict(): void {
    this.#evictions++
    const instance = this.#idle.pop()
    if (instance !== undefined) {
      this.#drop(instance)
      return
    }
    if (this.#shared === null) return
    this.#giveUp(this.#shared)
    this.#setup.services.log("debug", "its instance was given up to make room for others; module state begins anew")
  }

  /** As `MovableSandbox`. */
  protected toCopy(): GuestCopy {
    if (this.#image === null) throw new Error(`${this.#setup.name}: it is not ready`)
    return toCopy(this.#setup, { hooks: this.hooks, image: this.#image, contents: this.#contents })
  }

  /** As `MovableSandbox`. */
  protected takeShared(): GuestState {
    const shared = this.#atRest()
    const state: WasmState = { tier: "wasm", instance: shared?.used ? shared.capture() : null }
    if (shared !== null) this.#giveUp(shared)
    return state
  }

  /** As `MovableSandbox`. */
  protected putShared({ instance }: WasmState): void {
    const shared = this.#atRest()
    if (shared !== null) this.#giveUp(shared)
    if (instance === null) return
    this.#shared = this.#open(instance)
    this.#shared.used = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.#setup.account.unregister(this)
    for (const call of [...this.#turns]) this.#endTurn(call, this.#gone())
    for (const instance of this.#all()) {
      const call = instance.running
      instance.stop(this.#gone())
      if (call !== null) instance.onSettled?.(call)
    }
    for (const instance of this.#all()) this.#drop(instance)
    this.#first = null
    this.#shared = null
    this.#leased.clear()
    this.#idle.length = 0
  }

  // --- One call

  #run(instance: Instance, call: WasmCall, nowMs: number): Json | undefined | Promise<Json | undefined> {
    instance.start(call, nowMs)
    if (!call.done) return answerOf(call)
    call.request.leftMs = instance.leftMs
    this.#after(instance)
    if (call.failure !== null) throw call.failure
    return call.result
  }

  /** The instance is not needed by its call any more. */
  #after(instance: Instance): void {
    if (this.#disposed) return
    if (this.#setup.mode === "fresh") this.#release(instance)
    else if (instance.broken) {
      this.#generation++
      this.#shared = this.#renewed(instance)
    }
  }

  /** A call that had to wait is done. */
  #settle(instance: Instance, call: WasmCall): void {
    this.#after(instance)
    call.answer?.()
    this.#nextTurn()
  }

  #settled(instance: Instance): Instance {
    instance.onSettled = (call) => this.#settle(instance, call)
    return instance
  }

  // --- Turns at a shared instance

  #queue(call: WasmCall): Promise<Json | undefined> {
    if (this.#turns.size >= MAX_TURNS) {
      throw new PluginError("E_OVERLOADED", this.#setup.name, `${MAX_TURNS} calls already wait for its instance`)
    }
    this.#turns.add(call)
    watchCall(call, (code, what, cause) => {
      this.#endTurn(call, new PluginError(code, this.#setup.name, `${what}; it waited for its turn`, { cause }))
    })
    return answerOf(call)
  }

  #endTurn(call: WasmCall, error: PluginError): void {
    this.#turns.delete(call)
    call.unwatch?.()
    call.fail(error)
    call.answer?.()
  }

  #nextTurn(): void {
    const untilMs = performance.now() + TURNS_MS
    while (!this.#disposed && this.#turns.size > 0 && this.#sharedRests() && this.#turnsLater === null) {
      if (performance.now() > untilMs) {
        this.#turnsLater = setImmediate(() => {
          this.#turnsLater = null
          this.#nextTurn()
        })
        return
      }
      const [call] = this.#turns as Set<WasmCall>
      this.#turns.delete(call!)
      call!.unwatch?.()
      try {
        this.#shared ??= this.#open()
        const instance = this.#shared
        instance.start(call!, performance.now())
        if (!call!.done) return
        this.#after(instance)
      } catch (error) {
        call!.fail(error as PluginError)
      }
      call!.answer?.()
    }
  }

  #sharedRests(): boolean {
    return this.#shared === null || this.#shared.running === null
  }

  // --- Instances

  #all(): Instance[] {
    return [this.#shared, this.#first, ...this.#idle, ...this.#leased].filter((one) => one !== null)
  }

  /** The shared instance, if there is one. Fresh ones remember nothing, so it does not matter what they are doing. */
  #atRest(): Instance | null {
    if (this.#setup.mode === "shared" && !this.idle)
      throw new Error(`${this.#setup.name}: its state was asked for while it is at work`)
    return this.#shared
  }

  #giveUp(shared: Instance): void {
    this.#drop(shared)
    this.#shared = null
    if (shared.used) this.#generation++
  }

  #lease(callLimits: CallLimits): Instance {
    const { name, limits } = this.#setup
    const idle = this.#idle.pop()
    if (idle === undefined && this.#leased.size >= limits.maxInstances) {
      throw new PluginError("E_OVERLOADED", name, `all ${limits.maxInstances} instances are waiting`)
    }
    const instance = idle ?? this.#open(this.#image, callLimits)
    this.#leased.add(instance)
    return instance
  }

  /** Wipes a fresh instance for the next request. */
  #release(instance: Instance): void {
    this.#leased.delete(instance)
    const renewed = this.#renewed(instance)
    if (renewed !== null) this.#idle.push(renewed)
  }

  /** @returns the instance with the image in it once more; null when the next call has to make another one. */
  #renewed(instance: Instance): Instance | null {
    if (this.#image !== null && !instance.abandoned && instance.restore(this.#image, "anything")) {
      // A large memory takes longer to wipe than most calls run, and who decides about lanes has to know.
      this.#setup.usage.busyMs += performance.now() - instance.leftMs
      return instance
    }
    this.#drop(instance)
    return null
  }

  /**
   * @param most - What a guest without image may use, at most, for each step of its start.
   * @throws {PluginError} `E_OVERLOADED`, `E_GUEST_EXITED`, and what a guest without image fails with when it starts again.
   */
  #open(image = this.#image, most: CallLimits = UNLIMITED): Instance {
    if (this.#disposed || !this.#isReady) throw this.#gone()
    const instance = this.#settled(openInstance(this.#setup, image?.pages))
    if (image !== null) instance.restore(image, this.#contents)
    else this.#startAgain(instance, most)
    return instance
  }

  /** Memory and globals are not all of this guest's state, so it goes the way it came. */
  #startAgain(instance: Instance, most: CallLimits): void {
    const calls: [WasmCall, (call: WasmCall, nowMs: number) => void][] = []
    const nowMs = performance.now()
    calls.push([new WasmCall(within(NO_CALL, most), nowMs, "its start"), (call, at) => instance.boot(call, at)])
    if (this.#startCall !== null)
      calls.push([new WasmCall(within(this.#startCall, most), nowMs), (call, at) => instance.start(call, at)])
    for (const [call, run] of calls) {
      run(call, performance.now())
      if (!call.done) instance.stop(this.#startedOtherwise(call))
      if (call.failure === null) continue
      this.#drop(instance)
      throw call.failure
    }
  }

  #cannotStartAgain(inexact: string): PluginError {
    const what = `on_server_start may not wait in a module whose instances cannot be copied (${inexact})`
    return new PluginError("E_PLUGIN_LOAD_FAILED", this.#setup.name, what)
  }

  /** Not E_GUEST_EXITED, which takes the plugin out of service: whoever can make it trap would have made it start again. */
  #startedOtherwise({ what }: WasmCall): PluginError {
    const said = `${what} waited or trapped when the guest was started again after it was stopped`
    return new PluginError("E_GUEST_TRAPPED", this.#setup.name, said)
  }

  #drop(instance: Instance): void {
    this.#setup.account.dismiss(instance.bytes)
  }

  #gone(): PluginError {
    const what = this.#disposed ? "the plugin was unloaded" : "it is not ready"
    return new PluginError("E_GUEST_EXITED", this.#setup.name, what)
  }
}

/** One whose memory and globals are all of its state. */
export class MovableWasmSandbox extends WasmSandbox implements MovableSandbox {
  copy(): GuestCopy {
    return this.toCopy()
  }

  takeState(): GuestState {
    return this.takeShared()
  }

  putState(state: GuestState): void {
    this.putShared(state as WasmState)
  }
}

/**
 * Makes an instance for which there is room, giving up others.
 * @param pages - What its memory will have, at once.
 * @throws {PluginError} `E_OVERLOADED`.
 */
export function openInstance(setup: GuestSetup, pages?: number): Instance {
  const { account, name, compiled } = setup
  const initial = (compiled.metered.memory?.initialPages ?? 0) * PAGE_BYTES
  const more = Math.max((pages ?? 0) * PAGE_BYTES - initial, 0)
  try {
    while (!account.admit(initial + more)) if (!account.makeRoom()) throw new NoRoom()
  } catch (error) {
    throw noRoom(name, error)
  }
  account.shrink(more)
  try {
    return new Instance(setup)
  } catch (error) {
    account.dismiss(initial)
    if (!(error instanceof WebAssembly.RuntimeError)) throw noRoom(name, error)
    // Segments are checked when they are written.
    throw new PluginError("E_PLUGIN_LOAD_FAILED", name, `the module does not start: ${error.message}`, { cause: error })
  }
}

function noRoom(name: string, cause: unknown): PluginError {
  const what =
    cause instanceof NoRoom
      ? "no room for another instance (sandbox.max_instances, sandbox.max_guest_memory_mb), and none at rest to give up"
      : "the system has no memory for another instance"
  return new PluginError("E_OVERLOADED", name, what, { cause })
}

/** A call with limits that are not above others. */
function within(call: HookCall, { cpuMs, wallMs, fuel }: CallLimits): HookCall {
  const { limits } = call
  return {
    ...call,
    limits: {
      cpuMs: Math.min(limits.cpuMs, cpuMs),
      wallMs: Math.min(limits.wallMs, wallMs),
      fuel: Math.min(limits.fuel, fuel),
    },
  }
}

function answerOf(call: WasmCall): Promise<Json | undefined> {
  return new Promise((resolve, reject) => {
    call.answer = () => (call.failure === null ? resolve(call.result) : reject(call.failure))
  })
}
