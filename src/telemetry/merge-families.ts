import type { MetricFamily, MetricValue } from "./metric-family.ts"

/**
 * Adds up the metrics of several processes, each family by its `aggregator`.
 * @param lists - One list for each process. A family that has another type than an earlier one of its name is left out.
 */
export function mergeFamilies(lists: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const merged = new Map<string, { family: MetricFamily; values: Map<string, MetricValue> }>()
  for (const family of lists.flat()) {
    let entry = merged.get(family.name)
    if (entry === undefined) {
      entry = { family, values: new Map() }
      merged.set(family.name, entry)
    }
    if (entry.family.type !== family.type) continue
    for (const value of family.values) {
      const key = seriesKey(value)
      const present = entry.values.get(key)
      entry.values.set(key, present === undefined ? value : combine(family.aggregator, present, value))
    }
  }
  return Array.from(merged.values(), ({ family, values }) => ({ ...family, values: [...values.values()] }))
}

/**
 * The counters of processes that are gone, or that do not answer. Without them, the sum over all processes would fall when one ends, and that
 * looks like a restart of everything. What a process counted after it was last observed is lost with it.
 */
export class MetricLedger {
  readonly #last = new Map<number, readonly MetricFamily[]>()
  #ended: readonly MetricFamily[] = []

  /** Remembers what a process answered last. */
  observe(pid: number, families: readonly MetricFamily[]): void {
    this.#last.set(pid, families.filter(isCumulative))
  }

  /**
   * What is to be added to the answers of now.
   * @param answered - Processes whose answer is there already.
   * @param alive - All processes of now; the others have ended, and are no longer told apart.
   */
  absent(answered: ReadonlySet<number>, alive: ReadonlySet<number>): readonly MetricFamily[] {
    const ended: (readonly MetricFamily[])[] = []
    const silent: (readonly MetricFamily[])[] = []
    for (const [pid, families] of this.#last) {
      if (!alive.has(pid)) {
        this.#last.delete(pid)
        ended.push(families)
      } else if (!answered.has(pid)) silent.push(families)
    }
    if (ended.length > 0) this.#ended = mergeFamilies([this.#ended, ...ended])
    return silent.length === 0 ? this.#ended : mergeFamilies([this.#ended, ...silent])
  }
}

function isCumulative({ type }: MetricFamily): boolean {
  return type !== "gauge"
}

/** Labels may hold any text, so that joining them by any character could make two series one. */
function seriesKey({ metricName, labels }: MetricValue): string {
  const pairs = Object.entries(labels)
  if (pairs.length === 0) return metricName
  return JSON.stringify([metricName, ...(pairs.length > 1 ? pairs.sort(byName) : pairs)])
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1
}

function combine(aggregator: MetricFamily["aggregator"], present: MetricValue, next: MetricValue): MetricValue {
  switch (aggregator) {
    case "sum":
      return { ...present, value: present.value + next.value }
    case "max":
      return { ...present, value: Math.max(present.value, next.value) }
    case "first":
      return present
  }
}
