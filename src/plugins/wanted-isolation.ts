import type { Config } from "../config/schema.ts"
import { PluginError } from "../errors.ts"
import type { Isolation, IsolationLevel } from "../sandbox/sandbox.ts"

const ORDER: readonly IsolationLevel[] = ["process", "namespaces", "full"]

/**
 * What must at least stand between a plugin's program and this machine: the operator's word for it, or for all.
 * @param local - The plugin is a folder of this project: whoever wrote it runs it.
 */
export function wantedIsolation(config: Config, name: string, local: boolean): IsolationLevel {
  return (
    config.plugins[name]?.min_isolation ?? config.sandbox.nsjail.min_isolation ?? (local ? "process" : "namespaces")
  )
}

/** @throws {PluginError} `E_ISOLATION` with what is missing and, where there is one, the line that does without. */
export function checkIsolation(name: string, wanted: IsolationLevel, { level, missing, refused }: Isolation): void {
  if (refused !== null) {
    const what = `${refused}. Started by another user than root, bext runs it with min_isolation = "process"`
    throw new PluginError("E_ISOLATION", name, what)
  }
  if (ORDER.indexOf(level) >= ORDER.indexOf(wanted)) return
  const trust =
    level === "process" ? "for code that you trust with everything its user can read and reach" : "to do without it"
  const lower = `${trust}, write [plugins.${name}] min_isolation = "${level}"`
  const what = `needs the isolation level ${wanted}, and this machine offers ${level}: ${listOf(missing)}`
  throw new PluginError("E_ISOLATION", name, `${what}. Install or allow what is missing; or, ${lower}`)
}

/** What a person has to know who runs a program that nothing isolates. */
export function describeUnisolated(name: string): string {
  return `${name} RUNS WITHOUT ISOLATION, as an ordinary process with resource limits: it can read what its user can, and use the network. bext doctor says what to do about it`
}

function listOf(missing: readonly string[]): string {
  return missing.length === 0 ? "the reason is not known" : missing.join("; ")
}
