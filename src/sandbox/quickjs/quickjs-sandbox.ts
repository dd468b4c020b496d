import { PluginError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import type { HookCall, Json, Sandbox } from "../sandbox.ts"
import { LAYOUT } from "./binary.ts"
import { Call, nextCallId } from "./call.ts"
import { captureImage } from "./image.ts"
import { type GuestSetup, Instance } from "./instance.ts"

/** One loaded guest: its image, and the instances made from it. */
export class QuickjsSandbox implements Sandbox {
  readonly hooks: ReadonlySet<HookName>
  readonly #setup: GuestSetup
  /** The instance the guest was loaded in, until it is ready. */
  #first: Instance | null
  #shared: Instance | null = null
  #generation = 0
  /** Fresh instances, all at rest with the image in them. */
  readonly #idle: Instance[] = []
  readonly #leased = new Set<Instance>()
  #lastCall = 0
  #disposed = false

  constructor(setup: GuestSetup, first: Instance, hooks: ReadonlySet<HookName>) {
    this.#setup = setup
    this.#first = first
    this.hooks = hooks
  }

  get generation(): number {
    return this.#generation + (this.#shared?.generation ?? 0)
  }

  get memoryBytes(): number {
    const instances = [this.#shared, this.#first, ...this.#idle, ...this.#leased].filter((one) => one !== null)
    const heaps = instances.reduce((sum, { machine }) => sum + LAYOUT.dataEnd + machine.heapEnd - LAYOUT.heapStart, 0)
    return heaps + (this.#setup.image?.bytes ?? 0)
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
    const nowMs = performance.now()
    this.#lastCall = nextCallId(this.#lastCall)
    const call = new Call(this.#lastCall, request, nowMs)
    instance.start(call, nowMs)
    if (!call.done) return instance.wait(call)
    if (instance.idle) this.#release(instance)
    if (call.failure !== null) throw call.failure
    return call.result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    for (const instance of [this.#first, this.#shared, ...this.#leased]) {
      instance?.stop("E_GUEST_EXITED", "the plugin was unloaded")
    }
    for (const instance of [this.#first, this.#shared, ...this.#leased, ...this.#idle]) {
      if (instance !== null) this.#setup.pool.giveBack(instance.machine)
    }
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

  #sharedInstance(): Instance {
    if (this.#shared !== null) return this.#shared
    this.#shared = this.#open()
    return this.#shared
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

  #open(): Instance {
    const { image, limits, pool } = this.#setup
    if (image === null || this.#disposed) {
      throw new PluginError("E_GUEST_EXITED", this.#setup.name, this.#disposed ? "it was unloaded" : "it is not ready")
    }
    try {
      return new Instance(this.#setup, pool.take(limits.memoryBytes, image))
    } catch (cause) {
      throw new PluginError("E_OVERLOADED", this.#setup.name, "the system has no memory for another instance", {
        cause,
      })
    }
  }

  /** Wipes a fresh instance for the next request. A shared one keeps its state. */
  #release(instance: Instance): void {
    if (!this.#leased.delete(instance) || this.#setup.image === null) return
    instance.reset(this.#setup.image)
    this.#idle.push(instance)
  }
}
