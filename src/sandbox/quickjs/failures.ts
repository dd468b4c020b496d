import { type ErrorCode, PluginError } from "../../errors.ts"
import { BudgetSpent } from "../limits/budget.ts"
import { LAYOUT } from "./binary.ts"
import type { Call } from "./call.ts"
import type { Instance } from "./instance.ts"
import { EngineAbort, OutOfMemory } from "./machine.ts"

/** What the guest threw, in its own words. Only ever the `cause` of a PluginError: never shown to HTTP clients. */
export class GuestError extends Error {
  override readonly name = "GuestError"

  /** @param stack - Lines of the guest's stack trace, places already mapped to the author's sources. */
  constructor(what: string, stack: string) {
    super(what)
    this.stack = stack === "" ? what : `${what}\n${stack.trimEnd()}`
  }
}

/** The lines of a stack trace that lie in the plugin's modules: those of the prelude and its library have no place. */
export function authorsLines(stack: string): string {
  return stack
    .split("\n")
    .filter((line) => /:\d+\)?$/.test(line) && !line.includes("(<input>:"))
    .join("\n")
}

/** How the prelude classifies what a hook threw, see prelude/hooks.js. */
export const KIND = { other: 0, null: 1, memory: 2, stack: 3 } as const

/**
 * The failure of a call whose hook threw.
 * @param refusal - The host's refusal, when it is what came back.
 */
export function hookFailure(
  instance: Instance,
  call: Call,
  kind: number,
  cause: GuestError,
  refusal: PluginError | undefined,
): PluginError {
  const { name } = instance.setup
  // When memory is really used up the engine cannot even make the error and throws null.
  const full = instance.machine.refused || heapUsed(instance) > instance.setup.limits.memoryBytes / 2
  const starved = kind === KIND.null && full
  if (kind === KIND.memory || starved) return limit(instance, call, "E_LIMIT_MEMORY", cause)
  if (kind === KIND.stack) return limit(instance, call, "E_LIMIT_STACK", cause)
  if (refusal !== undefined) {
    const said = refusal.message.replace(`${refusal.plugin}: `, "").replace(` [${refusal.code}]`, "")
    return new PluginError(refusal.code, name, `${call.what}: ${said}${placeOf(cause)}`, { cause })
  }
  return new PluginError("E_GUEST_THREW", name, `${call.what}: ${cause.message}${placeOf(cause)}`, { cause })
}

/** " (file:line:column)" of the topmost line of a guest's stack that has one, otherwise "". */
export function placeOf(error: GuestError): string {
  const place = /\(([^()]+:\d+(?::\d+)?)\)|at (\S+:\d+(?::\d+)?)$/m.exec(error.stack ?? "")
  return place === null ? "" : ` (${place[1] ?? place[2]})`
}

/** The failure of a call that was stopped in the middle: the guest's memory has to be restored. */
export function failureOf(instance: Instance, call: Call, error: unknown): PluginError {
  const { name } = instance.setup
  const { verdict } = instance.budget
  if (verdict !== null && (error instanceof BudgetSpent || error instanceof WebAssembly.RuntimeError)) {
    return limit(instance, call, verdict)
  }
  if (error instanceof OutOfMemory) return limit(instance, call, "E_LIMIT_MEMORY")
  if (error instanceof RangeError) return limit(instance, call, "E_LIMIT_STACK")
  if (error instanceof EngineAbort || error instanceof WebAssembly.RuntimeError) {
    return new PluginError("E_GUEST_EXITED", name, `${call.what}: the engine stopped: ${error.message}`, {
      cause: error,
    })
  }
  return new PluginError("E_INTERNAL", name, `${call.what}: an error of the host`, { cause: error })
}

/** @param cause - What the guest threw. How the host noticed the limit says nothing to anybody. */
function limit(instance: Instance, call: Call, code: ErrorCode, cause?: GuestError): PluginError {
  const { cpuMs, wallMs } = call.request.limits
  const what: Partial<Record<ErrorCode, string>> = {
    E_LIMIT_CPU: `used more than ${cpuMs} ms of CPU time`,
    E_LIMIT_TIME: `ran for more than ${wallMs} ms`,
    E_LIMIT_MEMORY: instance.machine.refused
      ? "got no more memory: all plugins together have sandbox.max_guest_memory_mb"
      : `used more than ${instance.setup.limits.memoryBytes} bytes of memory`,
    E_LIMIT_STACK: "recursed too deeply",
  }
  return new PluginError(code, instance.setup.name, `${call.what} ${what[code]}`, cause && { cause })
}

function heapUsed(instance: Instance): number {
  return instance.machine.heapEnd - LAYOUT.heapStart
}
