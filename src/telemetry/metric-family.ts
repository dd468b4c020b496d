/**
 * One metric with its samples, as plain data: what a process answers when asked for metrics. Names and units follow Prometheus' naming practice: `bext_…_total`, `…_seconds`, `…_bytes`.
 */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  /** A summary has a sum and a count, no quantiles: those of several processes cannot be added up. */
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  /** How the values of several processes become one. */
  readonly aggregator: "sum" | "max" | "first"
  readonly values: readonly MetricValue[]
}

export interface MetricValue {
  /** NAME_bucket (histograms, label `le`), NAME_sum, NAME_count; for counters and gauges the family's name. */
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}
