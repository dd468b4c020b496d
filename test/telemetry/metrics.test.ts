import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { PluginStatus, ProcessStatus } from "../../src/admin/control.ts"
import { BextError } from "../../src/errors.ts"
import { MetricRegistry } from "../../src/host/metrics.ts"
import { PluginStats } from "../../src/plugins/plugin-stats.ts"
import { MetricLedger, mergeFamilies } from "../../src/telemetry/merge-families.ts"
import type { MetricFamily } from "../../src/telemetry/metric-family.ts"
import { RequestCounters } from "../../src/telemetry/request-counters.ts"
import { controlMetrics, serverMetrics } from "../../src/telemetry/server-metrics.ts"
import { writeMetrics } from "../../src/telemetry/write-metrics.ts"
import { parseMetrics } from "./parse-metrics.ts"

const done = { status: 200, bytes: 10, durationMs: 3, aborted: false }

describe("the metrics of requests", () => {
  it("count by method and status, and measure by status class", () => {
    const requests = new RequestCounters()
    requests.record("GET", done)
    requests.record("GET", { ...done, durationMs: 40_000 })
    requests.record("POST", { ...done, status: 502, aborted: true })
    const text = writeMetrics(requests.families(), "prometheus")
    const families = parseMetrics(text)
    assert.deepEqual(
      [...families.get("bext_http_requests_total")!.samples],
      [
        ['bext_http_requests_total{method="GET",status="200"}', 2],
        ['bext_http_requests_total{method="POST",status="502"}', 1],
      ],
    )
    const durations = families.get("bext_http_request_duration_seconds")!.samples
    assert.equal(durations.get('bext_http_request_duration_seconds_bucket{le="0.0025",status="2xx"}'), 0)
    assert.equal(durations.get('bext_http_request_duration_seconds_bucket{le="0.005",status="2xx"}'), 1)
    assert.equal(durations.get('bext_http_request_duration_seconds_bucket{le="30.0",status="2xx"}'), 1)
    assert.equal(durations.get('bext_http_request_duration_seconds_count{status="2xx"}'), 2)
    assert.equal(durations.get('bext_http_request_duration_seconds_sum{status="2xx"}'), 40.003)
    assert.equal(
      families.get("bext_http_response_body_bytes_total")!.samples.get("bext_http_response_body_bytes_total{}"),
      30,
    )
    assert.equal(
      families.get("bext_http_responses_aborted_total")!.samples.get("bext_http_responses_aborted_total{}"),
      1,
    )
  })

  it("stay bounded whatever methods clients and statuses plugins choose", () => {
    const requests = new RequestCounters()
    for (let status = 100; status < 600; status++) {
      for (const method of ["GET", "PROPFIND", "PURGE", "__proto__", "constructor"]) {
        requests.record(method, { ...done, status })
      }
    }
    const families = parseMetrics(writeMetrics(requests.families(), "prometheus"))
    const { samples } = families.get("bext_http_requests_total")!
    assert.ok(samples.size < 150, String(samples.size))
    assert.equal(samples.get('bext_http_requests_total{method="other",status="200"}'), 4)
    assert.equal(
      [...samples.values()].reduce((sum, value) => sum + value, 0),
      2500,
    )
  })
})

describe("the metrics of a process", () => {
  it("have calls, failures, durations and memory of each plugin", () => {
    const stats = new PluginStats()
    const hook = stats.hook("on_request")
    hook.calls = 3
    hook.busyMs = 12
    for (const durationMs of [0.01, 2, 400_000]) hook.latency.record(durationMs)
    stats.failed("on_request", new BextError("E_LIMIT_CPU", "too slow"))
    const families = parseMetrics(writeMetrics(serverMetrics(parts({ plugins: [plugin("geo", stats)] })), "prometheus"))
    const sample = (name: string, key: string) => families.get(name)!.samples.get(key)
    assert.equal(sample("bext_plugin_calls_total", 'bext_plugin_calls_total{hook="on_request",plugin="geo"}'), 3)
    assert.equal(
      sample(
        "bext_plugin_failures_total",
        'bext_plugin_failures_total{code="E_LIMIT_CPU",hook="on_request",plugin="geo"}',
      ),
      1,
    )
    assert.equal(
      sample("bext_plugin_cpu_seconds_total", 'bext_plugin_cpu_seconds_total{hook="on_request",plugin="geo"}'),
      0.012,
    )
    const duration = (rest: string, le: string) =>
      sample(
        "bext_plugin_call_duration_seconds",
        `bext_plugin_call_duration_seconds_${rest}{hook="on_request",${le}plugin="geo"}`,
      )
    assert.equal(duration("bucket", 'le="0.000008",'), 0)
    assert.equal(duration("bucket", 'le="0.000032",'), 1)
    assert.equal(duration("bucket", 'le="0.002048",'), 2)
    assert.equal(duration("count", ""), 3)
    assert.equal(duration("sum", ""), 400.00201)
    assert.equal(sample("bext_plugin_memory_bytes", 'bext_plugin_memory_bytes{plugin="geo"}'), 1000)
  })

  it("have the fuel of each hook for plugins that are metered, and for no others", () => {
    const [metered, other] = [new PluginStats(), new PluginStats()]
    metered.hook("on_request").fuel = 1234
    metered.hook("cleanup").fuel = 0
    other.hook("on_request").calls = 1
    const plugins = [{ ...plugin("geo", metered), tier: "wasm" as const }, plugin("hello", other)]
    const families = parseMetrics(writeMetrics(serverMetrics(parts({ plugins })), "prometheus"))
    assert.deepEqual(Object.fromEntries(families.get("bext_plugin_fuel_total")!.samples), {
      'bext_plugin_fuel_total{hook="on_request",plugin="geo"}': 1234,
      'bext_plugin_fuel_total{hook="cleanup",plugin="geo"}': 0,
    })
  })

  it("can be read in both formats, empty or not", () => {
    const families = [...serverMetrics(parts({ plugins: [] })), ...controlMetrics(control)]
    const prometheus = parseMetrics(writeMetrics(families, "prometheus"))
    const openmetrics = parseMetrics(writeMetrics(families, "openmetrics"), "openmetrics")
    assert.equal(prometheus.size, openmetrics.size)
    assert.ok(prometheus.has("bext_process_crashes_total") && openmetrics.has("bext_process_crashes"))
  })
})

describe("what plugins measure", () => {
  it("is a summary and the last value, with the plugin as a label", () => {
    const families = parseMetrics(
      guest(({ record }) => {
        record("geo", "lookups", 2, { country: "de" })
        record("geo", "lookups", 3, { country: "de" })
      }),
    )
    assert.deepEqual(
      [...families.get("bext_plugin_geo_lookups")!.samples],
      [
        ['bext_plugin_geo_lookups_sum{country="de",plugin="geo"}', 5],
        ['bext_plugin_geo_lookups_count{country="de",plugin="geo"}', 2],
      ],
    )
    assert.deepEqual(
      [...families.get("bext_plugin_geo_lookups_last")!.samples],
      [['bext_plugin_geo_lookups_last{country="de",plugin="geo"}', 3]],
    )
  })

  it("cannot break the text a scraper reads: quotes, line ends, half surrogates, reserved labels", () => {
    for (const format of ["prometheus", "openmetrics"] as const) {
      const text = guest(({ record }) => {
        record("evil", "a", 1, { x: 'a"} 1\n# EOF\nbext_build_info 7\n' })
        record("evil", "a", 1, { x: "\\" })
        record("evil", "a", 1, { x: "\ud800" })
        record("evil", "b", 1, { le: "0.5", quantile: "x" })
        record("evil", "c", 1, { le: "1", tag_le: "2" })
        record("evil", "d", Number.MAX_VALUE, {})
        record("evil", "d", Number.MAX_VALUE, {})
      }, format)
      const families = parseMetrics(text, format)
      assert.equal(families.get("bext_plugin_evil_a")!.samples.size, 6)
      assert.ok(
        families
          .get("bext_plugin_evil_b")!
          .samples.has('bext_plugin_evil_b_sum{plugin="evil",tag_le="0.5",tag_quantile="x"}'),
      )
      assert.ok(!families.has("bext_plugin_evil_c"))
      assert.equal(
        families.get("bext_plugin_evil_d")!.samples.get('bext_plugin_evil_d_sum{plugin="evil"}'),
        Number.POSITIVE_INFINITY,
      )
      assert.ok(text.isWellFormed())
    }
  })

  it("cannot pass as the server's own, nor as another kind of another plugin's", () => {
    for (const format of ["prometheus", "openmetrics"] as const) {
      const text = guest(({ record }) => {
        record("calls", "total", 99, {})
        record("call", "duration_seconds", 99, {})
        record("call", "duration_seconds_bucket", 99, {})
        record("refused", "calls", 99, {})
        record("mine", "x_last", 1, {})
        record("mine", "x", 1, {})
        record("my-own", "x", 1, {})
        record("my", "own.x", 1, {})
      }, format)
      const families = parseMetrics(text, format)
      assert.equal(families.get("bext_plugin_call_duration_seconds"), undefined)
      assert.doesNotMatch(text, / 99\n/)
      assert.equal(families.get("bext_plugin_mine_x_last")!.type, "summary")
      assert.equal(families.get("bext_plugin_my_own_x_last")!.samples.size, 2)
    }
  })
})

describe("the metrics of programs", () => {
  it("say how they are isolated, how many run, what they use and why they were started again", () => {
    const jailed = {
      ...plugin("score", new PluginStats()),
      tier: "nsjail" as const,
      program: { level: "full" as const, leaderAlone: false, ready: 2, cpuMs: 1500, restarts: { E_LIMIT_MEMORY: 3 } },
    }
    const plugins = [plugin("other", new PluginStats()), jailed]
    const families = parseMetrics(writeMetrics(serverMetrics(parts({ plugins })), "prometheus"))
    const samples = (name: string) => Object.fromEntries(families.get(name)!.samples)
    assert.deepEqual(samples("bext_nsjail_isolation"), { 'bext_nsjail_isolation{level="full"}': 1 })
    assert.deepEqual(samples("bext_nsjail_jails"), { 'bext_nsjail_jails{plugin="score"}': 2 })
    assert.deepEqual(samples("bext_nsjail_cpu_seconds_total"), { 'bext_nsjail_cpu_seconds_total{plugin="score"}': 1.5 })
    assert.deepEqual(samples("bext_nsjail_restarts_total"), {
      'bext_nsjail_restarts_total{plugin="score",reason="E_LIMIT_MEMORY"}': 3,
    })
  })
})

describe("the metrics of several processes", () => {
  it("are added up, kept apart by labels that could run into each other, or the largest is taken", () => {
    const list = (value: number): MetricFamily[] => [
      one("a_total", "counter", "sum", { x: "1,y:2" }, value),
      one("a_total", "counter", "sum", { x: "1", y: "2" }, value * 10),
      one("b", "gauge", "max", {}, value),
      one("c", "gauge", "first", {}, value),
    ]
    const text = writeMetrics(mergeFamilies([list(1), list(2)]), "prometheus")
    const families = parseMetrics(text)
    assert.deepEqual([...families.get("a_total")!.samples.values()], [3, 30])
    assert.deepEqual([...families.get("b")!.samples.values()], [2])
    assert.deepEqual([...families.get("c")!.samples.values()], [1])
  })

  it("keep their order of labels out of it", () => {
    const merged = mergeFamilies([
      [one("a_total", "counter", "sum", { x: "1", y: "2" }, 1)],
      [one("a_total", "counter", "sum", { y: "2", x: "1" }, 1)],
    ])
    assert.deepEqual(
      merged[0]!.values.map(({ value }) => value),
      [2],
    )
  })

  it("do not fall when a process ends or does not answer", () => {
    const ledger = new MetricLedger()
    const counted = (value: number) => [
      one("a_total", "counter", "sum", {}, value),
      one("g", "gauge", "sum", {}, value),
    ]
    const sum = (alive: number[], answers: Record<number, number>) => {
      const lists = Object.entries(answers).map(([pid, value]) => ({ pid: Number(pid), families: counted(value) }))
      for (const { pid, families } of lists) ledger.observe(pid, families)
      const answered = new Set(lists.map(({ pid }) => pid))
      const all = mergeFamilies([...lists.map(({ families }) => families), ledger.absent(answered, new Set(alive))])
      return Object.fromEntries(all.map(({ name, values }) => [name, values[0]!.value]))
    }
    assert.deepEqual(sum([1, 2], { 1: 5, 2: 7 }), { a_total: 12, g: 12 })
    assert.deepEqual(sum([1, 2], { 1: 6 }), { a_total: 13, g: 6 }, "2 did not answer")
    assert.deepEqual(sum([1], { 1: 6 }), { a_total: 13, g: 6 }, "2 is gone")
    assert.deepEqual(sum([1, 3], { 1: 6, 3: 1 }), { a_total: 14, g: 7 }, "3 came instead")
    assert.deepEqual(sum([1], { 1: 6 }), { a_total: 14, g: 6 }, "3 is gone")
    assert.deepEqual(sum([1, 3], { 1: 6, 3: 2 }), { a_total: 16, g: 8 }, "another one got its number")
  })
})

const control = { version: "1", processes: [], lastReload: null }

function one(
  name: string,
  type: MetricFamily["type"],
  aggregator: MetricFamily["aggregator"],
  labels: Record<string, string>,
  value: number,
): MetricFamily {
  return { name, help: "Help", type, aggregator, values: [{ metricName: name, labels, value }] }
}

type Record3 = (plugin: string, name: string, value: number, tags: Record<string, string>) => void

function guest(
  measure: (use: { record: Record3 }) => void,
  format: "prometheus" | "openmetrics" = "prometheus",
): string {
  const registry = new MetricRegistry()
  measure({ record: (plugin, name, value, tags) => registry.plugin(plugin, () => {}).record(name, value, tags) })
  return writeMetrics(serverMetrics({ ...parts({ plugins: [] }), series: registry.snapshot() }), format)
}

function parts({ plugins }: { plugins: PluginStatus[] }) {
  const status: ProcessStatus = {
    pid: 1,
    state: "serving",
    leader: true,
    startedAtMs: 0,
    crashes: 0,
    snapshot: 1,
    retiring: 0,
    connections: 0,
    requestsInFlight: 0,
    websockets: 0,
    rssBytes: 0,
    instances: 0,
    guestMemoryBytes: 0,
    eventLoopDelayMs: 0,
    plugins,
  }
  return { status, requests: new RequestCounters(), series: [] }
}

function plugin(name: string, stats: PluginStats): PluginStatus {
  return {
    name,
    version: "1.0.0",
    tier: "quickjs",
    instance: "shared",
    priority: 600,
    onError: "closed",
    hooks: ["on_request"],
    isolation: "",
    program: null,
    path: "",
    lane: { now: "inline", wanted: "auto", share: 0.1, used: 0, reason: null, movedAtMs: null, waiting: 0 },
    quarantine: null,
    limits: { memoryBytes: 0, calls: {} },
    permissions: {},
    stats: stats.snapshot(),
    memoryBytes: 1000,
    instances: 1,
    evictions: 0,
    generation: 0,
  }
}
