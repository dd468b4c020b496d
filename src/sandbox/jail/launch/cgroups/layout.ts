import type { CgroupLimits } from "./cgroups.ts"

/** Where one group's files are, and how its limits are written: what differs between version 1 and 2. */
export interface Layout {
  /** One for each hierarchy; made from first to last. */
  readonly folders: readonly string[]
  readonly joinFiles: readonly string[]
  /** Its first number is the CPU time used. */
  readonly cpuFile: string
  readonly cpuUnitsPerMs: number
  readonly memoryFile: string
  readonly peakFile: string
  /** Has a line `oom_kill N`. */
  readonly memoryEventsFile: string
  /** Has a line `max N`. */
  readonly pidsEventsFile: string
  writeLimits(limits: CgroupLimits): void
  writeCpus(cpus: number): void
}

/** Source: Documentation/scheduler/sched-bwc.rst: default period, and the smallest quota. */
const PERIOD_US = 100_000
const SMALLEST_QUOTA_US = 1_000

/** @returns `[quota, period]` in µs. */
export function cpuQuota(cpus: number): readonly [quota: number, period: number] {
  if (!(cpus > 0)) throw new RangeError(`cpus is ${cpus}, and has to be above 0`)
  return [Math.max(SMALLEST_QUOTA_US, Math.round(cpus * PERIOD_US)), PERIOD_US]
}
