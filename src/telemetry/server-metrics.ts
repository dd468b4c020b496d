import type { PluginStatus, ProcessStatus, ServerStatus } from "../admin/control.ts"
import type { Series } from "../host/metrics.ts"
import type { HookStatsSnapshot, LatencyBucket } from "../plugins/plugin-stats.ts"
import { guestMetrics } from "./guest-metrics.ts"
import type { MetricFamily, MetricValue } from "./metric-family.ts"
import { type RequestCounters, toHistogram } from "./request-counters.ts"

export interface ProcessParts {
  readonly status: ProcessStatus
  readonly requests: RequestCounters
  /** What plugins measured: `host.metrics.snapshot()`. */
  readonly series: readonly Series[]
}

/** All metrics of one serving process, gathered when asked for. */
export function serverMetrics({ status, requests, series }: ProcessParts): MetricFamily[] {
  const { plugins } = status
  const own = [
    ...requests.families(),
    ...processFamilies(status),
    ...pluginFamilies(plugins),
    ...programFamilies(plugins),
    ...hookFamilies(plugins),
  ]
  const reserved = new Set([...own, ...controlMetrics(NO_CONTROL)].map(({ name }) => name))
  return [...own, ...guestMetrics(series, reserved)]
}

/** What no single process knows; goes beside the sum of the processes. */
export function controlMetrics(status: Pick<ServerStatus, "version" | "processes" | "lastReload">): MetricFamily[] {
  const { version, processes, lastReload } = status
  const states = ["starting", "serving", "draining", "unresponsive"] as const
  const crashes = processes.reduce((sum, one) => sum + one.crashes, 0)
  return [
    family("bext_build_info", "gauge", "The version that runs", [[{ version, node: process.versions.node }, 1]]),
    family(
      "bext_processes",
      "gauge",
      "Serving processes by state",
      states.map((state) => [{ state }, processes.filter((one) => one.state === state).length]),
    ),
    counterOf("bext_process_crashes_total", "Processes that ended without being asked to", crashes),
    gauge(
      "bext_snapshot",
      "Number of the snapshot that serves; a reload adds one, new processes begin at 1",
      Math.max(0, ...processes.map((one) => one.snapshot)),
    ),
    gauge("bext_last_reload_successful", "0 when the last reload failed", lastReload?.ok === false ? 0 : 1),
    gauge("bext_last_reload_timestamp_seconds", "When it was; 0 when there was none", (lastReload?.atMs ?? 0) / 1000),
  ]
}

const NO_CONTROL = { version: "", processes: [], lastReload: null }

type Row = readonly [labels: Readonly<Record<string, string>>, value: number]

function processFamilies(status: ProcessStatus): MetricFamily[] {
  const { user, system } = process.cpuUsage()
  return [
    gauge("bext_http_connections", "Open connections", status.connections),
    gauge("bext_http_requests_in_flight", "Requests that are being answered", status.requestsInFlight),
    gauge("bext_websockets", "Open websockets", status.websockets),
    gauge("bext_snapshots_retiring", "Replaced snapshots that still finish requests", status.retiring),
    gauge("bext_sandbox_instances", "Instances of plugins", status.instances),
    gauge("bext_sandbox_memory_bytes", "Memory of plugins' instances", status.guestMemoryBytes),
    gauge("bext_resident_memory_bytes", "Resident memory of the serving processes", status.rssBytes),
    counterOf("bext_cpu_seconds_total", "CPU time of the serving processes", (user + system) / 1e6),
    {
      ...gauge(
        "bext_event_loop_delay_seconds",
        "Mean delay over the last second, of the process where it is longest",
        status.eventLoopDelayMs / 1000,
      ),
      aggregator: "max",
    },
  ]
}

function pluginFamilies(plugins: readonly PluginStatus[]): MetricFamily[] {
  const rows = (value: (plugin: PluginStatus) => number): Row[] =>
    plugins.map((plugin) => [{ plugin: plugin.name }, value(plugin)])
  const largest = { aggregator: "max" } as const
  return [
    {
      ...family(
        "bext_plugin_info",
        "gauge",
        "Plugins that are loaded",
        plugins.map(({ name, version, tier, instance }) => [{ plugin: name, version, tier, instance }, 1]),
      ),
      aggregator: "first",
    },
    family(
      "bext_plugin_memory_bytes",
      "gauge",
      "Memory of its instances",
      rows((plugin) => plugin.memoryBytes),
    ),
    family(
      "bext_plugin_instances",
      "gauge",
      "Its instances",
      rows((plugin) => plugin.instances),
    ),
    family(
      "bext_plugin_evictions_total",
      "counter",
      "Instances given up for others",
      rows((plugin) => plugin.evictions),
    ),
    family(
      "bext_plugin_worker_lanes",
      "gauge",
      "Processes in which it runs on a worker thread",
      rows(({ lane }) => (lane.now === "worker" ? 1 : 0)),
    ),
    family(
      "bext_plugin_waiting_calls",
      "gauge",
      "Calls that wait for its lane",
      rows(({ lane }) => lane.waiting),
    ),
    {
      ...family(
        "bext_plugin_cpu_share_ratio",
        "gauge",
        "What it used of a thread over the last second, in the process where that is most",
        rows(({ lane }) => lane.used),
      ),
      ...largest,
    },
    {
      ...family(
        "bext_plugin_quarantined",
        "gauge",
        "1 when it is out of service",
        rows(({ quarantine }) => (quarantine === null ? 0 : 1)),
      ),
      ...largest,
    },
    family(
      "bext_plugin_refused_calls_total",
      "counter",
      "Calls that were not made because it was out of service",
      rows(({ stats }) => stats.refusedCalls),
    ),
    family(
      "bext_plugin_dropped_events_total",
      "counter",
      "Events thrown away because it could not keep up",
      rows(({ stats }) => stats.droppedEvents),
    ),
    family(
      "bext_plugin_skipped_bodies_total",
      "counter",
      "Requests that went on without it because their body was over its max_body",
      rows(({ stats }) => stats.skippedBodies),
    ),
  ]
}

/** Their memory and the number of their processes are those of any plugin's instances. */
function programFamilies(plugins: readonly PluginStatus[]): MetricFamily[] {
  const programs = plugins.flatMap(({ name, program }) => (program === null ? [] : [{ ...program, plugin: name }]))
  const level = programs[0]?.level
  return [
    {
      ...family(
        "bext_nsjail_isolation",
        "gauge",
        "What keeps plugins that are programs apart from this machine",
        level === undefined ? [] : [[{ level }, 1]],
      ),
      aggregator: "max",
    },
    family(
      "bext_nsjail_jails",
      "gauge",
      "Processes of a program that are ready for calls",
      programs.map(({ plugin, ready }) => [{ plugin }, ready]),
    ),
    family(
      "bext_nsjail_cpu_seconds_total",
      "counter",
      "CPU time of a program's processes",
      programs.map(({ plugin, cpuMs }) => [{ plugin }, cpuMs / 1000]),
    ),
    family(
      "bext_nsjail_restarts_total",
      "counter",
      "Processes of a program that ended and were started again, by error code",
      programs.flatMap(({ plugin, restarts }) =>
        Object.entries(restarts).map(([reason, count]): Row => [{ plugin, reason }, count]),
      ),
    ),
  ]
}

function hookFamilies(plugins: readonly PluginStatus[]): MetricFamily[] {
  const calls: Row[] = []
  const cpu: Row[] = []
  const fuel: Row[] = []
  const failures: Row[] = []
  const durations: MetricValue[] = []
  for (const { name: plugin, tier, stats } of plugins) {
    for (const [hook, counts] of Object.entries(stats.hooks)) {
      const labels = { plugin, hook }
      calls.push([labels, counts.calls])
      cpu.push([labels, counts.busyMs / 1000])
      if (tier === "wasm") fuel.push([labels, counts.fuel])
      for (const [code, count] of Object.entries(counts.failures)) failures.push([{ ...labels, code }, count])
      durations.push(...callDurations(labels, counts))
    }
  }
  return [
    family("bext_plugin_calls_total", "counter", "Calls of a plugin's hook", calls),
    family("bext_plugin_failures_total", "counter", "Calls that failed, by error code", failures),
    family("bext_plugin_cpu_seconds_total", "counter", "Time on the thread that runs the guest", cpu),
    family("bext_plugin_fuel_total", "counter", "Fuel that its calls used, in units of about one instruction", fuel),
    {
      name: "bext_plugin_call_duration_seconds",
      help: "From entry to the end of a call, waits included",
      type: "histogram",
      aggregator: "sum",
      values: durations,
    },
  ]
}

/** Microseconds: 8 µs to 34 s in steps of four. Each is a bound of `LatencyHistogram` too, so that nothing is guessed. */
const CALL_BOUNDS_US = Array.from({ length: 12 }, (_, index) => 8 * 4 ** index)
const CALL_BOUNDS = CALL_BOUNDS_US.map((bound) => bound / 1e6)

function callDurations(labels: Readonly<Record<string, string>>, counts: HookStatsSnapshot): MetricValue[] {
  const buckets = new Float64Array(CALL_BOUNDS_US.length + 1)
  for (const { belowUs, count } of counts.latency) buckets[bucketOf(belowUs)]! += count
  return toHistogram("bext_plugin_call_duration_seconds", labels, CALL_BOUNDS, buckets, counts.latencySumMs / 1000)
}

function bucketOf(belowUs: LatencyBucket["belowUs"]): number {
  const index = CALL_BOUNDS_US.findIndex((bound) => belowUs <= bound)
  return index === -1 ? CALL_BOUNDS_US.length : index
}

function family(name: string, type: "counter" | "gauge", help: string, rows: readonly Row[]): MetricFamily {
  const values = rows.map(([labels, value]) => ({ metricName: name, labels, value }))
  return { name, help, type, aggregator: "sum", values }
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return family(name, "gauge", help, [[{}, value]])
}

function counterOf(name: string, help: string, value: number): MetricFamily {
  return family(name, "counter", help, [[{}, value]])
}
