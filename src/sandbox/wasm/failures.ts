import { BextError, type ErrorCode, PluginError } from "../../errors.ts"
import type { CallLimits } from "../sandbox.ts"
import { readableName } from "./function-name.ts"

/** Thrown out of the guest for what its own access would have trapped for. */
export class GuestFault extends Error {}

/** Thrown out of the guest when a budget is used up; nothing of it runs afterwards. */
export class Spent extends Error {}

/** What a guest was doing when it was stopped. */
export interface Stopped {
  readonly plugin: string
  /** What ran, for messages: the hook, or what comes before any. */
  readonly what: string
  readonly limits: CallLimits
  /** Why it had to stop, when the host stopped it. */
  readonly verdict: ErrorCode | null
  readonly fuelUsed: number
  readonly memoryBytes: number
  readonly maxMemoryBytes: number
}

/** The failure of a call that ended in the middle: its instance has to be restored. */
export function failureOf(stopped: Stopped, error: unknown): PluginError {
  const { plugin, what, verdict } = stopped
  const cause = { cause: error }
  if (verdict !== null && (error instanceof Spent || error instanceof WebAssembly.RuntimeError)) {
    if (error instanceof WebAssembly.RuntimeError) dropMeterFrame(error)
    return new PluginError(verdict, plugin, `${what} ${limitText(stopped, verdict)}${placeOf(error)}`, cause)
  }
  if (error instanceof BextError) {
    return error instanceof PluginError
      ? error
      : new PluginError(error.code, plugin, `${what}: ${error.message}`, cause)
  }
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return new PluginError("E_LIMIT_STACK", plugin, `${what} recursed too deeply${placeOf(error)}`, cause)
  }
  if (error instanceof GuestFault) {
    return new PluginError("E_GUEST_TRAPPED", plugin, `${what} ${error.message}${placeOf(error)}`, cause)
  }
  if (error instanceof WebAssembly.RuntimeError) return trap(stopped, error)
  if (error instanceof Error && error.name === "SuspendError") {
    const called = "called a function that waits where the host does not wait"
    return new PluginError("E_GUEST_TRAPPED", plugin, `${what} ${called}${placeOf(error)}`, cause)
  }
  return new PluginError("E_INTERNAL", plugin, `${what}: an error of the host`, cause)
}

export function limitText({ limits, fuelUsed, maxMemoryBytes }: Stopped, code: ErrorCode): string {
  const texts: Partial<Record<ErrorCode, string>> = {
    E_LIMIT_CPU: `used more than ${limits.cpuMs} ms of CPU time`,
    E_LIMIT_TIME: `ran for more than ${limits.wallMs} ms`,
    E_LIMIT_FUEL: `used ${fuelUsed} of its ${limits.fuel} units of fuel`,
    E_LIMIT_MEMORY: `used more than ${maxMemoryBytes} bytes of memory`,
  }
  return texts[code] ?? "was stopped"
}

/** The meter's own function, which asks for more fuel, is what traps; nobody who reads the stack can find it. */
function dropMeterFrame(error: Error): void {
  if (error.stack !== undefined) error.stack = error.stack.replace(/\n +at [^\n]*wasm:\/\/wasm\/[^\n]*/, "")
}

/**
 * " in NAME" of the innermost function that is the guest's, by its name section, otherwise its index in the module as the author
 * built it; "" when the stack has none.
 */
export function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : ""
  for (const line of stack.split("\n")) {
    const frame = /^ +at (?:(.*) \()?wasm:\/\/wasm\/[^ ]*:wasm-function\[(\d+)\]:0x[0-9a-f]+\)?$/.exec(line)
    if (frame === null) continue
    // The rewriter put one import in front of the module's own functions.
    const name = frame[1]?.replace(/[^!-~]+/g, "?")
    return ` in ${name === undefined ? `function ${Number(frame[2]) - 1}` : readableName(name).slice(0, MAX_NAME)}`
  }
  return ""
}

const MAX_NAME = 200

function trap(stopped: Stopped, error: WebAssembly.RuntimeError): PluginError {
  const { plugin, what, memoryBytes, maxMemoryBytes } = stopped
  // Languages abort by `unreachable` when their allocator gets no more memory.
  if (/unreachable/.test(error.message) && memoryBytes > maxMemoryBytes / 2) {
    const used = `${limitText(stopped, "E_LIMIT_MEMORY")}: it stopped itself with ${memoryBytes} in use`
    return new PluginError("E_LIMIT_MEMORY", plugin, `${what} ${used}${placeOf(error)}`, { cause: error })
  }
  return new PluginError("E_GUEST_TRAPPED", plugin, `${what}: ${error.message}${placeOf(error)}`, { cause: error })
}
