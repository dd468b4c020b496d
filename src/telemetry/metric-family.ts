/**
 * One metric with its samples, as plain data: what a process answers when asked for metrics. The shape is the one
 * prom-client's aggregator adds up. Names and units follow Prometheus' naming practice: `bext_…_total`, `…_seconds`, `…_bytes`.
 */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge" | "histogram"
  /** How the values of several processes become one. */
  readonly aggregator: "sum" | "max" | "first"
  readonly values: readonly MetricValue[]
}

export interface MetricValue {
  /** Histograms: NAME_bucket (label `le`), NAME_sum or NAME_count. Otherwise the family's name. */
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}
