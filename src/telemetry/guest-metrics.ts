import type { Series } from "../host/metrics.ts"
import type { MetricFamily, MetricValue } from "./metric-family.ts"

/** Labels with a meaning in the format itself: a guest's would make the whole text unreadable to a scraper. */
const RESERVED_LABEL = /^(le|quantile)$/

/**
 * What plugins measured: for each metric a summary (NAME_sum, NAME_count) and the last value as the gauge NAME_last.
 * @param taken - Names of the server's own families. A metric that would be mistaken for one of them, or for one of
 *   another kind, is left out.
 */
export function guestMetrics(series: readonly Series[], taken: ReadonlySet<string>): MetricFamily[] {
  const families = new Map<string, { family: MetricFamily; values: MetricValue[] }>()
  for (const { name, tags, count, sum, last } of series) {
    const summary = open(families, name, "summary", taken)
    const gauge = open(families, `${name}_last`, "gauge", taken)
    const labels = toLabels(tags)
    if (summary === undefined || gauge === undefined || labels === undefined) continue
    summary.push({ metricName: `${name}_sum`, labels, value: sum })
    summary.push({ metricName: `${name}_count`, labels, value: count })
    gauge.push({ metricName: `${name}_last`, labels, value: last })
  }
  return Array.from(families.values(), ({ family, values }) => ({ ...family, values }))
}

function open(
  families: Map<string, { family: MetricFamily; values: MetricValue[] }>,
  name: string,
  type: "summary" | "gauge",
  taken: ReadonlySet<string>,
): MetricValue[] | undefined {
  if (isTaken(name, taken)) return undefined
  let entry = families.get(name)
  if (entry === undefined) {
    const help = type === "gauge" ? "Last value; the largest of all processes" : "Measured by a plugin"
    entry = { family: { name, help, type, aggregator: type === "gauge" ? "max" : "sum", values: [] }, values: [] }
    families.set(name, entry)
  }
  return entry.family.type === type ? entry.values : undefined
}

/** Also by a sample of a family, such as NAME_bucket of a histogram. */
function isTaken(name: string, taken: ReadonlySet<string>): boolean {
  return [name, `${name}_total`, `${name}_sum`, `${name}_count`, name.replace(/_(bucket|sum|count|total)$/, "")].some(
    (text) => taken.has(text),
  )
}

/** @returns undefined when renaming a reserved label makes two of one name. */
function toLabels(tags: Series["tags"]): Record<string, string> | undefined {
  const pairs = Object.entries(tags).map(
    ([tag, text]) => [RESERVED_LABEL.test(tag) ? `tag_${tag}` : tag, text] as const,
  )
  const labels = Object.fromEntries(pairs)
  return Object.keys(labels).length === pairs.length ? labels : undefined
}
