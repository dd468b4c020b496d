import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { Json } from "../../../../src/sandbox/sandbox.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { runSteps, type Step } from "./run-steps.ts"

const [INVALID, PERMISSION, MESSAGE] = [-2, -3, -4]

describe("get_config", () => {
  it("gives the section, or one of its own keys: a text as it is, anything else as JSON", async () => {
    const services = configured({ greeting: "hällo", limits: { a: [1, null] }, on: false, empty: "", none: null })
    const keys = ["greeting", "limits", "on", "empty", "none", "missing"]
    const run = await runSteps([...keys.map((key): Step => ["get_config", key]), ["get_config", ""]], { services })
    assert.deepEqual(
      keys.map((_, i) => run.text(i)),
      ["hällo", '{"a":[1,null]}', "false", "", "null", undefined],
    )
    assert.equal(run.text(keys.length), JSON.stringify(services.config))
  })

  it("knows nothing of what every object has", async () => {
    const keys = ["__proto__", "constructor", "toString", "hasOwnProperty", "length", "0"]
    const { results } = await runSteps(keys.map((key): Step => ["get_config", key]))
    assert.deepEqual(
      results,
      keys.map(() => 0n),
    )
  })

  it("refuses keys that are no text, and values over the limit", async () => {
    const services = configured({ long: "x".repeat(70_000) })
    const run = await runSteps(
      [
        ["get_config", Buffer.from([0x80])],
        ["get_config", "long"],
        ["get_config", ""],
      ],
      {
        services,
      },
    )
    assert.deepEqual([run.text(0), run.text(1), run.text(2)], [INVALID, MESSAGE, MESSAGE])
  })
})

describe("get_secret", () => {
  it("gives what was granted, and refuses the rest", async () => {
    const run = await runSteps([["get_secret", "KEY"], ["get_secret", "OTHER"], ["last_error"]])
    assert.deepEqual([run.text(0), run.text(1)], ["s3cret", PERMISSION])
    assert.equal(run.text(2), "E_PERMISSION: OTHER was not granted")
  })
})

describe("log and emit_metric", () => {
  it("write lines of the four levels, and any other as info", async () => {
    const { services } = await runSteps([
      ["log", "debug", "a"],
      ["log", "info", "b"],
      ["log", "warn", "ç"],
      ["log", "error", ""],
      ["log", "__proto__", "e"],
      ["log", "", "f"],
    ])
    assert.deepEqual(services.lines, ["debug a", "info b", "warn ç", "error ", "info e", "info f"])
  })

  it("record samples with tags", async () => {
    const { services } = await runSteps([
      ["emit_metric", "hits", { f64: "2.5" }, '{"path":"/","n":1,"on":true}'],
      ["emit_metric", "hits", { f64: "nan" }, ""],
      ["emit_metric", "hits", { f64: "-inf" }, '{"__proto__":"x"}'],
    ])
    assert.deepEqual(services.metrics.slice(0, 2), [
      ["hits", 2.5, { path: "/", n: "1", on: "true" }],
      ["hits", Number.NaN, {}],
    ])
    const [, value, tags] = services.metrics[2] as [string, number, object]
    assert.equal(value, -Infinity)
    assert.deepEqual([Object.keys(tags), Object.getPrototypeOf(tags)], [["__proto__"], Object.prototype])
  })

  it("refuse in silence, and last_error tells", async () => {
    const steps: Step[] = [
      ["emit_metric", "a", { f64: "1" }, "{"],
      ["last_error"],
      ["emit_metric", "a", { f64: "1" }, "[]"],
      ["last_error"],
      ["emit_metric", "a", { f64: "1" }, '{"a":{}}'],
      ["last_error"],
      ["emit_metric", "a", { f64: "1" }, '{"a":null}'],
      ["emit_metric", Buffer.from([0xff]), { f64: "1" }, ""],
      ["emit_metric", "a", { f64: "1" }, 0, 16_385],
      ["log", "info", Buffer.from([0xff])],
      ["last_error"],
    ]
    const { services, text } = await runSteps(steps)
    assert.deepEqual([services.metrics, services.lines], [[], []])
    assert.equal(text(1), "E_GUEST_RESULT_INVALID: emit_metric: expected JSON")
    assert.equal(text(3), "E_GUEST_RESULT_INVALID: emit_metric: expected an object of tags")
    assert.equal(text(5), "E_GUEST_RESULT_INVALID: emit_metric: a tag is a text, a number, true or false")
    assert.match(String(text(10)), /^E_GUEST_RESULT_INVALID: .*UTF-8/)
  })
})

function configured(config: Json): RecordingServices {
  return Object.assign(new RecordingServices(), { config })
}
