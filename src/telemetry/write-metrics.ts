import type { MetricFamily, MetricValue } from "./metric-family.ts"

export type MetricFormat = "prometheus" | "openmetrics"

/** Media types as scrapers expect them. */
export const METRIC_TYPES: Readonly<Record<MetricFormat, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

/**
 * The families as text for a scraper.
 *
 * Written here and not by prom-client: what that adds up from several processes names counters `x_total_total` in
 * OpenMetrics, and it tells series apart by labels joined with commas, which guests may write into a label.
 * Source: Prometheus exposition formats, "Text-based format" 0.0.4; OpenMetrics 1.0.
 */
export function writeMetrics(families: readonly MetricFamily[], format: MetricFormat): string {
  const parts: string[] = []
  for (const { name, help, type, values } of families) {
    if (values.length === 0) continue
    const family = format === "openmetrics" && type === "counter" ? name.replace(/_total$/, "") : name
    parts.push(`# HELP ${family} ${escapeHelp(help, format)}\n# TYPE ${family} ${type}\n`)
    for (const value of values) parts.push(toLine(value))
  }
  if (format === "openmetrics") parts.push("# EOF\n")
  return parts.join("")
}

function toLine({ metricName, labels, value }: MetricValue): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
  return `${metricName}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${toNumber(value)}\n`
}

function toNumber(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf"
}

function escapeLabel(text: string): string {
  return escapeHelp(text, "openmetrics")
}

/** OpenMetrics wants quotes escaped in help too. */
function escapeHelp(text: string, format: MetricFormat): string {
  const escaped = text.toWellFormed().replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
  return format === "openmetrics" ? escaped.replaceAll('"', '\\"') : escaped
}
