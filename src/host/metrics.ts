import { printable } from "../config/printable.ts"
import { TokenBucket } from "./token-bucket.ts"

const MAX_SERIES = 200
const MAX_TAGS = 8
const MAX_TAG_VALUE = 128
const SAMPLES_PER_MINUTE = 600_000
/** Prometheus data model; dots and hyphens become underscores. */
const METRIC_NAME = /^[a-zA-Z_][a-zA-Z0-9_.-]{0,63}$/
const TAG_NAME = /^[a-zA-Z][a-zA-Z0-9_]{0,31}$/

/** All samples of one metric with one set of tags. */
export interface Series {
  /** `bext_plugin_PLUGIN_NAME`, underscores for hyphens. */
  readonly name: string
  /** The guest's tags and `plugin`, which tells apart plugins whose names and metrics run into each other. */
  readonly tags: Readonly<Record<string, string>>
  count: number
  sum: number
  last: number
}

/** What plugins measured, in memory. */
export class MetricRegistry {
  readonly #recorders = new Map<string, MetricRecorder>()

  /** The one recorder of a plugin; a plugin loaded anew goes on where it was. */
  plugin(name: string, warn: (message: string) => void): MetricRecorder {
    const present = this.#recorders.get(name)
    if (present !== undefined) {
      present.warn = warn
      return present
    }
    const recorder = new MetricRecorder(name, warn)
    this.#recorders.set(name, recorder)
    return recorder
  }

  snapshot(): Series[] {
    return [...this.#recorders.values()].flatMap((recorder) => recorder.snapshot())
  }
}

/** Checks and keeps the samples of one plugin: at most 200 series, 8 tags each, 10,000 samples a second. */
export class MetricRecorder {
  /** Where the reason of a dropped sample goes, once for each reason. */
  warn: (message: string) => void
  readonly #plugin: string
  readonly #series = new Map<string, Series>()
  readonly #bucket = new TokenBucket(SAMPLES_PER_MINUTE, performance.now())
  readonly #warned = new Set<string>()
  #dropped = 0

  constructor(plugin: string, warn: (message: string) => void) {
    this.#plugin = plugin
    this.warn = warn
  }

  /** Samples that were refused. */
  get dropped(): number {
    return this.#dropped
  }

  record(name: string, value: number, tags: Readonly<Record<string, string>>): void {
    const reason = this.#add(name, value, tags)
    if (reason === undefined) return
    this.#dropped++
    if (this.#warned.has(reason)) return
    this.#warned.add(reason)
    this.warn(`a metric sample was dropped: ${reason} (said once)`)
  }

  snapshot(): Series[] {
    return Array.from(this.#series.values(), (series) => ({ ...series }))
  }

  /** @returns why the sample was refused. */
  #add(name: string, value: number, tags: Readonly<Record<string, string>>): string | undefined {
    if (typeof name !== "string" || !METRIC_NAME.test(name))
      return "a name is a letter and up to 63 letters, digits or _"
    if (typeof value !== "number" || !Number.isFinite(value)) return "a value is a finite number"
    if (!this.#bucket.take(performance.now())) return "more than 10,000 samples a second"
    const pairs = Object.entries(tags)
    if (pairs.length > MAX_TAGS) return "more than 8 tags"
    for (const [tag, text] of pairs) {
      if (!TAG_NAME.test(tag) || tag === "plugin")
        return "a tag is a letter and up to 31 letters, digits or _, not plugin"
      if (typeof text !== "string" || text.length > MAX_TAG_VALUE)
        return "a tag's value is text of at most 128 characters"
    }
    const key = pairs.length === 0 ? name : JSON.stringify([name, ...pairs.sort(byName)])
    const series = this.#series.get(key) ?? this.#open(key, name, pairs)
    if (series === undefined) return "more than 200 combinations of name and tags"
    series.count++
    series.sum += value
    series.last = value
    return undefined
  }

  #open(key: string, name: string, pairs: readonly [string, string][]): Series | undefined {
    if (this.#series.size >= MAX_SERIES) return undefined
    const full = `bext_plugin_${this.#plugin}_${name}`.replace(/[.-]/g, "_")
    const tags = Object.fromEntries([["plugin", this.#plugin], ...pairs.map(([tag, text]) => [tag, printable(text)])])
    const series = { name: full, tags, count: 0, sum: 0, last: 0 }
    this.#series.set(key, series)
    return series
  }
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1
}
