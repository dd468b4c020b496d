import { type ErrorCode, PluginError, toPlainError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import { watchCall } from "../limits/watch-call.ts"
import type { HookCall, InstanceMode, JailStatus, Json, Sandbox } from "../sandbox.ts"
import type { DataQuota } from "./data-quota.ts"
import { JailCall } from "./jail-call.ts"
import { JailProcess, type ProcessSetup } from "./jail-process.ts"
import type { JailLauncher, LaunchOptions } from "./launcher.ts"
import { StartPause } from "./start-pause.ts"

/** Calls that may wait for a process. */
const MAX_WAITING = 1000

export interface JailSetup extends ProcessSetup {
  readonly mode: InstanceMode
  readonly launcher: JailLauncher
  readonly launch: LaunchOptions
  /** Null: the program has no data folder. */
  readonly quota: DataQuota | null
}

/**
 * One loaded program: the processes that run it. A shared one has a fixed number of them, which serve until they end; each
 * of a fresh one serves a single call, and others are kept ready behind it.
 */
export class JailSandbox implements Sandbox {
  readonly staysBecause = "it is a process of its own"
  readonly hooks: ReadonlySet<HookName>
  readonly #setup: JailSetup
  /** All that are started and did not end. */
  readonly #processes = new Set<JailProcess>()
  /** Those of them that serve. */
  readonly #ready = new Set<JailProcess>()
  /** Fresh ones at work. */
  readonly #leased = new Set<JailProcess>()
  readonly #waiting = new Set<JailCall>()
  /** What an unready program says hello to; false: it has nothing to say. */
  #asks: boolean
  #startCall: HookCall | null = null
  #starting = 0
  readonly #pause = new StartPause()
  #retry: NodeJS.Timeout | null = null
  #lastFailure: PluginError | null = null
  readonly #restarts = new Map<ErrorCode, number>()
  #endedCpuMs = 0
  #generation = 0
  #isReady = false
  #disposed = false

  /** Starts a program and greets it. @throws {PluginError} As `SandboxTier.load`. */
  static async open(setup: JailSetup): Promise<JailSandbox> {
    const { process, asks } = await greeted(setup, true)
    return new JailSandbox(setup, process, asks)
  }

  private constructor(setup: JailSetup, first: JailProcess, asks: boolean) {
    this.#setup = setup
    this.#asks = asks
    this.hooks = first.hooks
    this.#processes.add(first)
  }

  get generation(): number {
    return this.#generation
  }

  get memoryBytes(): number {
    return sum(this.#processes, ({ memoryBytes }) => memoryBytes)
  }

  get instances(): number {
    return this.#processes.size
  }

  readonly evictions = 0

  /** Nothing: the program is never on the stack of this thread. */
  readonly busyMs = 0
  readonly entries = 0

  get idle(): boolean {
    return this.#isReady && this.#waiting.size === 0 && [...this.#processes].every(({ load }) => load === 0)
  }

  get jails(): JailStatus {
    return {
      level: this.#setup.launcher.isolation.level,
      ready: this.#ready.size,
      cpuMs: this.#endedCpuMs + sum(this.#processes, ({ cpuMs }) => cpuMs),
      restarts: this.#restarts,
    }
  }

  async ready(start: HookCall | null): Promise<void> {
    const [first] = this.#processes
    if (first === undefined || this.#isReady) throw new Error("ready was called twice")
    this.#startCall = start
    let seenMs = 0
    const worked = () => {
      const { cpuMs } = this.jails
      if (cpuMs === seenMs) return false
      seenMs = cpuMs
      return true
    }
    this.#setup.quota?.watch(worked, () => this.#overQuota())
    await this.#begin(first)
    this.#serve(first)
    await Promise.all(Array.from({ length: this.#wanted - 1 }, () => this.#startOne()))
    this.#isReady = true
    this.#fill()
  }

  call(request: HookCall): Json | undefined | Promise<Json | undefined> {
    if (this.#disposed || !this.#isReady) throw this.#gone()
    const { limits, mode, name } = this.#setup
    if (mode === "fresh" && this.#leased.size + this.#waiting.size >= limits.maxInstances) {
      throw new PluginError("E_OVERLOADED", name, `all ${limits.maxInstances} of its processes are at work`)
    }
    const call = new JailCall(request, request.nowMs ?? performance.now())
    const process = this.#free()
    if (process === null) this.#wait(call)
    else this.#send(process, call)
    return call.outcome
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#setup.quota?.end()
    this.#refuseWaiting(this.#gone())
    const processes = [...this.#processes]
    await Promise.all(processes.map((process) => process.dismiss(this.#gone())))
  }

  // --- Calls

  #send(process: JailProcess, call: JailCall): void {
    if (this.#setup.mode === "fresh") {
      this.#ready.delete(process)
      this.#leased.add(process)
      const over = () => process.stop(this.#gone("the call is over"))
      call.outcome.then(over, over)
      this.#fill()
    }
    process.send(call)
    if (call.done) return
    call.unwatch?.()
    watchCall(call, (code, what, cause) => process.cancel(call, this.#error(code, what, cause)))
  }

  #wait(call: JailCall): void {
    if (this.#waiting.size >= MAX_WAITING) throw this.#error("E_OVERLOADED", `${MAX_WAITING} calls already wait for it`)
    if (this.#ready.size === 0 && this.#retry !== null) throw this.#notStarted()
    this.#waiting.add(call)
    watchCall(call, (code, what, cause) => {
      this.#waiting.delete(call)
      call.fail(this.#error(code, `${what}; it waited for a free process`, cause))
    })
    this.#fill()
  }

  #nextTurns(): void {
    while (this.#waiting.size > 0) {
      const process = this.#free()
      if (process === null) return
      const [call] = this.#waiting as Set<JailCall>
      this.#waiting.delete(call!)
      this.#send(process, call!)
    }
  }

  /** The one with the least to do. */
  #free(): JailProcess | null {
    let best: JailProcess | null = null
    for (const process of this.#ready) {
      if (process.isFree && (best === null || process.load < best.load)) best = process
    }
    return best
  }

  #refuseWaiting(error: PluginError): void {
    for (const call of this.#waiting) call.fail(error)
    this.#waiting.clear()
  }

  // --- Processes

  /** How many should be ready, or about to be. */
  get #wanted(): number {
    const { program, mode, limits } = this.#setup
    if (mode === "shared") return program.jails
    return Math.min(Math.max(program.jails, this.#waiting.size), limits.maxInstances - this.#leased.size)
  }

  #fill(): void {
    if (this.#disposed || !this.#isReady || this.#retry !== null) return
    const missing = this.#wanted - this.#ready.size - this.#starting
    if (missing <= 0) return
    const pauseMs = this.#pause.ms
    if (pauseMs > 0) {
      this.#retry = setTimeout(() => {
        this.#retry = null
        this.#startOne().catch(() => {})
      }, pauseMs)
      return
    }
    for (let count = 0; count < missing; count++) this.#startOne().catch(() => {})
  }

  /** @throws {PluginError} When it does not become ready; the next attempt is already planned. */
  async #startOne(): Promise<void> {
    this.#starting++
    let process: JailProcess | null = null
    try {
      const opened = await greeted(this.#setup, this.#asks)
      process = opened.process
      this.#asks = opened.asks
      this.#processes.add(process)
      if (this.#disposed) throw this.#gone()
      await this.#begin(process)
      this.#starting--
      this.#serve(process)
    } catch (error) {
      this.#starting--
      if (process !== null) this.#forget(process)
      this.#startFailed(error as PluginError)
      throw error
    }
  }

  /** Runs its start hook. */
  async #begin(process: JailProcess): Promise<void> {
    const request = this.#startCall
    if (request === null || !this.hooks.has(request.hook)) return
    const call = new JailCall(request, performance.now())
    process.send(call)
    if (!call.done) watchCall(call, (code, what, cause) => process.stop(this.#error(code, what, cause), call))
    await call.outcome
    if (process.reason !== null) throw process.reason
  }

  #serve(process: JailProcess): void {
    if (this.#disposed || process.reason !== null) {
      this.#lost(process)
      return
    }
    this.#ready.add(process)
    process.onChange = () => {
      if (process.reason !== null) this.#lost(process)
      else this.#nextTurns()
    }
    this.#nextTurns()
    this.#fill()
  }

  /** It serves no more. */
  #lost(process: JailProcess): void {
    if (!this.#processes.has(process)) return
    const { reason, used } = process
    this.#forget(process)
    if (reason !== null && reason.code !== "E_GUEST_EXITED") {
      this.#restarts.set(reason.code, (this.#restarts.get(reason.code) ?? 0) + 1)
      if (this.#setup.mode === "shared") this.#generation++
      if (used) this.#pause.succeeded()
      else this.#failed(reason)
    }
    this.#fill()
    this.#nextTurns()
  }

  /** What is left of it goes on ending. */
  #forget(process: JailProcess): void {
    process.onChange = null
    this.#ready.delete(process)
    this.#leased.delete(process)
    if (process.reason === null) process.stop(this.#gone())
    this.#endedCpuMs += process.cpuMs
    this.#processes.delete(process)
  }

  #startFailed(error: PluginError): void {
    if (this.#disposed) return
    this.#failed(error)
    if (this.#ready.size === 0 && this.#starting === 0) this.#refuseWaiting(this.#notStarted())
    this.#fill()
  }

  #failed(error: PluginError): void {
    this.#lastFailure = error
    this.#pause.failed()
    this.#setup.services.log("error", `it could not be started again: ${error.message}`)
  }

  #overQuota(): void {
    for (const process of [...this.#processes]) process.stop(this.#setup.quota!.error)
  }

  #notStarted(): PluginError {
    const cause = this.#lastFailure
    const code = cause?.code.startsWith("E_LIMIT_") ? cause.code : "E_GUEST_CRASHED"
    const why = cause === null ? "it ends at once" : toPlainError(cause).what
    return this.#error(code, `its process cannot be started: ${why}`, cause)
  }

  #error(code: ErrorCode, what: string, cause?: unknown): PluginError {
    return new PluginError(code, this.#setup.name, what, { cause })
  }

  #gone(what = this.#disposed ? "the plugin was unloaded" : "it is not ready"): PluginError {
    return new PluginError("E_GUEST_EXITED", this.#setup.name, what)
  }
}

/**
 * A process that has answered hello.
 * @param asks - Whether to say it.
 * @returns also whether the next one should be greeted.
 */
async function greeted(setup: JailSetup, asks: boolean): Promise<{ process: JailProcess; asks: boolean }> {
  const { name, launcher, launch, quota, services } = setup
  await quota?.check()
  const process = new JailProcess(setup, await launched(name, launcher, launch))
  try {
    if ((await process.greet(asks)) === "ready") return { process, asks }
  } catch (error) {
    throw await loadFailure(name, process, error)
  }
  const why = "it said nothing to hello, so it is taken for version 0 and started again without"
  services.log("warn", `${why}; answer every line, be it by an empty one, and it starts at once`)
  return greeted(setup, false)
}

async function launched(name: string, launcher: JailLauncher, options: LaunchOptions) {
  try {
    return await launcher.launch(options)
  } catch (cause) {
    if (cause instanceof PluginError) throw cause
    throw new PluginError("E_PLUGIN_LOAD_FAILED", name, (cause as Error).message, { cause })
  }
}

/** What went wrong before any hook was called, limits apart, is a program that cannot be loaded. */
async function loadFailure(name: string, process: JailProcess, error: unknown): Promise<unknown> {
  if (!(error instanceof PluginError) || error.code.startsWith("E_LIMIT_")) return error
  // What it wrote last may say more than how it ended.
  await process.ended
  const { said } = process
  const what = `before it answered hello, ${toPlainError(error).what}${said === "" ? "" : `; it wrote: ${said}`}`
  return new PluginError("E_PLUGIN_LOAD_FAILED", name, what, { cause: error })
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
