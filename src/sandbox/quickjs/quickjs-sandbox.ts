import { PluginError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import { type Evictable, NoRoom } from "../limits/instance-account.ts"
import type { GuestCopy, GuestState, HookCall, Json, MovableSandbox } from "../sandbox.ts"
import { LAYOUT } from "./binary.ts"
import { Call, nextCallId } from "./call.ts"
import { type QuickjsState, toCopy } from "./guest-copy.ts"
import { captureImage } from "./image.ts"
import { type GuestSetup, Instance } from "./instance.ts"

/** One loaded guest: its image, and the instances made from it. */
export class QuickjsSandbox implements MovableSandbox, Evictable {
  readonly hooks: ReadonlySet<HookName>
  readonly #setup: GuestSetup
  /** The instance the guest was loaded in, until it is ready. */
  #first: Instance | null
  #shared: Instance | null = null
  #generation = 0
  #evictions = 0
  /** Fresh instances, all at rest with the image in them. */
  readonly #idle: Instance[] = []
  readonly #leased = new Set<Instance>()
  #lastCall = 0
  #lastCallMs = 0
  #disposed = false

  /** @param first - The instance it was loaded in; null when the setup has an image. */
  constructor(setup: GuestSetup, first: Instance | null, hooks: ReadonlySet<HookName>) {
    this.#setup = setup
    this.#first = first
    this.hooks = hooks
    setup.pool.account.register(this)
  }

  get generation(): number {
    return this.#generation + (this.#shared?.generation ?? 0)
  }

  get memoryBytes(): number {
    const heaps = this.#all().reduce((sum, { machine }) => sum + heapBytes(machine.heapEnd), 0)
    return heaps + (this.#setup.image?.bytes ?? 0)
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
    return this.#first === null && this.#leased.size === 0 && (this.#shared?.atRest ?? true)
  }

  get restsSinceMs(): number | null {
    return this.#idle.length > 0 || this.#shared?.atRest ? this.#lastCallMs : null
  }

  async ready(start: HookCall | null): Promise<void> {
    const first = this.#first
    if (first === null) throw new Error("ready was called twice")
    if (start !== null && this.hooks.has(start.hook)) await this.#runStart(first, start)
    this.#setup.image = captureImage(first.machine, this.#setup.begin)
    this.#first = null
    this.#setup.pool.giveBack(first.machine)
  }

  call(request: HookCall): Json | undefined | Promise<Json | undefined> {
    const instance = this.#setup.mode === "shared" ? this.#sharedInstance() : this.#lease()
    const nowMs = request.nowMs ?? performance.now()
    this.#lastCallMs = nowMs
    this.#lastCall = nextCallId(this.#lastCall)
    const call = new Call(this.#lastCall, request, nowMs)
    instance.start(call, nowMs)
    if (!call.done) return instance.wait(call)
    if (this.#setup.mode === "shared") request.leftMs = instance.leftMs
    else if (instance.idle) this.#release(instance)
    if (call.failure !== null) throw call.failure
    return call.result
  }

  copy(): GuestCopy {
    return toCopy(this.#setup, this.hooks)
  }

  takeState(): GuestState {
    const shared = this.#atRest()
    const state: QuickjsState = { tier: "quickjs", lastCall: this.#lastCall, instance: shared?.takeState() ?? null }
    if (shared !== null) this.#giveUp(shared)
    return state
  }

  putState(state: GuestState): void {
    const { instance, lastCall } = state as QuickjsState
    const shared = this.#atRest()
    if (shared !== null) this.#giveUp(shared)
    // Contexts the guest kept know their call by number: one that is given twice would open another request to them.
    this.#lastCall = lastCall
    if (instance === null) return
    const image = { ...instance.image, base: this.#setup.begin }
    this.#shared = this.#open(image)
    this.#shared.putState({ ...instance, image })
  }

  evict(): void {
    this.#evictions++
    const instance = this.#idle.pop()
    if (instance !== undefined) this.#setup.pool.giveBack(instance.machine)
    else if (this.#shared?.atRest) {
      this.#giveUp(this.#shared)
      this.#setup.services.log("debug", "its instance was given up to make room for others; module state begins anew")
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.#setup.pool.account.unregister(this)
    for (const instance of [this.#first, this.#shared, ...this.#leased]) {
      instance?.stop("E_GUEST_EXITED", "the plugin was unloaded")
    }
    for (const instance of this.#all()) this.#setup.pool.giveBack(instance.machine)
    this.#first = null
    this.#shared = null
    this.#leased.clear()
    this.#idle.length = 0
  }

  async #runStart(first: Instance, start: HookCall): Promise<void> {
    const nowMs = performance.now()
    const call = new Call(++this.#lastCall, start, nowMs)
    first.start(call, nowMs)
    if (!call.done) await first.wait(call)
    if (!first.idle) {
      await new Promise<void>((resolve) => {
        first.onIdle = resolve
      })
    }
    if (call.failure !== null) throw call.failure
  }

  #all(): Instance[] {
    return [this.#shared, this.#first, ...this.#idle, ...this.#leased].filter((one) => one !== null)
  }

  #sharedInstance(): Instance {
    if (this.#shared !== null) return this.#shared
    this.#shared = this.#open()
    return this.#shared
  }

  /** The shared instance, if there is one. Fresh ones remember nothing, so it does not matter what they are doing. */
  #atRest(): Instance | null {
    if (this.#setup.mode === "shared" && !this.idle)
      throw new Error(`${this.#setup.name}: its state was asked for while it is at work`)
    return this.#shared
  }

  #giveUp(shared: Instance): void {
    this.#generation += shared.generation + 1
    this.#shared = null
    this.#setup.pool.giveBack(shared.machine)
  }

  #lease(): Instance {
    const { name, limits } = this.#setup
    if (this.#idle.length === 0 && this.#leased.size >= limits.maxInstances) this.#reclaim()
    let instance = this.#idle.pop()
    if (instance === undefined) {
      if (this.#leased.size >= limits.maxInstances) {
        throw new PluginError("E_OVERLOADED", name, `all ${limits.maxInstances} instances are waiting`)
      }
      instance = this.#open()
      const own = instance
      own.onIdle = () => this.#release(own)
    }
    this.#leased.add(instance)
    return instance
  }

  /** Frees the instance that waits longest for nothing but what an answered call left behind: requests come first. */
  #reclaim(): void {
    for (const instance of this.#leased) {
      if (!instance.answered) continue
      instance.stop("E_OVERLOADED", "its instance was needed for another request")
      return
    }
  }

  #open(image = this.#setup.image): Instance {
    const { limits, pool } = this.#setup
    if (image === null || this.#disposed) {
      throw new PluginError("E_GUEST_EXITED", this.#setup.name, this.#disposed ? "it was unloaded" : "it is not ready")
    }
    try {
      return new Instance(this.#setup, pool.take(limits.memoryBytes, image))
    } catch (cause) {
      throw noRoom(this.#setup.name, cause)
    }
  }

  /** Wipes a fresh instance for the next request. A shared one keeps its state. */
  #release(instance: Instance): void {
    if (!this.#leased.delete(instance) || this.#setup.image === null) return
    instance.reset(this.#setup.image)
    this.#idle.push(instance)
  }
}

/** What it means for a guest that the pool had no machine for it. */
export function noRoom(name: string, cause: unknown): PluginError {
  const what =
    cause instanceof NoRoom
      ? "no room for another instance (sandbox.max_instances, sandbox.max_guest_memory_mb), and none at rest to give up"
      : "the system has no memory for another instance"
  return new PluginError("E_OVERLOADED", name, what, { cause })
}

function heapBytes(heapEnd: number): number {
  return LAYOUT.dataEnd + heapEnd - LAYOUT.heapStart
}
