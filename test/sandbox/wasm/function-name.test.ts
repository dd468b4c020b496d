import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { readableName } from "../../../src/sandbox/wasm/function-name.ts"

describe("the name of a function", () => {
  it("is shown as it stands in the source", () => {
    for (const [name, expected] of [
      ["_ZN11bext_plugin4host7text_of17h415a9f27d2d64fb5E", "bext_plugin::host::text_of"],
      ["_ZN5shout5greetEv", "shout::greet"],
      ["main.onRequest", "main.onRequest"],
      ["on_request", "on_request"],
    ] as const) {
      assert.equal(readableName(name), expected)
    }
  })

  it("stays as it is when it is mangled in another way, cut off, or made to look like it", () => {
    for (const name of [
      "_ZN",
      "_ZNE",
      "_ZN3foo",
      "_ZN9999fooE",
      "_ZN0E",
      "_ZNSt3__16vectorE",
      `_ZN${"1a".repeat(80)}`,
    ]) {
      assert.equal(readableName(name), name)
    }
  })
})
