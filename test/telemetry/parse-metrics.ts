import assert from "node:assert/strict"

export interface ParsedFamily {
  readonly type: string
  readonly help: string
  /** Text of the series, labels sorted → value. */
  readonly samples: Map<string, number>
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\n|\\")*)"(,|(?=\}))/
const NUMBER = /^(NaN|[+-]Inf|[+-]?\d+(\.\d+)?(e[+-]?\d+)?)$/

/**
 * Reads an exposition strictly and fails on anything a scraper could trip over: a family in two places, a series there
 * twice, samples of a wrong name, buckets that do not add up, counters without _total.
 */
export function parseMetrics(
  text: string,
  format: "prometheus" | "openmetrics" = "prometheus",
): Map<string, ParsedFamily> {
  assert.ok(text.endsWith("\n"), "the last line has an end")
  const lines = text.slice(0, -1).split("\n")
  if (format === "openmetrics") assert.equal(lines.pop(), "# EOF")
  const families = new Map<string, ParsedFamily>()
  let current = ""
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!
    if (line.startsWith("#")) {
      const [, name = "", help = ""] = /^# HELP (\S+) (.+)$/.exec(line) ?? assert.fail(`not a HELP line: ${line}`)
      const [, typed, type = ""] =
        /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(lines[++index]!) ?? assert.fail(line)
      assert.equal(typed, name)
      assert.ok(!families.has(name), `${name} is there twice`)
      assert.ok(/^\S+$/.test(name) && NAME.exec(name)?.[0] === name, name)
      if (type === "counter") assert.equal(name.endsWith("_total"), format === "prometheus", name)
      families.set(name, { type, help, samples: new Map() })
      current = name
    } else {
      addSample(families.get(current) ?? assert.fail(line), current, line, format)
    }
  }
  for (const [name, family] of families) if (family.type === "histogram") checkBuckets(name, family)
  return families
}

function addSample(family: ParsedFamily, name: string, line: string, format: string): void {
  const [sample] = NAME.exec(line) ?? assert.fail(line)
  assert.ok(sampleNames(name, family.type, format).includes(sample), `${sample} is no sample of ${name}`)
  let rest = line.slice(sample.length)
  const labels = new Map<string, string>()
  if (rest.startsWith("{")) {
    rest = rest.slice(1)
    while (!rest.startsWith("}")) {
      const [whole, label, value] = LABEL.exec(rest) ?? assert.fail(`labels of ${line}`)
      assert.ok(!labels.has(label!), `${label} is there twice: ${line}`)
      labels.set(label!, value!)
      rest = rest.slice(whole.length)
    }
    rest = rest.slice(1)
  }
  if (family.type === "summary") assert.ok(!labels.has("quantile"))
  const [, value] = /^ (\S+)$/.exec(rest) ?? assert.fail(`the value of ${line}`)
  assert.match(value!, NUMBER)
  const key = `${sample}{${Array.from(labels, ([label, text]) => `${label}="${text}"`)
    .sort()
    .join(",")}}`
  assert.ok(!family.samples.has(key), `${key} is there twice`)
  family.samples.set(key, Number(value!.replace("Inf", "Infinity")))
}

function sampleNames(name: string, type: string, format: string): string[] {
  if (type === "histogram") return [`${name}_bucket`, `${name}_sum`, `${name}_count`]
  if (type === "summary") return [`${name}_sum`, `${name}_count`]
  return [type === "counter" && format === "openmetrics" ? `${name}_total` : name]
}

function checkBuckets(name: string, { samples }: ParsedFamily): void {
  const last = new Map<string, { bound: number; count: number }>()
  for (const [key, count] of samples) {
    const [, bound] = /le="([^"]+)"/.exec(key) ?? []
    if (bound === undefined) continue
    const series = key
      .replace(/,?le="[^"]+"/, "")
      .replace("{,", "{")
      .replace("_bucket", "_count")
    const before = last.get(series)
    const le = Number(bound.replace("Inf", "Infinity"))
    if (before !== undefined) assert.ok(before.bound < le && before.count <= count, `${name}: ${key}`)
    last.set(series, { bound: le, count })
  }
  for (const [series, { bound, count }] of last) {
    assert.equal(bound, Number.POSITIVE_INFINITY, series)
    assert.equal(samples.get(series), count, series)
  }
}
