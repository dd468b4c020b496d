import type { QueueMetrics } from "../plugins/queue-consumers.ts"
import type { MetricFamily } from "./metric-family.ts"

/** The metrics of the queues, as one process sees them. What is of the whole queue, every process says alike. */
export function queueMetrics(queues: readonly QueueMetrics[]): MetricFamily[] {
  const known = queues.filter(({ depth }) => depth !== null)
  const counter = (name: string, help: string, value: (queue: QueueMetrics) => number): MetricFamily => ({
    name,
    help,
    type: "counter",
    aggregator: "sum",
    values: queues.map((queue) => ({ metricName: name, labels: { queue: queue.queue }, value: value(queue) })),
  })
  const gauge = (
    name: string,
    help: string,
    value: (depth: NonNullable<QueueMetrics["depth"]>) => number,
  ): MetricFamily => ({
    name,
    help,
    type: "gauge",
    aggregator: "max",
    values: known.map(({ queue, depth }) => ({ metricName: name, labels: { queue }, value: value(depth!) })),
  })
  const nowMs = Date.now()
  const age = ({ oldestAtMs }: { readonly oldestAtMs: number | null }) =>
    oldestAtMs === null ? 0 : Math.max(0, nowMs - oldestAtMs) / 1000
  return [
    counter("bext_queue_delivered_total", "Messages that were handled", ({ delivered }) => delivered),
    counter("bext_queue_failed_total", "Deliveries that failed", ({ failed }) => failed),
    counter("bext_queue_dead_total", "Messages that became dead letters", ({ dead }) => dead),
    counter("bext_queue_leases_lost_total", "Deliveries that took longer than their lease", ({ lost }) => lost),
    gauge("bext_queue_messages", "Messages that are not handled yet", ({ messages }) => messages),
    gauge("bext_queue_dead_letters", "Dead letters", ({ dead }) => dead),
    gauge("bext_queue_oldest_age_seconds", "Age of the oldest message that is not handled yet", age),
  ]
}
