import type { PluginError } from "../../errors.ts"
import type { HookCall, Json } from "../sandbox.ts"

/** Something a call started and waits for: a timer, a fetch, a storage operation. */
export interface Task {
  readonly id: number
  /** For the warning that names what was left behind, e.g. "timer of 500 ms". */
  readonly what: string
  /** Guest values it holds; freed when it ends. */
  readonly values: readonly number[]
  /** Cancels the host's side of it. */
  stop(): void
}

/**
 * One call of one hook, from entry until nothing of it is left. It is *done* once the hook answered or failed, *over*
 * once the promises given to waitUntil have settled too.
 */
export class Call {
  readonly id: number
  readonly request: HookCall
  /** What runs, for messages. */
  readonly what: string
  /** End of the whole call on the clock of performance.now(). */
  readonly wallEndMs: number
  cpuLeftMs: number
  done = false
  failure: PluginError | null = null
  result: Json | undefined = undefined
  /** Promises given to waitUntil that have not settled. */
  waits = 0
  tasks: Map<number, Task> | null = null
  /** Errors the host threw in the guest, by serial from 1, to recognise them when they come back. */
  hostErrors: PluginError[] | null = null
  /** Gives the answer to whoever waits for it. */
  answer: (() => void) | null = null
  /** Ends the watch over wall time and abort signal. */
  unwatch: (() => void) | null = null

  constructor(id: number, request: HookCall, nowMs: number, what: string = request.hook) {
    this.id = id
    this.request = request
    this.what = what
    this.wallEndMs = nowMs + request.limits.wallMs - (request.waitedMs ?? 0)
    this.cpuLeftMs = request.limits.cpuMs
  }

  get over(): boolean {
    return this.done && (this.waits === 0 || this.failure !== null)
  }

  fail(error: PluginError): void {
    this.failure ??= error
    this.done = true
  }
}

/** Guests hold ids as integers of 32 bits, and a busy server is through with them in days: the first come again. */
export function nextCallId(id: number): number {
  return (id % 0x7fff_ffff) + 1
}
