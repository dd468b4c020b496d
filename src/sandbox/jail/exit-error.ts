import { constants } from "node:os"
import { PluginError } from "../../errors.ts"
import type { JailExit } from "./launcher.ts"

/** Why a process ended that nobody had asked to. */
export function exitError(plugin: string, exit: JailExit): PluginError {
  if (exit.outOfMemory) return new PluginError("E_LIMIT_MEMORY", plugin, "its process used more memory than it may")
  const signal = signalOf(exit)
  const how = signal === null ? `with status ${exit.code}` : `by ${signal}`
  return new PluginError("E_GUEST_CRASHED", plugin, `its process ended ${how}`)
}

const SIGNALS = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/** Inside a jail its first process sees the signal; outside it is a status above 128. Source: sh(1). */
function signalOf({ code, signal }: JailExit): string | null {
  return signal ?? (code === null ? null : (SIGNALS.get(code - 128) ?? null))
}
