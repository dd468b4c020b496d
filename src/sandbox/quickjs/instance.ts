import { type ErrorCode, PluginError } from "../../errors.ts"
import type { GuestServices, GuestStorage } from "../../host/services.ts"
import { type Budget, BudgetSpent } from "../limits/budget.ts"
import { MAX_DELAY_MS, watchCall } from "../limits/watch-call.ts"
import type { Exchange, InstanceMode, Json, Limits } from "../sandbox.ts"
import type { Base } from "./base.ts"
import type { Call, Task } from "./call.ts"
import { evaluateGuest } from "./evaluate-guest.ts"
import { authorsLines, failureOf, GuestError, hookFailure } from "./failures.ts"
import { GuestMemory } from "./guest-memory.ts"
import { GuestMistake } from "./guest-mistake.ts"
import { GuestStack, type Invocation, type StackEvents, type Usage } from "./guest-stack.ts"
import { type BaseImage, captureImage, type Image } from "./image.ts"
import type { Machine, MachineHost } from "./machine.ts"
import type { MachinePool } from "./machine-pool.ts"
import type { GuestModules } from "./modules.ts"
import { OPERATIONS } from "./ops.ts"

/** What all instances of one guest share. */
export interface GuestSetup {
  readonly name: string
  readonly base: Base
  readonly pool: MachinePool
  readonly services: GuestServices
  readonly limits: Limits
  readonly mode: InstanceMode
  readonly modules: GuestModules
  /** What machines hold before anything of the guest is in them. */
  readonly begin: BaseImage
  /** Null until the guest is ready. */
  image: Image | null
  readonly usage: Usage
  /** Added to this thread's clock to give the one the guest knows: a guest that moved must not see time go back. */
  readonly clockOffsetMs: number
}

/** Everything an instance at rest is. */
export interface InstanceState {
  readonly image: Image
  /** Guest values that are still to be freed. */
  readonly garbage: readonly number[]
  readonly lastTask: number
}

/** Timers, fetches and other waits one call may have at once. */
const MAX_TASKS = 1000
/** What a fetch or an atomic operation of storage costs the thread behind the guest's back, roughly. */
const LATER_MS = 0.2
/** Calls that may be at work behind their answers: each of them holds on to its request. */
const MAX_ANSWERED = 1000

/**
 * One memory with the guest in it. Guest code runs in `load`, in `start` and when something a call waits for arrives.
 * After a failure that stops the guest in the middle the image is written back, and every call in flight fails.
 */
export class Instance implements MachineHost, StackEvents {
  readonly setup: GuestSetup
  readonly memory: GuestMemory
  readonly #stack: GuestStack
  /** Counts resets after failures. */
  generation = 0
  /** Told when a call that had to wait is over and no other is left. */
  onIdle: (() => void) | null = null
  /** What the module loader refused; the engine only knows that it did. */
  loadError: PluginError | null = null
  /** Calls that are not over, except the one whose `start` is on the stack. */
  readonly #calls = new Map<number, Call>()
  /** Those of them that have answered and are still at work for `waitUntil`, the oldest first. */
  readonly #answered = new Set<Call>()
  /** Calls that something happened to while the guest ran. They are looked after when it has left the stack. */
  #touched: Call[] = []
  #resetDue = false
  #lastTask = 0

  constructor(setup: GuestSetup, machine: Machine) {
    this.setup = setup
    this.memory = new GuestMemory(machine, setup.base.handles, setup.limits.messageBytes, () => this.interrupt())
    this.#stack = new GuestStack(setup.name, this.memory, this, setup.usage)
    machine.host = this
  }

  /** When its guest last left the stack, performance.now(). */
  get leftMs(): number {
    return this.#stack.leftMs
  }

  get budget(): Budget {
    return this.#stack.budget
  }

  get idle(): boolean {
    return this.#calls.size === 0
  }

  /** Whether nothing is left of any call, and none is on the stack. */
  get atRest(): boolean {
    return this.idle && this.#stack.current === null
  }

  /** Whether nobody waits for any of its calls. */
  get answered(): boolean {
    return this.#answered.size === this.#calls.size
  }

  get machine(): Machine {
    return this.memory.machine
  }

  /**
   * Evaluates the guest's top level and finds its hooks.
   * @param library - Names of the library files it needs that are not in the machine.
   * @returns their names, separated by commas; without meaning when the call failed.
   */
  load(call: Call, library: readonly string[], nowMs: number): string {
    let hooks = ""
    this.#stack.run(call, nowMs, () => {
      try {
        hooks = evaluateGuest(this.memory, this.setup, library, () => this.#stack.runJobs(call))
      } catch (error) {
        if (!(error instanceof PluginError)) throw error
        call.fail(error)
      }
    })
    if (call.tasks !== null) this.#close(call)
    return hooks
  }

  /** Runs the call's hook. Then the call is done, or `wait` gives its answer. */
  start(call: Call, nowMs: number): void {
    const { handles } = this.setup.base
    const { hook } = call.request
    let status: number
    if (hook === "on_request") status = this.#stack.enter(call, handles.callRequest, null, nowMs)
    else if (hook === "on_response") status = this.#stack.enter(call, handles.callResponse, null, nowMs)
    else status = this.#stack.enter(call, 0, () => this.#runEvent(call), nowMs)
    if (this.#resetDue) this.#restore(call)
    if (status === 0) call.done = true
    if (!call.over) {
      call.cpuLeftMs -= this.budget.leave()
      this.#calls.set(call.id, call)
      watchCall(call, (code, what, cause) => {
        call.fail(new PluginError(code, this.setup.name, what, { cause }))
        this.#finish(call)
      })
      if (call.done) this.#leave(call)
    } else if (call.tasks !== null) this.#close(call)
    if (this.#touched.length > 0) this.#lookAfter()
  }

  wait(call: Call): Promise<Json | undefined> {
    return new Promise((resolve, reject) => {
      call.answer = () => (call.failure === null ? resolve(call.result) : reject(call.failure))
    })
  }

  /** Ends every call. */
  stop(code: ErrorCode, what: string): void {
    for (const call of [...this.#calls.values()]) {
      call.fail(new PluginError(code, this.setup.name, what))
      this.#finish(call)
    }
  }

  /** What another instance continues from; this one must not be called again. */
  takeState(): InstanceState {
    const garbage = this.#stack.takeGarbage()
    return { image: captureImage(this.machine, this.setup.begin), garbage, lastTask: this.#lastTask }
  }

  /** Goes on where another instance ended, whose image is in the machine. */
  putState({ garbage, lastTask }: InstanceState): void {
    this.#stack.discard(garbage)
    this.#lastTask = lastTask
  }

  /** Makes a fresh instance of this idle one. */
  reset(image: Image): void {
    this.#stack.forget()
    this.#move(this.setup.pool.reset(this.machine, image))
  }

  // --- Asked by the engine

  callFunction(argv: number): number {
    try {
      return OPERATIONS[this.machine.i32[argv >> 2]!]!(this, argv + 8)
    } catch (error) {
      return this.#stack.throwInGuest(error)
    }
  }

  interrupt(): void {
    if (this.budget.spent()) throw new BudgetSpent()
  }

  spent(): boolean {
    return this.budget.spent()
  }

  resolveModule(importer: string, specifier: string): string | null {
    return this.#orThrow(() => this.setup.modules.resolve(importer, specifier))
  }

  loadModule(name: string): string | null {
    return this.#orThrow(() => {
      const source = this.setup.modules.load(name)
      // The engine takes it as a C string, and would silently run what is before the NUL.
      if (source.includes("\0")) throw new PluginError("E_PLUGIN_LOAD_FAILED", this.setup.name, `${name}: contains NUL`)
      return source
    })
  }

  // --- For the operations: the call they belong to, what happens to it, answers that come later

  /** @param at - Address of the call's id. */
  call(at: number): Call {
    const id = this.memory.number(at)
    const { current } = this.#stack
    if (current !== null && current.id === id) return current
    const call = this.#calls.get(id)
    if (call === undefined) throw new GuestMistake("the request this belongs to is over")
    return call
  }

  /** @param at - Address of the call's id. */
  exchange(at: number): Exchange {
    const { exchange } = this.call(at).request
    if (exchange === null) throw new GuestMistake("there is no request here")
    return exchange
  }

  /** Of the call that runs now. */
  get tenant(): string | null {
    return this.#stack.running.request.tenant
  }

  get storage(): GuestStorage {
    return this.setup.services.storage(this.tenant)
  }

  settled(call: Call): void {
    call.done = true
    this.#touched.push(call)
  }

  waitEnded(call: Call): void {
    call.waits--
    this.#touched.push(call)
  }

  fail(call: Call, code: ErrorCode, what: string): void {
    call.fail(new PluginError(code, this.setup.name, what))
  }

  /** The guest's function threw; see prelude/hooks.js for the kinds. */
  threw(call: Call, kind: number, what: string, stack: string, serial: number): void {
    const cause = new GuestError(what, this.setup.modules.mapStack(authorsLines(stack)))
    const failure = hookFailure(this, call, kind, cause, call.hostErrors?.[serial - 1])
    // A guest whose memory is full stays so; the image gives it a new begin.
    if (failure.code === "E_LIMIT_MEMORY") this.#resetDue = true
    call.fail(failure)
  }

  /**
   * Calls the guest back when `promise` settles.
   * @param at - Address of the guest's `resolve` and, behind it, `reject`.
   * @param toValues - Makes the arguments of `resolve`.
   * @param chargedMs - What it costs the thread behind the guest's back.
   * @returns a value for the guest: the number by which it can cancel.
   */
  later<T>(
    what: string,
    at: number,
    promise: Promise<T>,
    toValues: (value: T) => number[],
    stop = () => {},
    chargedMs = LATER_MS,
  ): number {
    const call = this.#stack.running
    this.budget.charge(chargedMs)
    const resolve = this.memory.keep(at)
    const reject = this.memory.keep(at + 8)
    const task: Task = { id: ++this.#lastTask, what, values: [resolve, reject], stop }
    // Before anything that may throw: nobody else handles what the promise brings.
    promise.then(
      (value) => this.#complete(call, task, () => this.#settlement(task, () => toValues(value))),
      (error) => this.#complete(call, task, () => ({ fn: reject, values: [this.#stack.errorValue(error)] })),
    )
    return this.#addTask(call, task)
  }

  /** @param at - Address of the function to run. @returns as `later`. */
  timer(at: number, delayMs: number, repeat: boolean): number {
    const call = this.#stack.running
    const fn = this.memory.keep(at)
    const ms = Math.min(Math.max(Math.trunc(delayMs) || 0, 1), MAX_DELAY_MS)
    const run = () => ({ fn, values: [] })
    const fire = () => (repeat ? this.#resume(call, run) : this.#complete(call, task, run))
    const handle = repeat ? setInterval(fire, ms) : setTimeout(fire, ms)
    const what = `${repeat ? "interval" : "timer"} of ${ms} ms`
    const task: Task = { id: ++this.#lastTask, what, values: [fn], stop: () => clearTimeout(handle) }
    return this.#addTask(call, task)
  }

  cancel(id: number): void {
    for (const call of [this.#stack.running, ...this.#calls.values()]) {
      const task = call.tasks?.get(id)
      if (task !== undefined) this.#endTask(call, task)
    }
  }

  // --- What happens while guest code runs

  broke(call: Call, error: unknown): void {
    call.fail(failureOf(this, call, error))
    this.#restore(call)
  }

  touched(call: Call): void {
    this.#touched.push(call)
  }

  /** Runs a function of the guest for a call that waits. */
  #resume(call: Call, prepare: () => Invocation): void {
    if (call.cpuLeftMs <= 0) {
      this.fail(call, "E_LIMIT_CPU", `${call.request.hook} used more than ${call.request.limits.cpuMs} ms of CPU time`)
      this.#finish(call)
      return
    }
    this.#stack.enter(call, 0, prepare, performance.now())
    if (this.#resetDue) this.#restore(call)
    call.cpuLeftMs -= this.budget.leave()
    if (this.#touched.length > 0) this.#lookAfter()
  }

  /** Resolves the promise of a task, or rejects it when the guest may not have the value. */
  #settlement(task: Task, toValues: () => number[]): Invocation {
    const [resolve, reject] = task.values
    try {
      return { fn: resolve!, values: toValues() }
    } catch (error) {
      return { fn: reject!, values: [this.#stack.errorValue(error)] }
    }
  }

  #runEvent(call: Call): Invocation {
    const { hook, params } = call.request
    const answers = hook === "transform" || hook.startsWith("cache_")
    const values = [
      this.memory.newNumber(call.id),
      this.memory.newText(hook),
      this.memory.newMessage(JSON.stringify(params)),
      this.memory.newNumber(answers ? 1 : 0),
    ]
    return { fn: this.memory.handles.callEvent, values }
  }

  // --- Tasks

  /** @returns a value for the guest: the number by which it can cancel. */
  #addTask(call: Call, task: Task): number {
    call.tasks ??= new Map()
    call.tasks.set(task.id, task)
    if (call.tasks.size > MAX_TASKS) {
      this.#endTask(call, task)
      throw new GuestMistake(`more than ${MAX_TASKS} timers and requests at once`)
    }
    return this.memory.newNumber(task.id)
  }

  #endTask(call: Call, task: Task): void {
    call.tasks?.delete(task.id)
    task.stop()
    this.#stack.discard(task.values)
  }

  /** What a task waited for is here. Dropped when the task was cancelled or the instance reset meanwhile. */
  #complete(call: Call, task: Task, prepare: () => Invocation): void {
    if (call.tasks?.get(task.id) !== task) return
    this.#resume(call, prepare)
    if (call.tasks?.get(task.id) === task) this.#endTask(call, task)
  }

  // --- The end of calls

  #lookAfter(): void {
    const touched = this.#touched
    this.#touched = []
    for (const call of touched) if (call.done && this.#calls.has(call.id)) this.#finish(call)
  }

  /** Gives the answer of a call that is done, and ends it when it is over. */
  #finish(call: Call): void {
    const { answer } = call
    call.answer = null
    if (call.over) this.#close(call)
    else this.#leave(call)
    if (answer !== null) answer()
    else if (call.failure !== null) this.setup.services.log("error", `after the answer: ${call.failure.message}`)
  }

  /** The call has answered and works on. */
  #leave(call: Call): void {
    this.#answered.add(call)
    if (this.#answered.size <= MAX_ANSWERED) return
    const [oldest] = this.#answered
    this.fail(oldest!, "E_OVERLOADED", `more than ${MAX_ANSWERED} answered calls are still at work`)
    this.#finish(oldest!)
  }

  #close(call: Call): void {
    this.#answered.delete(call)
    call.unwatch?.()
    const left = [...(call.tasks?.values() ?? [])]
    for (const task of left) this.#endTask(call, task)
    call.tasks = null
    if (left.length > 0 && call.request.hook === "on_server_start") {
      const names = left.map((task) => task.what).join(", ")
      this.setup.services.log("warn", `on_server_start left behind, now cancelled: ${names}`)
    }
    if (this.#calls.delete(call.id) && this.idle) this.onIdle?.()
  }

  // --- Resets

  #restore(cause: Call): void {
    this.#resetDue = false
    this.#stack.forget()
    this.generation++
    for (const call of new Set([cause, ...this.#calls.values()])) {
      for (const task of call.tasks?.values() ?? []) task.stop()
      call.tasks = null
      if (!call.over) this.fail(call, "E_INSTANCE_RESET", `${cause.request.hook} of another request broke the instance`)
      this.#touched.push(call)
    }
    this.#move(this.setup.pool.renew(this.machine, this.setup.image))
  }

  #move(machine: Machine): void {
    this.memory.machine = machine
    machine.host = this
  }

  #orThrow(look: () => string): string | null {
    try {
      return look()
    } catch (error) {
      this.machine.engine.free(this.#stack.throwInGuest(error))
      if (error instanceof PluginError) this.loadError ??= error
      return null
    }
  }
}
