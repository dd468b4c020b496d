import { BextError, PluginError } from "../../errors.ts"
import { Budget, BudgetSpent } from "../limits/budget.ts"
import type { Call } from "./call.ts"
import { KIND } from "./failures.ts"
import { Escaped, type GuestMemory } from "./guest-memory.ts"
import { GuestMistake } from "./guest-mistake.ts"
import { MessageTooLong, TAG, tagOf } from "./values.ts"

/** A guest function and its arguments. The function stays its owner's, the arguments are freed after the call. */
export interface Invocation {
  readonly fn: number
  readonly values: readonly number[]
}

/** What a guest has used of its thread, all instances together. */
export interface Usage {
  /** Milliseconds on the stack, by the monotonic clock. */
  busyMs: number
  entries: number
}

/** What can happen to a call while guest code runs for it. */
export interface StackEvents {
  /** The guest was stopped in the middle: nothing in its memory can be relied on. */
  broke(call: Call, error: unknown): void
  /** The call may be done now. */
  touched(call: Call): void
  /** As the prelude's function of that name would say, when not even that can run. */
  threw(call: Call, kind: number, what: string, stack: string, serial: number): void
}

/** Refusals one call remembers, to report them under their own code when the guest does not catch them. */
const MAX_HOST_ERRORS = 100

/** The one way into a guest: runs its code for one call at a time, on that call's budgets. */
export class GuestStack {
  readonly memory: GuestMemory
  readonly budget = new Budget()
  /** The call the guest runs for now. */
  current: Call | null = null
  readonly #name: string
  readonly #events: StackEvents
  readonly #usage: Usage
  /** When the guest last left the stack, performance.now(). */
  leftMs = 0
  #enteredMs = 0
  /** Guest values nobody needs any more. Freeing may take long, so it happens on a budget, at the next entry. */
  #garbage: number[] = []

  constructor(name: string, memory: GuestMemory, events: StackEvents, usage: Usage) {
    this.#usage = usage
    this.#name = name
    this.memory = memory
    this.#events = events
  }

  get running(): Call {
    if (this.current === null) throw new Error("no guest is running")
    return this.current
  }

  /** Runs `body`, which calls into the guest. */
  run(call: Call, nowMs: number, body: () => void): void {
    this.#begin(call, nowMs)
    try {
      body()
    } catch (error) {
      this.#stopped(call, error)
    }
    this.#end()
  }

  /**
   * Runs a function of the guest and everything it made runnable.
   * @param prepare - Makes what to run; null: `fn` with the call's id as its only argument.
   * @returns the integer the function gave, 1 when it gave something else.
   */
  enter(call: Call, fn: number, prepare: (() => Invocation) | null, nowMs: number): number {
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
      if (memory.machine.engine.isJobPending(memory.handles.runtime) !== 0) this.runJobs(call)
    } catch (error) {
      this.#stopped(call, error)
    }
    this.#end()
    return status
  }

  /** Runs promise reactions until none is left. */
  runJobs(call: Call): void {
    const { runtime, jobContext } = this.memory.handles
    const { engine } = this.memory.machine
    while (engine.isJobPending(runtime) !== 0) {
      this.#takeResult(call, engine.executePendingJob(runtime, -1, jobContext))
    }
  }

  /** Frees values at the next entry. */
  discard(values: readonly number[]): void {
    for (const value of values) this.#garbage.push(value)
  }

  /** @returns the values that are still to be freed; from here on they are somebody else's to free. */
  takeGarbage(): readonly number[] {
    const values = this.#garbage
    this.#garbage = []
    return values
  }

  /** The memory was replaced: nothing of before exists any more. */
  forget(): void {
    this.#garbage = []
  }

  /** @returns an exception value: the error is thrown in the guest when the engine's call returns. */
  throwInGuest(error: unknown): number {
    try {
      return this.memory.throwing(this.errorValue(error))
    } catch (worse) {
      if (worse instanceof Escaped) return worse.value
      throw worse
    }
  }

  /** Makes the guest's form of a refusal. @throws what is none, and ends the call thereby. */
  errorValue(error: unknown): number {
    const refusal = error instanceof MessageTooLong ? this.#tooLong(error) : error
    if (!(refusal instanceof BextError) && !(refusal instanceof GuestMistake)) throw error
    // To refuse costs the host more than to ask costs the guest.
    if (this.budget.spent()) throw new BudgetSpent()
    const call = this.running
    let serial = 0
    if (refusal instanceof PluginError && (call.hostErrors?.length ?? 0) < MAX_HOST_ERRORS) {
      call.hostErrors ??= []
      serial = call.hostErrors.push(refusal)
    }
    const code = refusal instanceof BextError ? refusal.code : "TypeError"
    return this.memory.newError(code, refusal.message, serial)
  }

  #begin(call: Call, nowMs: number): void {
    if (this.current !== null) throw new Error(`${this.#name}: a call entered the guest from inside the guest`)
    this.current = call
    this.#enteredMs = nowMs
    this.budget.enter(nowMs, call.cpuLeftMs, call.wallEndMs)
  }

  #end(): void {
    this.current = null
    this.#usage.entries++
    this.leftMs = performance.now()
    this.#usage.busyMs += this.leftMs - this.#enteredMs
  }

  #invoke({ fn, values }: Invocation): number {
    for (let i = 0; i < values.length; i++) this.memory.pass(i, values[i]!)
    const result = this.memory.call(fn, values.length)
    for (const value of values) this.memory.free(value)
    return result
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
    const described = !memory.isException(memory.call(memory.handles.threw, 2))
    if (!described) this.#events.threw(call, KIND.memory, "out of memory", "", 0)
    memory.free(error)
    this.#events.touched(call)
  }

  /** What left the guest was no answer. */
  #stopped(call: Call, error: unknown): void {
    if (error instanceof MessageTooLong) call.fail(this.#tooLong(error))
    else if (error instanceof Escaped) {
      try {
        this.#report(call, error.value)
      } catch (worse) {
        this.#events.broke(call, worse)
      }
    } else this.#events.broke(call, error)
  }

  #tooLong(cause: MessageTooLong): PluginError {
    return new PluginError("E_LIMIT_MESSAGE", this.#name, cause.message, { cause })
  }

  #freeGarbage(): void {
    for (const value of this.takeGarbage()) this.memory.free(value)
  }
}
