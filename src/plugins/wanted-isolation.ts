import type { Config } from "../config/schema.ts"
import { PluginError } from "../errors.ts"
import type { Isolation, IsolationLevel } from "../sandbox/sandbox.ts"

/** What must at least stand between a plugin's program and this machine. */
export interface WantedIsolation {
  readonly level: IsolationLevel
  /** Whether the configuration says so, for this plugin or for all. */
  readonly written: boolean
}

const ORDER: readonly IsolationLevel[] = ["process", "namespaces", "full"]

/** @param local - The plugin is a folder of this project: whoever wrote it runs it. */
export function wantedIsolation(config: Config, name: string, local: boolean): WantedIsolation {
  const level = config.plugins[name]!.min_isolation ?? config.sandbox.nsjail.min_isolation
  if (level !== undefined) return { level, written: true }
  return { level: local ? "process" : "namespaces", written: false }
}

/** @throws {PluginError} `E_ISOLATION` with what is missing and the line that does without. */
export function checkIsolation(name: string, wanted: WantedIsolation, isolation: Isolation): void {
  const { level, missing, refused } = isolation
  const lower = `[plugins.${name}] min_isolation = "${level}"`
  const trust = "for code that you trust with everything its user can read and reach, write"
  if (ORDER.indexOf(level) < ORDER.indexOf(wanted.level)) {
    const what = `needs the isolation level ${wanted.level}, and this machine offers ${level}: ${listOf(missing)}`
    const instead = level === "process" ? trust : "or do without it:"
    throw new PluginError("E_ISOLATION", name, `${what}. Install or allow what is missing; ${instead} ${lower}`)
  }
  // Somebody who gave this server root did not mean to give it to each program of it: that takes a line of its own.
  if (refused !== null && level === "process" && !wanted.written) {
    throw new PluginError("E_ISOLATION", name, `is not started: ${refused}. Install it; or, ${trust} ${lower}`)
  }
}

/** What a person has to know who runs a program that nothing isolates. */
export function describeUnisolated(name: string, { missing }: Isolation): string {
  return `${name} RUNS WITHOUT ISOLATION, as an ordinary process with resource limits: it can read what its user can, and use the network. ${listOf(missing)}`
}

function listOf(missing: readonly string[]): string {
  return missing.length === 0 ? "the reason is not known" : missing.join("; ")
}
