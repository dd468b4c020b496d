import type { MetricFamily } from "./metric-family.ts"
import type { SpanCounts } from "./span-queue.ts"

/** What became of the trace spans of one process. */
export function traceMetrics({ exported, dropped }: SpanCounts): MetricFamily[] {
  return [
    counter("bext_trace_spans_exported_total", "Trace spans that the collector took", exported),
    counter("bext_trace_spans_dropped_total", "Trace spans that were lost: the collector cannot keep up", dropped),
  ]
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", aggregator: "sum", values: [{ metricName: name, labels: {}, value }] }
}
