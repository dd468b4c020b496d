import { PluginError } from "../errors.ts"
import type { HookName } from "../hooks.ts"
import type { HookCall, JailStatus, Json, Sandbox } from "../sandbox/sandbox.ts"

const NO_HOOKS: ReadonlySet<HookName> = new Set()

/** A guest that is there only while this process is the one for it; see `LeaderPlugin`. Without it, there is nothing to call. */
export class LeaderGuest implements Sandbox {
  /** Whether messages of queues may be handed to it. */
  accepts = true
  readonly #plugin: string
  readonly #load: () => Promise<Sandbox>
  #guest: Sandbox | null = null
  #disposed = false
  /** Of guests that are gone. */
  #past: JailStatus | undefined

  /** @param load - Loads it and checks its hooks; leaves nothing behind when it throws. */
  constructor(plugin: string, load: () => Promise<Sandbox>) {
    this.#plugin = plugin
    this.#load = load
  }

  /** Loads the guest unless it is there. Without a start hook it is ready then. @throws {BextError} */
  async open(): Promise<void> {
    if (this.#guest !== null) return
    const guest = await this.#load()
    try {
      if (this.#disposed) throw new PluginError("E_GUEST_EXITED", this.#plugin, "the plugin was unloaded")
      if (!guest.hooks.has("on_server_start")) await guest.ready(null)
    } catch (error) {
      await guest[Symbol.asyncDispose]()
      throw error
    }
    this.#guest = guest
  }

  async close(): Promise<void> {
    const guest = this.#guest
    const jails = this.jails
    this.#past = jails && { ...jails, ready: 0 }
    this.#guest = null
    await guest?.[Symbol.asyncDispose]()
  }

  get present(): boolean {
    return this.#guest !== null
  }

  get hooks(): ReadonlySet<HookName> {
    return this.#guest?.hooks ?? NO_HOOKS
  }

  get generation(): number {
    return this.#guest?.generation ?? 0
  }

  get memoryBytes(): number {
    return this.#guest?.memoryBytes ?? 0
  }

  get instances(): number {
    return this.#guest?.instances ?? 0
  }

  get evictions(): number {
    return this.#guest?.evictions ?? 0
  }

  get busyMs(): number {
    return this.#guest?.busyMs ?? 0
  }

  get entries(): number {
    return this.#guest?.entries ?? 0
  }

  get idle(): boolean {
    return this.#guest?.idle ?? true
  }

  get jails(): JailStatus | undefined {
    const now = this.#guest?.jails
    const past = this.#past
    if (now === undefined || past === undefined) return now ?? past
    const restarts = new Map(past.restarts)
    for (const [code, count] of now.restarts) restarts.set(code, (restarts.get(code) ?? 0) + count)
    return { ...now, cpuMs: past.cpuMs + now.cpuMs, restarts }
  }

  async ready(start: HookCall | null): Promise<void> {
    await this.#present().ready(start)
  }

  call(call: HookCall): Json | undefined | Promise<Json | undefined> {
    return this.#present().call(call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await this.close()
  }

  #present(): Sandbox {
    if (this.#guest !== null) return this.#guest
    throw new PluginError("E_GUEST_EXITED", this.#plugin, "it runs in the process that leads, which this one is not")
  }
}
