import { BextError, type ErrorCode, PluginError } from "../../errors.ts"
import type { GuestServices, GuestStorage } from "../../host/services.ts"
import type { Exchange, InstanceMode, Json, Limits } from "../sandbox.ts"
import { type Base, passInt } from "./base.ts"
import { Budget, BudgetSpent } from "./budget.ts"
import type { Call, Task } from "./call.ts"
import { failureOf, GuestError, hookFailure } from "./failures.ts"
import { GuestMistake } from "./guest-mistake.ts"
import type { Image } from "./image.ts"
import { libraryOf } from "./library.ts"
import type { Machine, MachineHost } from "./machine.ts"
import type { MachinePool } from "./machine-pool.ts"
import type { GuestModules } from "./modules.ts"
import { OPERATIONS } from "./ops.ts"
import { MessageTooLong, newSmall, newString, readBytes, readNumber, readString, TAG, tagOf } from "./values.ts"

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

/** Timers, fetches and other waits one call may have at once. */
const MAX_TASKS = 1000
/** JS_EVAL_TYPE_MODULE */
const EVAL_MODULE = 1
/** Answers of promiseState. */
const NOT_A_PROMISE = -1
const FULFILLED = 1
/** Longest delay Node's timers know. */
const MAX_DELAY_MS = 2 ** 31 - 1

/**
 * One memory with the guest in it. Guest code runs in `start` and when something it waits for arrives. After a failure
 * that stops the guest in the middle the image is written back, and every call that was in flight fails.
 */
export class Instance implements MachineHost {
  readonly setup: GuestSetup
  machine: Machine
  /** Counts resets. */
  generation = 0
  /** Told when a call that had to wait is completely over. */
  onIdle: (() => void) | null = null
  /** A load error, kept while the engine reports it in its own words. */
  loadError: PluginError | null = null
  readonly #budget = new Budget()
  readonly #calls = new Map<number, Call>()
  #current: Call | null = null
  /** Calls that finished while the guest ran, to be delivered when it has left the stack. */
  #finished: Call[] = []
  #resetDue = false
  /** Guest values nobody needs any more. */
  #garbage: number[] = []
  #lastTask = 0

  constructor(setup: GuestSetup, machine: Machine) {
    this.setup = setup
    this.machine = machine
    machine.host = this
  }

  /** Calls that are not completely over. */
  get busy(): number {
    return this.#calls.size
  }

  get budget(): Budget {
    return this.#budget
  }

  /**
   * Evaluates the guest's top level and finds its hooks.
   * @returns their names, separated by commas; without meaning when the call failed.
   */
  load(call: Call, nowMs: number): string {
    let hooks = ""
    this.#begin(call, nowMs)
    try {
      hooks = this.#evaluate(call)
    } catch (error) {
      this.#break(call, error)
    }
    this.#end(call)
    return hooks
  }

  /** Runs the call's hook. Then it is either done, or `wait` gives its answer. */
  start(call: Call, nowMs: number): void {
    const { handles } = this.setup.base
    const { hook, params } = call.request
    passInt(this.machine, handles, 0, call.id)
    let status: number
    if (hook === "on_request") status = this.#enter(call, handles.callRequest, 1, null, nowMs)
    else if (hook === "on_response") status = this.#enter(call, handles.callResponse, 1, null, nowMs)
    else {
      const kind = answersJson(hook) ? 1 : 0
      const prepare = () => [
        this.#int(call.id),
        this.newString(hook),
        this.newString(JSON.stringify(params)),
        this.#int(kind),
      ]
      status = this.#enter(call, handles.callEvent, 4, prepare, nowMs)
    }
    if (status === 0) call.done = true
    else if (!call.done) call.cpuLeftMs -= this.#budget.leave()
    if (call.done && call.tasks === null && call.waits === 0) {
      if (this.#finished.length > 0) this.#deliver(call)
      return
    }
    if (!call.done || call.waits > 0) {
      this.#calls.set(call.id, call)
      this.#watch(call)
    } else this.#close(call)
    if (this.#finished.length > 0) this.#deliver(call)
  }

  wait(call: Call): Promise<Json | undefined> {
    return new Promise((resolve, reject) => {
      call.settle = { resolve, reject }
    })
  }

  /** What is still waiting, in words. */
  leftovers(): string[] {
    return [...this.#calls.values()].flatMap((call) => [...(call.tasks?.values() ?? [])].map((task) => task.what))
  }

  /** Ends every call. */
  stop(code: ErrorCode, what: string): void {
    for (const call of [...this.#calls.values()]) {
      if (!call.done) call.fail(new PluginError(code, this.setup.name, what))
      this.#finish(call)
    }
  }

  /** Makes a fresh instance of this one. */
  reset(image: Image): void {
    this.#garbage = []
    this.machine = this.setup.pool.reset(this.machine, image)
    this.machine.host = this
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
    if (this.#budget.spent()) throw new BudgetSpent()
  }

  spent(): boolean {
    return this.#budget.spent()
  }

  resolveModule(importer: string, specifier: string): string | null {
    return this.#orLoadError(() => this.setup.modules.resolve(importer, specifier))
  }

  loadModule(name: string): string | null {
    return this.#orLoadError(() => {
      const source = this.setup.modules.load(name)
      if (source.includes("\0")) throw new PluginError("E_PLUGIN_LOAD_FAILED", this.setup.name, `${name}: contains NUL`)
      return source
    })
  }

  // --- For the operations: arguments, the calls they belong to, answers that come later

  call(at: number): Call {
    const { i32 } = this.machine
    const id = i32[at >> 2]!
    const current = this.#current
    if (current !== null && current.id === id) return current
    const call = this.#calls.get(id)
    if (call === undefined) throw new GuestMistake("the request this belongs to is over")
    return call
  }

  exchange(at: number): Exchange {
    const { exchange } = this.call(at).request
    if (exchange === null) throw new GuestMistake("there is no request here")
    return exchange
  }

  get storage(): GuestStorage {
    return this.setup.services.storage(this.#running.request.tenant)
  }

  number(at: number): number {
    return readNumber(this.machine, at)
  }

  text(at: number): string {
    const text = readString(this.machine, this.setup.base.handles.context, at, this.setup.limits.messageBytes)
    if (text === undefined) throw new GuestMistake("expected a string")
    return text
  }

  bytes(at: number): Uint8Array {
    const bytes = readBytes(this.machine, this.setup.base.handles.context, at, this.setup.limits.messageBytes)
    if (bytes === undefined) throw new GuestMistake("expected bytes")
    return bytes
  }

  textOrBytes(at: number): string | Uint8Array {
    return tagOf(this.machine, at) === TAG.object ? this.bytes(at) : this.text(at)
  }

  optionalTextOrBytes(at: number): string | Uint8Array | undefined {
    return tagOf(this.machine, at) === TAG.undefined ? undefined : this.textOrBytes(at)
  }

  /** The caller owns the value. */
  newString(text: string): number {
    const { context, scratch } = this.setup.base.handles
    return newString(this.machine, context, scratch, text)
  }

  /** @throws {MessageTooLong} */
  fits<T extends string | Uint8Array>(value: T): T {
    const { messageBytes } = this.setup.limits
    if (value.length > messageBytes) throw new MessageTooLong()
    if (typeof value === "string" && value.length * 3 > messageBytes && Buffer.byteLength(value) > messageBytes) {
      throw new MessageTooLong()
    }
    return value
  }

  /**
   * Calls the guest back when `promise` settles.
   * @param at - Address of the guest's `resolve` and, behind it, `reject`.
   * @param toValues - Makes the arguments of `resolve`.
   */
  later<T>(what: string, at: number, promise: Promise<T>, toValues: (value: T) => number[], stop = () => {}): number {
    const call = this.#running
    const resolve = this.#keep(at)
    const reject = this.#keep(at + 8)
    const task = this.#addTask(call, what, [resolve, reject], stop)
    promise.then(
      (value) => this.#complete(call, task, resolve, () => toValues(value)),
      (error) => this.#complete(call, task, reject, () => [this.#errorValue(error)]),
    )
    return newSmall(this.machine, TAG.int, task.id)
  }

  /** @param at - Address of the function to run. */
  timer(at: number, delayMs: number, repeat: boolean): number {
    const call = this.#running
    const fn = this.#keep(at)
    const ms = Math.min(Math.max(Math.trunc(delayMs) || 0, 1), MAX_DELAY_MS)
    const fire = () => {
      if (repeat) this.#resume(call, fn, () => [])
      else this.#complete(call, task, fn, () => [])
    }
    const handle = repeat ? setInterval(fire, ms) : setTimeout(fire, ms)
    const task: Task = this.#addTask(call, `${repeat ? "interval" : "timer"} of ${ms} ms`, [fn], () =>
      clearTimeout(handle),
    )
    return newSmall(this.machine, TAG.int, task.id)
  }

  cancel(id: number): void {
    for (const call of [this.#running, ...this.#calls.values()]) {
      const task = call.tasks?.get(id)
      if (task !== undefined) this.#endTask(call, task)
    }
  }

  settled(call: Call): void {
    call.done = true
    this.#finished.push(call)
  }

  waitEnded(call: Call): void {
    call.waits--
    if (call.waits === 0 && call.done) this.#finished.push(call)
  }

  fail(call: Call, code: ErrorCode, what: string): void {
    call.fail(new PluginError(code, this.setup.name, what))
  }

  /** The guest's function threw; see prelude/hooks.js for the kinds. */
  threw(call: Call, kind: number, what: string, stack: string, serial: number): void {
    const cause = new GuestError(what, this.setup.modules.mapStack(stack))
    const failure = hookFailure(this, call, kind, cause, call.hostErrors?.[serial - 1])
    if (failure.code === "E_LIMIT_MEMORY") this.#resetDue = true
    call.fail(failure)
  }

  // --- Guest code on the stack

  get #running(): Call {
    if (this.#current === null) throw new Error("no guest is running")
    return this.#current
  }

  #begin(call: Call, nowMs: number): void {
    if (this.#current !== null) throw new Error(`${this.setup.name}: a call entered the guest from inside the guest`)
    this.#current = call
    this.#budget.enter(nowMs, call.cpuLeftMs, call.wallEndMs)
  }

  #end(call: Call): void {
    this.#current = null
    if (this.#resetDue) this.#reset(call, false)
  }

  /**
   * Runs a function of the guest and everything it made runnable.
   * @param prepare - Makes the arguments; null when they are in place already.
   * @returns the integer the function gave, 1 when it gave something else.
   */
  #enter(call: Call, fn: number, argc: number, prepare: (() => number[]) | null, nowMs: number): number {
    const { engine } = this.machine
    const { handles } = this.setup.base
    let status = 1
    this.#begin(call, nowMs)
    try {
      if (this.#garbage.length > 0) this.#freeGarbage()
      const values = prepare === null ? null : this.#pass(prepare())
      const result = engine.call(handles.context, fn, handles.undefined, values?.length ?? argc, handles.argv)
      if (tagOf(this.machine, result) === TAG.int) {
        status = this.machine.i32[result >> 2]!
        engine.free(result)
      } else this.#takeResult(call, result)
      if (values !== null)
        for (const value of values) if (!this.#isSlot(value)) engine.freeValue(handles.context, value)
      if (engine.isJobPending(handles.runtime) !== 0) this.#runJobs(call)
    } catch (error) {
      this.#break(call, error)
    }
    this.#end(call)
    return status
  }

  #evaluate(call: Call): string {
    const { handles } = this.setup.base
    const { context, runtime } = handles
    const { engine } = this.machine
    const { modules, limits } = this.setup
    engine.setMemoryLimit(runtime, limits.memoryBytes)
    for (const name of libraryOf((word) => modules.mentions(word))) {
      const value = this.newString(name)
      engine.freeValue(context, this.#checked(this.#callGuest(handles.need, value)))
      engine.freeValue(context, value)
    }
    const source = this.loadModule(modules.entry)
    if (source === null) throw this.loadError
    const code = this.machine.newCString(source)
    const file = this.machine.newCString(modules.entry)
    const evaluated = engine.eval(context, code, Buffer.byteLength(source), file, 0, EVAL_MODULE)
    engine.free(code)
    engine.free(file)
    this.#runJobs(call)
    if (tagOf(this.machine, evaluated) === TAG.exception) return this.#takeNothing(call, evaluated)
    const module = this.#settledModule(evaluated)
    if (call.failure !== null) return ""
    const found = this.#callGuest(handles.register, module)
    if (tagOf(this.machine, found) === TAG.exception) return this.#takeNothing(call, found)
    const hooks = this.text(found)
    for (const value of [found, module]) engine.freeValue(context, value)
    return hooks
  }

  /** A module with top-level await gives a promise. */
  #settledModule(value: number): number {
    const { context } = this.setup.base.handles
    const { engine } = this.machine
    const state = engine.promiseState(context, value)
    if (state === NOT_A_PROMISE) return value
    const result = engine.promiseResult(context, value)
    engine.freeValue(context, value)
    if (state === FULFILLED) return result
    const what = "the top level waits for something; wait in onServerStart instead"
    throw new PluginError("E_PLUGIN_LOAD_FAILED", this.setup.name, what)
  }

  #takeNothing(call: Call, exception: number): "" {
    this.#takeResult(call, exception)
    return ""
  }

  /** Calls a function of the prelude. The caller owns the result. */
  #callGuest(fn: number, ...values: number[]): number {
    const { context, undefined: self, argv } = this.setup.base.handles
    return this.machine.engine.call(context, fn, self, this.#pass(values).length, argv)
  }

  #checked(value: number): number {
    if (tagOf(this.machine, value) === TAG.exception) throw new Error("the prelude failed")
    return value
  }

  #resume(call: Call, fn: number, toValues: () => number[]): void {
    // The guest may cancel the task this function belongs to while it runs.
    const held = this.machine.engine.dupValue(this.setup.base.handles.context, fn)
    const { generation } = this
    this.#enter(call, held, 0, toValues, performance.now())
    if (generation === this.generation) this.#garbage.push(held)
    call.cpuLeftMs -= this.#budget.leave()
    if (this.#finished.length > 0) this.#deliver(null)
  }

  #pass(values: number[]): number[] {
    this.machine.u32.set(values, this.setup.base.handles.argv >> 2)
    return values
  }

  #runJobs(call: Call): void {
    const { runtime, jobContext } = this.setup.base.handles
    const { engine } = this.machine
    while (engine.isJobPending(runtime) !== 0) {
      this.#takeResult(call, engine.executePendingJob(runtime, -1, jobContext))
    }
  }

  /** Frees a result nobody needs; an exception that left the prelude is reported to the call. */
  #takeResult(call: Call, result: number): void {
    const { context, threw, undefined: self, argv } = this.setup.base.handles
    const { engine } = this.machine
    if (tagOf(this.machine, result) !== TAG.exception) {
      engine.freeValue(context, result)
      return
    }
    const error = engine.resolveException(context, result)
    passInt(this.machine, this.setup.base.handles, 0, call.id)
    this.machine.u32[(argv >> 2) + 1] = error
    const reported = engine.call(context, threw, self, 2, argv)
    // Not even that was possible: no memory is left to describe the error.
    if (tagOf(this.machine, reported) === TAG.exception) this.threw(call, 2, "out of memory", "", 0)
    call.done = true
    if (this.#calls.has(call.id)) this.#finished.push(call)
  }

  #throwInGuest(error: unknown): number {
    const { context } = this.setup.base.handles
    const { engine } = this.machine
    const value = this.#errorValue(error)
    if (tagOf(this.machine, value) === TAG.exception) return value
    const thrown = engine.throw(context, value)
    engine.freeValue(context, value)
    return thrown
  }

  /** Makes the guest's form of a refusal. Errors that are none leave the guest at once. */
  #errorValue(error: unknown): number {
    const refusal =
      error instanceof MessageTooLong
        ? new PluginError("E_LIMIT_MESSAGE", this.setup.name, `a value is over ${this.setup.limits.messageBytes} bytes`)
        : error
    if (!(refusal instanceof BextError) && !(refusal instanceof GuestMistake)) throw error
    const { context, hostError, undefined: self, argv } = this.setup.base.handles
    let code = "TypeError"
    let serial = 0
    if (refusal instanceof PluginError) {
      const call = this.#running
      call.hostErrors ??= []
      serial = call.hostErrors.push(refusal)
    }
    if (refusal instanceof BextError) code = refusal.code
    const values = [this.newString(code), this.newString(refusal.message)]
    this.#pass(values)
    passInt(this.machine, this.setup.base.handles, 2, serial)
    const value = this.machine.engine.call(context, hostError, self, 3, argv)
    for (const text of values) this.machine.engine.freeValue(context, text)
    return value
  }

  // --- Tasks

  #keep(at: number): number {
    return this.machine.engine.dupValue(this.setup.base.handles.context, at)
  }

  #addTask(call: Call, what: string, values: number[], stop: () => void): Task {
    call.tasks ??= new Map()
    const task: Task = { id: ++this.#lastTask, what, values, stop }
    call.tasks.set(task.id, task)
    if (call.tasks.size > MAX_TASKS) {
      this.#endTask(call, task)
      throw new GuestMistake(`more than ${MAX_TASKS} timers and requests at once`)
    }
    return task
  }

  #endTask(call: Call, task: Task): void {
    call.tasks?.delete(task.id)
    task.stop()
    this.#garbage.push(...task.values)
  }

  /** Freeing may take long, so it happens on a budget. */
  #freeGarbage(): void {
    const values = this.#garbage
    this.#garbage = []
    for (const value of values) this.machine.engine.freeValue(this.setup.base.handles.context, value)
  }

  /** What a task waited for is here. Dropped when the task was cancelled or the instance reset meanwhile. */
  #complete(call: Call, task: Task, fn: number, toValues: () => number[]): void {
    if (call.tasks?.get(task.id) !== task) return
    this.#resume(call, fn, toValues)
    if (call.tasks?.get(task.id) === task) this.#endTask(call, task)
  }

  // --- The end of calls

  #watch(call: Call): void {
    const { signal, limits, hook } = call.request
    const end = (code: ErrorCode, what: string, cause?: unknown) => {
      if (!call.done) call.fail(new PluginError(code, this.setup.name, what, { cause }))
      else this.setup.services.log("warn", `${hook}: what waitUntil was given did not settle in time`)
      this.#finish(call)
    }
    const outOfTime = () => end("E_LIMIT_TIME", `${hook} did not settle within ${limits.wallMs} ms`)
    const timer = setTimeout(outOfTime, Math.min(call.wallEndMs - performance.now(), MAX_DELAY_MS))
    const aborted = () => end("E_LIMIT_TIME", `${hook} was stopped: the caller gave up`, signal?.reason)
    call.unwatch = () => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", aborted)
    }
    if (signal?.aborted) queueMicrotask(aborted)
    else signal?.addEventListener("abort", aborted, { once: true })
  }

  /** @param starting - The call whose answer `start`'s caller takes itself. */
  #deliver(starting: Call | null): void {
    const finished = this.#finished
    this.#finished = []
    for (const call of finished)
      if (call !== starting || call.settle !== null) this.#finish(call)
      else if (call.waits === 0) this.#close(call)
  }

  #finish(call: Call): void {
    const { settle, failure } = call
    call.settle = null
    if (call.waits === 0 || failure !== null || settle === null) this.#close(call)
    if (failure !== null) settle?.reject(failure)
    else settle?.resolve(call.result)
  }

  #close(call: Call): void {
    call.unwatch?.()
    call.unwatch = null
    for (const task of call.tasks?.values() ?? []) this.#endTask(call, task)
    call.tasks = null
    if (this.#calls.delete(call.id) && this.#calls.size === 0) this.onIdle?.()
  }

  // --- Resets

  #break(call: Call, error: unknown): void {
    call.fail(failureOf(this, call, error))
    this.#reset(call, error instanceof RangeError)
  }

  /** @param spoiled - The machine must not be used again. */
  #reset(cause: Call, spoiled: boolean): void {
    this.#resetDue = false
    this.#garbage = []
    this.generation++
    for (const call of [cause, ...this.#calls.values()]) {
      for (const task of call.tasks?.values() ?? []) task.stop()
      call.tasks = null
      call.waits = 0
      if (!call.done) this.fail(call, "E_INSTANCE_RESET", `${cause.request.hook} of another request broke the instance`)
      if (this.#calls.has(call.id)) this.#finished.push(call)
    }
    const { pool, image } = this.setup
    this.machine = pool.renew(this.machine, image, spoiled)
    this.machine.host = this
  }

  #int(value: number): number {
    const slot = this.setup.base.handles.slots + 8 * this.#slot++
    this.#slot %= 8
    this.machine.i32[slot >> 2] = value
    this.machine.i32[(slot >> 2) + 1] = TAG.int
    return slot
  }
  #slot = 0

  #isSlot(value: number): boolean {
    const { slots } = this.setup.base.handles
    return value >= slots && value < slots + 64
  }

  #orLoadError(look: () => string): string | null {
    try {
      return look()
    } catch (error) {
      if (!(error instanceof PluginError)) throw error
      this.loadError ??= error
      return null
    }
  }
}

function answersJson(hook: string): boolean {
  return hook === "transform" || hook.startsWith("cache_")
}
