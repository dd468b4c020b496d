import type { HookName } from "../hooks.ts"
import type { LastError, LatencyBucket } from "../plugins/plugin-stats.ts"
import type { LaneStatus, PluginStatus, ProcessStatus } from "./control.ts"

/** One plugin in all processes together. */
export interface PluginSummary
  extends Pick<
    PluginStatus,
    "name" | "version" | "tier" | "instance" | "priority" | "onError" | "hooks" | "isolation" | "path"
  > {
  /** "mixed": on a worker thread in some processes only. */
  readonly lane: LaneStatus["now"] | "mixed"
  readonly program: PluginStatus["program"]
  readonly quarantine: PluginStatus["quarantine"]
  readonly calls: number
  /** Failed calls by error code. */
  readonly failures: Readonly<Record<string, number>>
  /** Milliseconds half, or 99 of 100, of the calls of middleware hooks took at most; null when there was none. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  readonly refusedCalls: number
  readonly lastError: LastError | null
  readonly memoryBytes: number
  readonly instances: number
  readonly evictions: number
}

/** Adds up each plugin over the processes, in the order of the stack. */
export function summarisePlugins(processes: readonly ProcessStatus[]): PluginSummary[] {
  const byName = new Map<string, PluginStatus[]>()
  for (const { plugins } of processes) {
    for (const plugin of plugins) {
      const present = byName.get(plugin.name)
      if (present === undefined) byName.set(plugin.name, [plugin])
      else present.push(plugin)
    }
  }
  return Array.from(byName.values(), summarise)
}

function summarise(parts: readonly PluginStatus[]): PluginSummary {
  const { name, version, tier, instance, priority, onError, isolation, path } = parts[0]!
  const lanes = new Set(parts.map(({ lane }) => lane.now))
  const stats = parts.map((part) => part.stats)
  const hookStats = stats.flatMap((part) => Object.entries(part.hooks))
  const latency = hookStats.filter(([hook]) => MIDDLEWARE.has(hook)).flatMap(([, { latency }]) => latency)
  const failures = new Map<string, number>()
  for (const [code, count] of hookStats.flatMap(([, hook]) => Object.entries(hook.failures))) {
    failures.set(code, (failures.get(code) ?? 0) + count)
  }
  return {
    name,
    version,
    tier,
    instance,
    priority,
    onError,
    // One that runs in the process that leads has none in the others.
    hooks: [...new Set(parts.flatMap(({ hooks }) => hooks))],
    isolation,
    path,
    program: summariseProgram(parts),
    lane: lanes.size > 1 ? "mixed" : parts[0]!.lane.now,
    quarantine: parts.find(({ quarantine }) => quarantine !== null)?.quarantine ?? null,
    calls: sum(hookStats, ([, { calls }]) => calls),
    failures: Object.fromEntries(failures),
    p50Ms: quantile(latency, 0.5),
    p99Ms: quantile(latency, 0.99),
    refusedCalls: sum(stats, ({ refusedCalls }) => refusedCalls),
    lastError: latest(stats.map(({ lastError }) => lastError)),
    memoryBytes: sum(parts, ({ memoryBytes }) => memoryBytes),
    instances: sum(parts, ({ instances }) => instances),
    evictions: sum(parts, ({ evictions }) => evictions),
  }
}

function summariseProgram(parts: readonly PluginStatus[]): PluginStatus["program"] {
  const programs = parts.map(({ program }) => program).filter((program) => program !== null)
  const [first] = programs
  if (first === undefined) return null
  const restarts = new Map<string, number>()
  for (const [code, count] of programs.flatMap((program) => Object.entries(program.restarts))) {
    restarts.set(code, (restarts.get(code) ?? 0) + count)
  }
  return {
    level: first.level,
    leaderAlone: first.leaderAlone,
    ready: sum(programs, ({ ready }) => ready),
    cpuMs: sum(programs, ({ cpuMs }) => cpuMs),
    restarts: Object.fromEntries(restarts),
  }
}

const MIDDLEWARE: ReadonlySet<string> = new Set<HookName>(["on_request", "on_response"])

/** The upper bound of the bucket the quantile is in. */
function quantile(buckets: readonly LatencyBucket[], share: number): number | null {
  const sorted = [...buckets].sort((a, b) => a.belowUs - b.belowUs)
  const total = sum(sorted, ({ count }) => count)
  let seen = 0
  for (const { belowUs, count } of sorted) {
    seen += count
    if (seen >= total * share) return belowUs / 1000
  }
  return null
}

function latest(errors: readonly (LastError | null)[]): LastError | null {
  return errors.reduce((last, error) => (error !== null && error.atMs > (last?.atMs ?? 0) ? error : last), null)
}

function sum<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((total, item) => total + value(item), 0)
}
