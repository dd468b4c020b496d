import type { Logger } from "pino"
import type { Isolation, IsolationLevel } from "../sandbox/sandbox.ts"

/** What each level stands for, in words. */
export const LEVELS: Readonly<Record<IsolationLevel, string>> = {
  full: "namespaces, a system-call filter and cgroups",
  namespaces: "namespaces and a system-call filter, without cgroups",
  process: "no isolation but resource limits",
}

/** Tells the operator what the programs of this server are kept apart by. */
export function logIsolation(logger: Logger, { level, cgroups, missing, root }: Isolation): void {
  const fields = { isolation: level, cgroups, root, missing: missing.length === 0 ? undefined : missing }
  const what = `isolation of programs: ${level} (${LEVELS[level]})`
  if (level === "full") logger.info(fields, `${what}, cgroups ${cgroups}`)
  else logger.warn(fields, `${what}: ${missing.join("; ")}`)
}
