import type { BextError, ErrorCode } from "../errors.ts"
import type { HookName } from "../hooks.ts"
import { guestStack, printableLines } from "./guest-text.ts"

/** What one plugin has done since it was loaded. */
export class PluginStats {
  readonly #hooks = new Map<HookName, HookStats>()
  /** Requests that went on without the plugin because their body was over its `max_body`. */
  skippedBodies = 0
  /** Events thrown away because the plugin could not keep up. */
  droppedEvents = 0
  /** Calls that were not made because the plugin was in quarantine. */
  refusedCalls = 0
  lastError: LastError | null = null

  hook(name: HookName): HookStats {
    let stats = this.#hooks.get(name)
    if (stats === undefined) {
      stats = new HookStats()
      this.#hooks.set(name, stats)
    }
    return stats
  }

  failed(hook: HookName, error: BextError): void {
    const { failures } = this.hook(hook)
    failures.set(error.code, (failures.get(error.code) ?? 0) + 1)
    this.lastError = {
      atMs: Date.now(),
      hook,
      code: error.code,
      message: printableLines(error.message),
      stack: guestStack(error),
    }
  }

  /** Plain data, for the log, the admin listener and tests. */
  snapshot(): PluginStatsSnapshot {
    const hooks: Record<string, HookStatsSnapshot> = {}
    for (const [name, stats] of this.#hooks) hooks[name] = stats.snapshot()
    return {
      hooks,
      skippedBodies: this.skippedBodies,
      droppedEvents: this.droppedEvents,
      refusedCalls: this.refusedCalls,
      lastError: this.lastError,
    }
  }
}

export interface LastError {
  /** Epoch milliseconds. */
  readonly atMs: number
  readonly hook: HookName
  readonly code: ErrorCode
  readonly message: string
  /** The guest's own stack when it has one; undefined when the message says all. */
  readonly stack: string | undefined
}

export interface PluginStatsSnapshot {
  readonly hooks: Readonly<Record<string, HookStatsSnapshot>>
  readonly skippedBodies: number
  readonly droppedEvents: number
  readonly refusedCalls: number
  readonly lastError: LastError | null
}

export interface HookStatsSnapshot {
  readonly calls: number
  readonly failures: Readonly<Record<string, number>>
  /** Milliseconds on the serving thread, entry to first wait. */
  readonly busyMs: number
  /** Units of fuel all calls used; 0 in a tier that does not count. */
  readonly fuel: number
  readonly latency: readonly LatencyBucket[]
  /** Milliseconds of all calls together, waits included. */
  readonly latencySumMs: number
}

export class HookStats {
  calls = 0
  busyMs = 0
  fuel = 0
  readonly failures = new Map<ErrorCode, number>()
  readonly latency = new LatencyHistogram()

  snapshot(): HookStatsSnapshot {
    return {
      calls: this.calls,
      failures: Object.fromEntries(this.failures),
      busyMs: this.busyMs,
      fuel: this.fuel,
      latency: this.latency.buckets(),
      latencySumMs: this.latency.sumMs,
    }
  }
}

export interface LatencyBucket {
  /** Microseconds; the bucket holds what took less than this, and at least as much as the bucket before. */
  readonly belowUs: number
  readonly count: number
}

const TICKS_PER_US = 4
const BUCKETS = 64

/** Durations on a logarithmic scale, two buckets for each doubling, from a quarter of a microsecond to minutes. */
export class LatencyHistogram {
  sumMs = 0
  readonly #counts = new Uint32Array(BUCKETS)

  record(durationMs: number): void {
    this.sumMs += durationMs
    const ticks = Math.min(durationMs * 1000 * TICKS_PER_US, 0x7fffffff) | 0
    const exponent = 31 - Math.clz32(ticks | 1)
    const upperHalf = exponent === 0 ? 0 : (ticks >> (exponent - 1)) & 1
    this.#counts[2 * exponent + upperHalf]!++
  }

  /** The buckets that hold something, shortest first. */
  buckets(): LatencyBucket[] {
    const filled: LatencyBucket[] = []
    for (let index = 0; index < BUCKETS; index++) {
      const count = this.#counts[index]!
      if (count > 0) filled.push({ belowUs: upperBoundUs(index), count })
    }
    return filled
  }
}

function upperBoundUs(index: number): number {
  const power = 2 ** (index >> 1)
  return (index % 2 === 0 && index > 0 ? power * 1.5 : power * 2) / TICKS_PER_US
}
