import { BextError, type ErrorCode, PluginError } from "../../errors.ts"
import type { GuestServices, GuestStorage } from "../../host/services.ts"
import type { Exchange, InstanceMode, Json, Limits } from "../sandbox.ts"
import type { Base } from "./base.ts"
import { Budget, BudgetSpent } from "./budget.ts"
import type { Call, Task } from "./call.ts"
import { evaluateGuest } from "./evaluate-guest.ts"
import { authorsLines, failureOf, GuestError, hookFailure, KIND } from "./failures.ts"
import { Escaped, GuestMemory } from "./guest-memory.ts"
import { GuestMistake } from "./guest-mistake.ts"
import type { Image } from "./image.ts"
import type { Machine, MachineHost } from "./machine.ts"
import type { MachinePool } from "./machine-pool.ts"
import type { GuestModules } from "./modules.ts"
import { OPERATIONS } from "./ops.ts"
import { MessageTooLong, TAG, tagOf } from "./values.ts"
import { MAX_DELAY_MS, watchCall } from "./watch-call.ts"

/** What all instances of one guest share. */
export interface GuestSetup {
  readonly name: string
  readonly base: Base
  readonly pool: MachinePool
  readonly services: GuestServices
  readonly limits: Limits
  readonly mode: InstanceMode
  readonly modules: GuestModules
  /** Null until the guest is ready. */
  image: Image | null
}

/** A guest function and its arguments. The function stays its owner's, the arguments are freed after the call. */
interface Invocation {
  readonly fn: number
  readonly values: readonly number[]
}

/** Timers, fetches and other waits one call may have at once. */
const MAX_TASKS = 1000
/** Refusals one call remembers, to report them under their own code when the guest does not catch them. */
const MAX_HOST_ERRORS = 100

/**
 * One memory with the guest in it. Guest code runs in `load`, in `start` and when something a call waits for arrives.
 * After a failure that stops the guest in the middle the image is written back, and every call in flight fails.
 */
export class Instance implements MachineHost {
  readonly setup: GuestSetup
  readonly memory: GuestMemory
  readonly budget = new Budget()
  /** Counts resets after failures. */
  generation = 0
  /** Told when a call that had to wait is over and no other is left. */
  onIdle: (() => void) | null = null
  /** What the module loader refused; the engine only knows that it did. */
  loadError: PluginError | null = null
  /** Calls that are not over, except the one whose `start` is on the stack. */
  readonly #calls = new Map<number, Call>()
  /** The call the guest runs for now. */
  #current: Call | null = null
  /** Calls that something happened to while the guest ran. They are looked after when it has left the stack. */
  #touched: Call[] = []
  #resetDue = false
  /** Guest values nobody needs any more. Freeing may take long, so it happens on a budget, at the next entry. */
  #garbage: number[] = []
  #lastTask = 0

  constructor(setup: GuestSetup, machine: Machine) {
    this.setup = setup
    this.memory = new GuestMemory(machine, setup.base.handles, setup.limits.messageBytes)
    machine.host = this
  }

  get idle(): boolean {
    return this.#calls.size === 0
  }

  get machine(): Machine {
    return this.memory.machine
  }

  /**
   * Evaluates the guest's top level and finds its hooks.
   * @returns their names, separated by commas; without meaning when the call failed.
   */
  load(call: Call, nowMs: number): string {
    let hooks = ""
    this.#begin(call, nowMs)
    try {
      const source = this.setup.modules.load(this.setup.modules.entry)
      hooks = evaluateGuest(this.memory, this.setup, source, () => this.#runJobs(call))
    } catch (error) {
      if (error instanceof PluginError) call.fail(error)
      else this.#stopped(call, error)
    }
    this.#end(call)
    if (call.tasks !== null) this.#close(call)
    return hooks
  }

  /** Runs the call's hook. Then the call is done, or `wait` gives its answer. */
  start(call: Call, nowMs: number): void {
    const { handles } = this.setup.base
    const { hook } = call.request
    let status: number
    if (hook === "on_request") status = this.#enter(call, handles.callRequest, null, nowMs)
    else if (hook === "on_response") status = this.#enter(call, handles.callResponse, null, nowMs)
    else status = this.#enter(call, 0, () => this.#runEvent(call), nowMs)
    if (status === 0) call.done = true
    if (!call.over) {
      call.cpuLeftMs -= this.budget.leave()
      this.#calls.set(call.id, call)
      watchCall(call, (code, what, cause) => {
        call.fail(new PluginError(code, this.setup.name, what, { cause }))
        this.#finish(call)
      })
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

  /** Makes a fresh instance of this idle one. */
  reset(image: Image): void {
    this.#garbage = []
    this.#move(this.setup.pool.reset(this.machine, image))
  }

  // --- Asked by the engine

  callFunction(argv: number): number {
    try {
      return OPERATIONS[this.machine.i32[argv >> 2]!]!(this, argv + 8)
    } catch (error) {
      return this.#throwInGuest(error)
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
    const id = this.machine.i32[at >> 2]!
    const current = this.#current
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

  get storage(): GuestStorage {
    return this.setup.services.storage(this.#running.request.tenant)
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
   * @returns a value for the guest: the number by which it can cancel.
   */
  later<T>(what: string, at: number, promise: Promise<T>, toValues: (value: T) => number[], stop = () => {}): number {
    const call = this.#running
    const resolve = this.memory.keep(at)
    const reject = this.memory.keep(at + 8)
    const task: Task = { id: ++this.#lastTask, what, values: [resolve, reject], stop }
    // Before anything that may throw: nobody else handles what the promise brings.
    promise.then(
      (value) => this.#complete(call, task, () => this.#settlement(task, () => toValues(value))),
      (error) => this.#complete(call, task, () => ({ fn: reject, values: [this.#errorValue(error)] })),
    )
    return this.#addTask(call, task)
  }

  /** @param at - Address of the function to run. @returns as `later`. */
  timer(at: number, delayMs: number, repeat: boolean): number {
    const call = this.#running
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
    for (const call of [this.#running, ...this.#calls.values()]) {
      const task = call.tasks?.get(id)
      if (task !== undefined) this.#endTask(call, task)
    }
  }

  // --- Guest code on the stack

  get #running(): Call {
    if (this.#current === null) throw new Error("no guest is running")
    return this.#current
  }

  #begin(call: Call, nowMs: number): void {
    if (this.#current !== null) throw new Error(`${this.setup.name}: a call entered the guest from inside the guest`)
    this.#current = call
    this.budget.enter(nowMs, call.cpuLeftMs, call.wallEndMs)
  }

  #end(call: Call): void {
    this.#current = null
    if (this.#resetDue) this.#restore(call)
  }

  /**
   * Runs a function of the guest and everything it made runnable.
   * @param prepare - Makes what to run; null: `fn` with the call's id as its only argument.
   * @returns the integer the function gave, 1 when it gave something else.
   */
  #enter(call: Call, fn: number, prepare: (() => Invocation) | null, nowMs: number): number {
    const { memory } = this
    let status = 1
    this.#begin(call, nowMs)
    try {
      if (this.#garbage.length > 0) this.#freeGarbage()
      let result: number
      if (prepare === null) {
        memory.passInt(0, call.id)
        result = memory.call(fn, 1)
      } else result = this.#invoke(prepare())
      if (tagOf(memory.machine, result) === TAG.int) {
        status = memory.machine.i32[result >> 2]!
        memory.machine.engine.free(result)
      } else this.#takeResult(call, result)
      if (memory.machine.engine.isJobPending(memory.handles.runtime) !== 0) this.#runJobs(call)
    } catch (error) {
      this.#stopped(call, error)
    }
    this.#end(call)
    return status
  }

  #invoke({ fn, values }: Invocation): number {
    for (let i = 0; i < values.length; i++) this.memory.pass(i, values[i]!)
    const result = this.memory.call(fn, values.length)
    for (const value of values) this.memory.free(value)
    return result
  }

  /** Runs a function of the guest for a call that waits. */
  #resume(call: Call, prepare: () => Invocation): void {
    if (call.cpuLeftMs <= 0) {
      this.fail(call, "E_LIMIT_CPU", `${call.request.hook} used more than ${call.request.limits.cpuMs} ms of CPU time`)
      this.#finish(call)
      return
    }
    this.#enter(call, 0, prepare, performance.now())
    call.cpuLeftMs -= this.budget.leave()
    if (this.#touched.length > 0) this.#lookAfter()
  }

  /** Resolves the promise of a task, or rejects it when the guest may not have the value. */
  #settlement(task: Task, toValues: () => number[]): Invocation {
    const [resolve, reject] = task.values
    try {
      return { fn: resolve!, values: toValues() }
    } catch (error) {
      return { fn: reject!, values: [this.#errorValue(error)] }
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

  #runJobs(call: Call): void {
    const { runtime, jobContext } = this.memory.handles
    const { engine } = this.machine
    while (engine.isJobPending(runtime) !== 0) {
      this.#takeResult(call, engine.executePendingJob(runtime, -1, jobContext))
    }
  }

  #takeResult(call: Call, result: number): void {
    if (this.memory.isException(result)) this.#report(call, result)
    else this.memory.free(result)
  }

  /** An exception left the prelude, or a job threw. */
  #report(call: Call, exception: number): void {
    const { memory } = this
    const error = memory.resolve(exception)
    memory.passInt(0, call.id)
    memory.pass(1, error)
    // When not even that is possible, no memory is left to describe the error.
    if (memory.isException(memory.call(memory.handles.threw, 2))) this.threw(call, KIND.memory, "out of memory", "", 0)
    memory.free(error)
    this.#touched.push(call)
  }

  /** What left the guest was no answer. */
  #stopped(call: Call, error: unknown): void {
    if (error instanceof MessageTooLong) {
      call.fail(this.#tooLong())
      return
    }
    let reason = error
    try {
      if (error instanceof Escaped) {
        this.#report(call, error.value)
        return
      }
    } catch (worse) {
      reason = worse
    }
    this.#break(call, reason)
  }

  /** @returns an exception value: the error is thrown in the guest when the engine's call returns. */
  #throwInGuest(error: unknown): number {
    try {
      return this.memory.throwing(this.#errorValue(error))
    } catch (worse) {
      if (worse instanceof Escaped) return worse.value
      throw worse
    }
  }

  /** Makes the guest's form of a refusal. @throws what is none, and ends the call thereby. */
  #errorValue(error: unknown): number {
    const refusal = error instanceof MessageTooLong ? this.#tooLong() : error
    if (!(refusal instanceof BextError) && !(refusal instanceof GuestMistake)) throw error
    const call = this.#running
    let serial = 0
    if (refusal instanceof PluginError && (call.hostErrors?.length ?? 0) < MAX_HOST_ERRORS) {
      call.hostErrors ??= []
      serial = call.hostErrors.push(refusal)
    }
    const code = refusal instanceof BextError ? refusal.code : "TypeError"
    return this.memory.newError(code, refusal.message, serial)
  }

  #tooLong(): PluginError {
    const { name, limits } = this.setup
    return new PluginError("E_LIMIT_MESSAGE", name, `a value is over ${limits.messageBytes} bytes`)
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
    this.#garbage.push(...task.values)
  }

  /** What a task waited for is here. Dropped when the task was cancelled or the instance reset meanwhile. */
  #complete(call: Call, task: Task, prepare: () => Invocation): void {
    if (call.tasks?.get(task.id) !== task) return
    this.#resume(call, prepare)
    if (call.tasks?.get(task.id) === task) this.#endTask(call, task)
  }

  #freeGarbage(): void {
    const values = this.#garbage
    this.#garbage = []
    for (const value of values) this.memory.free(value)
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
    if (answer !== null) answer()
    else if (call.failure !== null) this.setup.services.log("error", `after the answer: ${call.failure.message}`)
  }

  #close(call: Call): void {
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

  #break(call: Call, error: unknown): void {
    call.fail(failureOf(this, call, error))
    this.#restore(call)
  }

  #restore(cause: Call): void {
    this.#resetDue = false
    this.#garbage = []
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
      this.machine.engine.free(this.#throwInGuest(error))
      if (error instanceof PluginError) this.loadError ??= error
      return null
    }
  }
}
