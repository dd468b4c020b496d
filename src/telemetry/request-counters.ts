import { STATUS_CODES } from "node:http"
import type { AccessResult } from "./access-log.ts"
import type { MetricFamily, MetricValue } from "./metric-family.ts"

/** Methods with a label of their own (RFC 9110 §9, RFC 5789); clients choose the others, which share one. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"] as const
const OTHER = METHODS.length - 1
const METHOD_INDEX = new Map<string, number>(METHODS.map((method, index) => [method, index]))

const LOWEST_STATUS = 100
const STATUSES = 500
const CLASSES = 5

/** Upper bounds in seconds; a last bucket has what took longer. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const
const BUCKETS = BOUNDS.length + 1

/** What one process counts for each finished request: a few additions in arrays that exist already. */
export class RequestCounters {
  /** By method, then status. */
  readonly #requests = new Float64Array(METHODS.length * STATUSES)
  /** By status class, then bucket. */
  readonly #durations = new Float64Array(CLASSES * BUCKETS)
  /** Seconds, by status class. */
  readonly #durationSums = new Float64Array(CLASSES)
  #bodyBytes = 0
  #aborted = 0

  /** @param result.status - 100 to 599. */
  record(method: string, { status, bytes, durationMs, aborted }: AccessResult): void {
    const methodIndex = METHOD_INDEX.get(method) ?? OTHER
    this.#requests[methodIndex * STATUSES + status - LOWEST_STATUS]!++
    const classIndex = ((status / 100) | 0) - 1
    const seconds = durationMs / 1000
    let bucket = 0
    while (bucket < BOUNDS.length && seconds > BOUNDS[bucket]!) bucket++
    this.#durations[classIndex * BUCKETS + bucket]!++
    this.#durationSums[classIndex]! += seconds
    this.#bodyBytes += bytes
    if (aborted) this.#aborted++
  }

  families(): MetricFamily[] {
    return [
      {
        name: "bext_http_requests_total",
        help: "Requests answered, by method and status",
        type: "counter",
        aggregator: "sum",
        values: this.#requestValues(),
      },
      {
        name: "bext_http_request_duration_seconds",
        help: "From accept to the last byte handed to the kernel, by status class",
        type: "histogram",
        aggregator: "sum",
        values: this.#durationValues(),
      },
      counter("bext_http_response_body_bytes_total", "Body bytes sent", this.#bodyBytes),
      counter("bext_http_responses_aborted_total", "Responses that ended before they were whole", this.#aborted),
    ]
  }

  #requestValues(): MetricValue[] {
    const counts = new Map<string, number>()
    for (const [index, count] of this.#requests.entries()) {
      if (count === 0) continue
      const method = METHODS[Math.floor(index / STATUSES)]!
      const key = `${method} ${statusLabel(LOWEST_STATUS + (index % STATUSES))}`
      counts.set(key, (counts.get(key) ?? 0) + count)
    }
    return Array.from(counts, ([key, value]) => {
      const [method, status] = key.split(" ") as [string, string]
      return { metricName: "bext_http_requests_total", labels: { method, status }, value }
    })
  }

  #durationValues(): MetricValue[] {
    const values: MetricValue[] = []
    for (let index = 0; index < CLASSES; index++) {
      const counts = this.#durations.subarray(index * BUCKETS, (index + 1) * BUCKETS)
      if (counts.every((count) => count === 0)) continue
      const labels = { status: `${index + 1}xx` }
      const sum = this.#durationSums[index]!
      values.push(...toHistogram("bext_http_request_duration_seconds", labels, BOUNDS, counts, sum))
    }
    return values
  }
}

/**
 * The samples of one histogram.
 * @param counts - For each bound what is in its bucket alone, then what is above all bounds.
 */
export function toHistogram(
  name: string,
  labels: Readonly<Record<string, string>>,
  bounds: readonly number[],
  counts: ArrayLike<number>,
  sum: number,
): MetricValue[] {
  let total = 0
  const values: MetricValue[] = bounds.map((bound, index) => {
    total += counts[index]!
    const le = Number.isInteger(bound) ? `${bound}.0` : String(bound)
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total }
  })
  total += counts[bounds.length]!
  values.push(
    { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: total },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: total },
  )
  return values
}

/** Statuses without a registered meaning are chosen by upstreams and plugins: they share a label for each class. */
function statusLabel(status: number): string {
  return STATUS_CODES[status] === undefined ? `${Math.floor(status / 100)}xx` : String(status)
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", aggregator: "sum", values: [{ metricName: name, labels: {}, value }] }
}
