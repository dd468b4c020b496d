import { fingerprint } from "../config/fingerprint.ts"
import type { Config } from "../config/schema.ts"
import type { ProcessField } from "../processes/server-process.ts"

const PROCESS_FIELDS: readonly ProcessField[] = [
  "server",
  "log",
  "state",
  "admin",
  "sandbox.max_instances",
  "sandbox.max_guest_memory_mb",
]
/** Inside those, and yet each snapshot has its own; how many processes there are is the supervisor's alone. */
const SNAPSHOT_FIELDS: ReadonlySet<string> = new Set(["log.access", "server.processes"])

/**
 * The fields that differ and that a snapshot cannot change: they belong to the process or its sockets.
 * @returns Dotted names, e.g. "server.limits.body".
 */
export function changedProcessFields(old: Config, next: Config): readonly string[] {
  return PROCESS_FIELDS.flatMap((name) => changedFields(name, valueAt(old, name), valueAt(next, name))).filter(
    (name) => !SNAPSHOT_FIELDS.has(name),
  )
}

function valueAt(config: Config, name: string): unknown {
  return name.split(".").reduce<unknown>((at, key) => (isTable(at) ? at[key] : undefined), config)
}

function changedFields(name: string, old: unknown, next: unknown): string[] {
  if (fingerprint(old) === fingerprint(next)) return []
  if (!isTable(old) || !isTable(next)) return [name]
  const keys = new Set([...Object.keys(old), ...Object.keys(next)])
  return [...keys].flatMap((key) => changedFields(`${name}.${key}`, old[key], next[key]))
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
