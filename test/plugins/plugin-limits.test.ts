import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createConfig } from "../../src/config/parse-config.ts"
import { parseManifest } from "../../src/config/parse-manifest.ts"
import { mergeLimits, type PluginLimits, settingsOverCeilings } from "../../src/plugins/plugin-limits.ts"

function limits(sandbox: string, plugin: object = {}, ceilings: object = {}): PluginLimits {
  const text = `[manifest]\nname = "probe"\nversion = "1.0.0"\ncapabilities = ["middleware"]\nentry = "main"\n[sandbox]\n${sandbox}`
  const config = createConfig({ plugins: { probe: plugin }, sandbox: { ceilings } }, { folder: "/", env: {} })
  const manifest = parseManifest(text, { file: "plugin.toml" })
  return mergeLimits(manifest.sandbox, config.plugins.probe!, config.sandbox.ceilings)
}

const MIB = 1024 * 1024

describe("mergeLimits", () => {
  it("has a default for everything", () => {
    assert.deepEqual(limits("").sandbox, { memoryBytes: 64 * MIB, messageBytes: MIB, maxInstances: 64 })
    assert.deepEqual(limits("").calls.on_request, { cpuMs: 50, wallMs: 10_000, fuel: 20_000_000 })
    assert.deepEqual(limits("").calls.on_server_start, { cpuMs: 10_000, wallMs: 10_000, fuel: 500_000_000 })
    assert.equal(limits("").storageBytes, MIB)
    assert.equal(limits("").maxBodyBytes, MIB)
  })

  it("takes the manifest's word over the default, and the operator's over the manifest's", () => {
    const manifest = "max_memory_mb = 16\nmax_cpu_ms = 20\nmax_time_ms = 300\nstorage_quota_kb = 8\nmax_body = '2kb'"
    const asked = limits(manifest)
    assert.equal(asked.sandbox.memoryBytes, 16 * MIB)
    assert.deepEqual(asked.calls.on_request, { cpuMs: 20, wallMs: 300, fuel: 20_000_000 })
    assert.deepEqual([asked.storageBytes, asked.maxBodyBytes], [8192, 2048])
    const operator = { max_memory_mb: 8, max_cpu_ms: 10, max_time_secs: 1, storage_quota_kb: 4, max_body: "1kb" }
    const told = limits(manifest, { limits: { ...operator, max_instances: 3 } })
    assert.deepEqual(told.sandbox, { memoryBytes: 8 * MIB, messageBytes: MIB, maxInstances: 3 })
    assert.deepEqual(told.calls.on_response, { cpuMs: 10, wallMs: 1000, fuel: 20_000_000 })
    assert.deepEqual([told.storageBytes, told.maxBodyBytes], [4096, 1024])
  })

  it("never goes above the ceilings", () => {
    const high = { max_memory_mb: 512, max_cpu_ms: 5000, max_time_ms: 60_000, storage_quota_kb: 9999, max_body: "1gb" }
    const ceilings = { max_memory_mb: 32, max_cpu_ms: 40, max_time_ms: 500, storage_quota_kb: 64, max_body: "1mb" }
    const capped = limits("body = 'request'", { limits: high }, ceilings)
    assert.equal(capped.sandbox.memoryBytes, 32 * MIB)
    assert.deepEqual(capped.calls.on_request, { cpuMs: 40, wallMs: 500, fuel: 20_000_000 })
    assert.deepEqual(capped.calls.on_request_complete, { cpuMs: 40, wallMs: 500, fuel: 100_000_000 })
    assert.deepEqual([capped.storageBytes, capped.maxBodyBytes], [65_536, MIB])
  })

  it("gives programs limits of their own: the default, the manifest's, the operator's, never above the ceilings", () => {
    const standard = { cpus: 1, pids: 64, openFiles: 256, fileBytes: 64 * MIB, tmpBytes: 16 * MIB, dataBytes: 64 * MIB }
    assert.deepEqual(limits("").program, standard)
    const fields = ["max_processes", "max_open_files", "max_file_mb", "tmp_mb", "data_quota_mb", "cpus"]
    const all = (value: number) => Object.fromEntries(fields.map((field) => [field, value]))
    const expected = (value: number) => ({
      cpus: value,
      pids: value,
      openFiles: value,
      fileBytes: value * MIB,
      tmpBytes: value * MIB,
      dataBytes: value * MIB,
    })
    const manifest = `type = "nsjail"\ndata_dir = true\n${fields.map((field) => `${field} = 32`).join("\n")}`
    assert.deepEqual(limits(manifest).program, expected(32))
    assert.deepEqual(limits(manifest, { limits: all(40) }).program, expected(40))
    assert.deepEqual(limits(manifest, { limits: all(40) }, all(20)).program, expected(20))
    assert.deepEqual(limits(manifest, {}, all(20)).program, expected(20))
  })

  it("leaves the CPU time of a start to the hook, within the wall time", () => {
    assert.equal(limits("max_cpu_ms = 5").calls.on_server_start.cpuMs, 10_000)
    assert.equal(limits("max_time_ms = 7").calls.on_server_start.cpuMs, 7)
    assert.equal(limits("max_time_ms = 7").calls.on_request.cpuMs, 7)
  })

  it("gives a plugin that reads bodies messages as large as they are", () => {
    assert.equal(limits("body = 'request'\nmax_body = '5mb'").sandbox.messageBytes, 5 * MIB)
    assert.equal(limits("max_body = '5mb'").sandbox.messageBytes, MIB)
  })

  it("gives no hook more fuel than the ceiling", () => {
    const { calls } = limits("type = 'wasm'", { fuel: { cleanup: 90_000_000 } }, { max_fuel: 30_000_000 })
    const { on_request, on_server_start, cleanup } = calls
    assert.deepEqual([on_request.fuel, on_server_start.fuel, cleanup.fuel], [20_000_000, 30_000_000, 30_000_000])
  })

  it("tells the operator which of their own words a ceiling overrules, and of no others", () => {
    const over = (plugin: object, ceilings: object) => {
      const config = createConfig({ plugins: { probe: plugin }, sandbox: { ceilings } }, { folder: "/", env: {} })
      return settingsOverCeilings("probe", config.plugins.probe!, config.sandbox.ceilings)
    }
    assert.deepEqual(over({ fuel: { on_request: 9, cleanup: 5 } }, { max_fuel: 5 }), [
      "[plugins.probe.fuel] on_request is over [sandbox.ceilings] max_fuel: the plugin has 5",
    ])
    const limits = { max_memory_mb: 3, max_cpu_ms: 3, max_time_secs: 3, storage_quota_kb: 3, max_body: "3kb" }
    const equal = { max_memory_mb: 3, max_cpu_ms: 3, max_time_ms: 3000, storage_quota_kb: 3, max_body: "3kb" }
    const below = { max_memory_mb: 2, max_cpu_ms: 2, max_time_ms: 2999, storage_quota_kb: 2, max_body: "2kb" }
    assert.deepEqual(
      over({ limits }, below).map((what) => what.split(" ", 2).join(" ")),
      Object.keys(limits).map((field) => `[plugins.probe.limits] ${field}`),
    )
    assert.deepEqual(over({ limits, fuel: { cleanup: 1 } }, equal), [])
    assert.deepEqual(over({}, { ...below, max_fuel: 1 }), [])
    assert.deepEqual(over({ limits, fuel: { cleanup: 1 } }, {}), [])
  })

  it("takes fuel from the operator", () => {
    const { calls } = limits("type = 'wasm'", { fuel: { on_request: 7 } })
    assert.deepEqual([calls.on_request.fuel, calls.on_response.fuel], [7, 20_000_000])
  })
})
