import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parseManifest } from "../../src/config/parse-manifest.ts"
import type { HookName } from "../../src/hooks.ts"
import { capabilitiesOf, checkHooks } from "../../src/plugins/check-hooks.ts"

function check(capabilities: string, hooks: readonly HookName[], sandbox = ""): void {
  const text = `[manifest]\nname = "probe"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n[sandbox]\n${sandbox}`
  checkHooks(parseManifest(text, { file: "plugin.toml" }), new Set(hooks))
}

const mismatch = (message: RegExp) => ({ code: "E_PLUGIN_HOOK_MISMATCH", message })

describe("checkHooks", () => {
  it("accepts hooks and capabilities that agree", () => {
    check('"middleware"', ["on_request"])
    check('"middleware", "lifecycle"', ["on_response", "cleanup"])
  })

  it("refuses what exports no hook and declares none: it would do nothing", () => {
    assert.throws(() => check("", []), mismatch(/exports no hook; middleware exports .* onRequest or onResponse/))
  })

  it("says which capability an exported hook needs", () => {
    assert.throws(() => check('"middleware"', ["on_request", "on_server_start", "cleanup"]), {
      ...mismatch(/exports onServerStart, cleanup without the capability: add "lifecycle" to manifest\.capabilities/),
    })
  })

  it("says which hooks a declared capability could have", () => {
    assert.throws(
      () => check('"middleware"', []),
      mismatch(/declares "middleware" but exports none of onRequest, onResponse/),
    )
  })

  it("reports both at once", () => {
    assert.throws(() => check('"middleware"', ["transform"]), mismatch(/"transform".*; declares "middleware"/))
  })

  it("refuses a body that no hook could read", () => {
    assert.throws(() => check('"middleware"', ["on_response"], 'body = "both"'), mismatch(/request body.*no onRequest/))
    assert.throws(() => check('"middleware"', ["on_request"], 'body = "response"'), mismatch(/no onResponse/))
    check('"middleware"', ["on_request", "on_response"], 'body = "both"')
  })

  it("writes hooks as the author of the plugin does", () => {
    const wasm = "type = 'wasm'"
    assert.throws(() => check("", [], wasm), mismatch(/a function called on_request or on_response/))
    assert.throws(() => check('"middleware"', ["on_server_start"], wasm), mismatch(/exports on_server_start without/))
    assert.throws(() => check('"middleware"', [], wasm), mismatch(/exports none of on_request, on_response/))
    const body = `${wasm}\nbody = "request"`
    assert.throws(() => check('"middleware"', ["on_response"], body), mismatch(/exports no on_request/))
  })

  it("names the capabilities of a set of hooks once each", () => {
    assert.deepEqual(capabilitiesOf(new Set<HookName>(["on_response", "on_request", "cleanup"])), [
      "middleware",
      "lifecycle",
    ])
  })
})
