import { randomFillSync } from "node:crypto"
import { PluginError } from "../../../errors.ts"
import type { Guest, ImportedFunction } from "../abi.ts"
import { clockNanoseconds, NANOSECONDS_PER_MS } from "./clocks.ts"
import { descriptorFunctions } from "./descriptors.ts"
import { ERRNO } from "./errno.ts"
import { poll } from "./poll.ts"

/** What random bytes cost the host, in units of fuel, besides 4 for each. */
const RANDOM_UNITS = 5020

/** WASI preview 1 for one instance. */
export interface Wasi {
  /** All functions of preview 1, by name. */
  readonly functions: Readonly<Record<string, ImportedFunction>>
  /** A call is over: what it wrote without a newline becomes a log line. */
  over(): void
}

/**
 * The module called `proc_exit`. Thrown through the guest's frames: the call is over, and the instance is as it was in the
 * middle of it.
 */
export class GuestExit extends PluginError {
  readonly exitCode: number

  constructor(plugin: string, exitCode: number) {
    // Not E_GUEST_EXITED, which takes the plugin out of service: one crafted request must not be enough for that.
    super("E_GUEST_TRAPPED", plugin, `the module ended itself: proc_exit(${exitCode})`)
    this.exitCode = exitCode
  }
}

/**
 * Makes the functions of WASI preview 1 for one instance: clocks (1 ms), random bytes, standard output (log lines of level
 * info), standard error (warn), an empty standard input, no arguments, no environment, no files and no sockets. What is not
 * there answers with the errno that says so; docs/wasm-wasi.md lists them all.
 */
export function bindWasi(guest: Guest): Wasi {
  const descriptors = descriptorFunctions(guest)
  const nothing = (countAt: number, bytesAt: number) => {
    guest.charge(20)
    guest.memory.writeU32(countAt, 0)
    guest.memory.writeU32(bytesAt, 0)
    return ERRNO.SUCCESS
  }
  const succeed = () => {
    guest.charge(20)
    return ERRNO.SUCCESS
  }
  return {
    functions: {
      ...descriptors.functions,
      args_sizes_get: nothing,
      args_get: succeed,
      environ_sizes_get: nothing,
      environ_get: succeed,
      clock_res_get(id: number, out: number) {
        guest.charge(20)
        if (clockNanoseconds(guest, id) === null) return ERRNO.INVAL
        guest.memory.writeU64(out, NANOSECONDS_PER_MS)
        return ERRNO.SUCCESS
      },
      clock_time_get(id: number, _precision: bigint, out: number) {
        guest.charge(20)
        const now = clockNanoseconds(guest, id)
        if (now === null) return ERRNO.INVAL
        guest.memory.writeU64(out, now)
        return ERRNO.SUCCESS
      },
      random_get(address: number, length: number) {
        const bytes = guest.memory.view(address, length)
        guest.charge(RANDOM_UNITS + 4 * bytes.length)
        randomFillSync(bytes)
        return ERRNO.SUCCESS
      },
      poll_oneoff(subscriptions: number, events: number, count: number, written: number) {
        return poll(guest, subscriptions, events, count >>> 0, written)
      },
      sched_yield: succeed,
      proc_exit(code: number) {
        throw new GuestExit(guest.name, code >>> 0)
      },
      proc_raise() {
        guest.charge(20)
        return ERRNO.NOSYS
      },
    },
    over: descriptors.over,
  }
}
