import { type Manifest, PROGRAM_LIMITS, type programLimits } from "../config/manifest-schema.ts"
import type { Config, PluginConfig } from "../config/schema.ts"
import { HOOK_NAMES, HOOKS, type HookName } from "../hooks.ts"
import type { CallLimits, Limits, ProgramSource } from "../sandbox/sandbox.ts"

type Ceilings = Config["sandbox"]["ceilings"]

/** Everything one plugin may consume. */
export interface PluginLimits {
  readonly sandbox: Limits
  readonly calls: Readonly<Record<HookName, CallLimits>>
  readonly storageBytes: number
  /** Largest body shown to the plugin, decoded. */
  readonly maxBodyBytes: number
  /** What only a program has. */
  readonly program: ProgramLimits
}

export interface ProgramLimits extends Pick<ProgramSource, "cpus" | "pids" | "openFiles" | "fileBytes" | "tmpBytes"> {
  /** What its /data may hold, bytes. */
  readonly dataBytes: number
}

const KIB = 1024
const MIB = 1024 * 1024
const DEFAULT_MAX_BODY_BYTES = MIB
/** A value across the boundary may have this much at least, whatever `max_body` says. */
const MIN_MESSAGE_BYTES = MIB
const DEFAULT_MAX_INSTANCES = 64
/** Enough for an interpreter and a few threads; the units are those of the fields. */
const PROGRAM_DEFAULTS = {
  max_processes: 64,
  max_open_files: 256,
  max_file_mb: 64,
  tmp_mb: 16,
  data_quota_mb: 64,
  cpus: 1,
} as const satisfies Record<keyof typeof programLimits, number>

/** The operator's word, else the manifest's, else the default; never above `[sandbox.ceilings]`. */
export function mergeLimits(manifest: Manifest["sandbox"], config: PluginConfig, ceilings: Ceilings): PluginLimits {
  const { limits } = config
  const maxBodyBytes = capped(limits.max_body ?? manifest.max_body ?? DEFAULT_MAX_BODY_BYTES, ceilings.max_body)
  return {
    sandbox: {
      memoryBytes: capped(limits.max_memory_mb ?? manifest.max_memory_mb, ceilings.max_memory_mb) * MIB,
      messageBytes: manifest.body === "none" ? MIN_MESSAGE_BYTES : Math.max(MIN_MESSAGE_BYTES, maxBodyBytes),
      maxInstances: limits.max_instances ?? DEFAULT_MAX_INSTANCES,
    },
    calls: toCallLimits(manifest, config, ceilings),
    storageBytes: capped(limits.storage_quota_kb ?? manifest.storage_quota_kb, ceilings.storage_quota_kb) * KIB,
    maxBodyBytes,
    program: toProgramLimits(manifest, limits, ceilings),
  }
}

/** What the operator gave to this very plugin in vain, because a ceiling is below it; for warnings. */
export function settingsOverCeilings(name: string, { limits, fuel }: PluginConfig, ceilings: Ceilings): string[] {
  const time = limits.max_time_ms === undefined ? "max_time_secs" : "max_time_ms"
  const rows: [table: string, field: string, value: number | undefined, ceiling: keyof Ceilings][] = [
    ["limits", "max_memory_mb", limits.max_memory_mb, "max_memory_mb"],
    ["limits", "max_cpu_ms", limits.max_cpu_ms, "max_cpu_ms"],
    ["limits", time, timeOf(limits), "max_time_ms"],
    ["limits", "storage_quota_kb", limits.storage_quota_kb, "storage_quota_kb"],
    ["limits", "max_body", limits.max_body, "max_body"],
    ...PROGRAM_LIMITS.map((field): (typeof rows)[number] => ["limits", field, limits[field], field]),
    ...HOOK_NAMES.map((hook): (typeof rows)[number] => ["fuel", hook, fuel[hook], "max_fuel"]),
  ]
  return rows.flatMap(([table, field, value, key]) => {
    const ceiling = ceilings[key]
    if (value === undefined || ceiling === undefined || value <= ceiling) return []
    return [`[plugins.${name}.${table}] ${field} is over [sandbox.ceilings] ${key}: the plugin has ${ceiling}`]
  })
}

function toProgramLimits(
  manifest: Manifest["sandbox"],
  limits: PluginConfig["limits"],
  ceilings: Ceilings,
): ProgramLimits {
  const of = (field: keyof typeof PROGRAM_DEFAULTS) =>
    capped(limits[field] ?? manifest[field] ?? PROGRAM_DEFAULTS[field], ceilings[field])
  return {
    cpus: of("cpus"),
    pids: of("max_processes"),
    openFiles: of("max_open_files"),
    fileBytes: of("max_file_mb") * MIB,
    tmpBytes: of("tmp_mb") * MIB,
    dataBytes: of("data_quota_mb") * MIB,
  }
}

function toCallLimits(
  manifest: Manifest["sandbox"],
  config: PluginConfig,
  ceilings: Ceilings,
): Record<HookName, CallLimits> {
  const wallMs = timeOf(config.limits) ?? timeOf(manifest)
  const cpuMs = config.limits.max_cpu_ms ?? manifest.max_cpu_ms
  const limits: Partial<Record<HookName, CallLimits>> = {}
  for (const hook of HOOK_NAMES) {
    const row = HOOKS[hook]
    const wall = capped(wallMs ?? row.wallMs, ceilings.max_time_ms)
    // A start or a build may compute for long: it happens once, and its failure is seen by who started it.
    const cpu = row.onFailure === "fail" ? row.cpuMs : capped(cpuMs ?? row.cpuMs, ceilings.max_cpu_ms)
    const fuel = capped(config.fuel[hook] ?? row.fuel, ceilings.max_fuel)
    limits[hook] = { cpuMs: Math.min(cpu, wall), wallMs: wall, fuel }
  }
  return limits as Record<HookName, CallLimits>
}

function timeOf(limits: { max_time_ms?: number | undefined; max_time_secs?: number | undefined }): number | undefined {
  if (limits.max_time_ms !== undefined) return limits.max_time_ms
  return limits.max_time_secs === undefined ? undefined : limits.max_time_secs * 1000
}

function capped(value: number, ceiling: number | undefined): number {
  return ceiling === undefined ? value : Math.min(value, ceiling)
}
