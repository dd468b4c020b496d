import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { MetricRegistry } from "../../src/host/metrics.ts"

function recorder(plugin = "my-plugin") {
  const registry = new MetricRegistry()
  const warnings: string[] = []
  return { registry, warnings, metric: registry.plugin(plugin, (message) => warnings.push(message)) }
}

describe("metrics", () => {
  it("keep count, sum and last value for each name and set of tags, whatever the tags' order", () => {
    const { registry, metric } = recorder()
    metric.record("cache.hits", 2, { a: "1", b: "2" })
    metric.record("cache.hits", 3, { b: "2", a: "1" })
    metric.record("cache.hits", -1, {})
    assert.deepEqual(registry.snapshot(), [
      {
        name: "bext_plugin_my_plugin_cache_hits",
        tags: { plugin: "my-plugin", a: "1", b: "2" },
        count: 2,
        sum: 5,
        last: 3,
      },
      { name: "bext_plugin_my_plugin_cache_hits", tags: { plugin: "my-plugin" }, count: 1, sum: -1, last: -1 },
    ])
  })

  it("drop what is not a sample, count it and say so once for each reason", () => {
    const { registry, metric, warnings } = recorder()
    for (const name of ["", "1a", "a b", "a\nb", "a{}", "x".repeat(65), "é"]) metric.record(name, 1, {})
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) metric.record("a", value, {})
    metric.record("a", 1, { plugin: "other" })
    metric.record("a", 1, { "a-b": "x" })
    metric.record("a", 1, { a: "x".repeat(129) })
    metric.record("a", 1, Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`t${i}`, "x"])))
    assert.equal(metric.dropped, 13)
    assert.equal(warnings.length, 5)
    assert.deepEqual(registry.snapshot(), [])
  })

  it("stop at 200 series and keep counting those they have", () => {
    const { registry, metric, warnings } = recorder()
    for (let i = 0; i < 500; i++) metric.record("users", 1, { id: String(i) })
    metric.record("users", 1, { id: "0" })
    assert.equal(registry.snapshot().length, 200)
    assert.equal(registry.snapshot()[0]!.count, 2)
    assert.equal(metric.dropped, 300)
    assert.equal(warnings.length, 1)
  })

  it("show control characters in a tag's value as escapes", () => {
    const { registry, metric } = recorder()
    metric.record("a", 1, { t: 'x"\n\u001b[31m' })
    assert.equal(registry.snapshot()[0]!.tags.t, 'x"\\u{a}\\u{1b}[31m')
  })

  it("keep tags named like inherited properties apart", () => {
    const { registry, metric } = recorder()
    metric.record("constructor", 1, { constructor: "x", toString: "y" })
    assert.deepEqual(registry.snapshot()[0]!.tags, { plugin: "my-plugin", constructor: "x", toString: "y" })
  })

  it("go on where they were when a plugin is loaded anew, and tell plugins apart", () => {
    const { registry, metric } = recorder("a-b")
    metric.record("c", 1, {})
    registry.plugin("a-b", () => {}).record("c", 1, {})
    registry.plugin("a", () => {}).record("b_c", 1, {})
    const found = registry.snapshot().map(({ name, tags, count }) => [name, tags.plugin, count])
    assert.deepEqual(found, [
      ["bext_plugin_a_b_c", "a-b", 2],
      ["bext_plugin_a_b_c", "a", 1],
    ])
  })
})
