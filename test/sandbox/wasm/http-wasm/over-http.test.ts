import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../../../support/serve.ts"
import { toBinary } from "../any-abi.ts"
import { toText } from "./http-wasm-guest.ts"

const NAMES = "x-fromrequestresponseteapot"

/** Answers /answer itself; adds a field before the app's response and another after it, with its context as status. */
const MODULE = toBinary(
  toText({
    request: `
      (call $add_header_value (i32.const 1) (i32.const 1000) (i32.const 6) (i32.const 1006) (i32.const 7))
      (if (result i64) (i32.eq (call $get_uri (i32.const 0) (i32.const 64)) (i32.const 7))
        (then
          (call $set_status_code (i32.const 418))
          (call $write_body (i32.const 1) (i32.const 1021) (i32.const 6))
          (i64.const 0))
        (else (i64.or (i64.shl (i64.const 203) (i64.const 32)) (i64.const 1))))`,
    response: `
      (call $set_status_code (local.get $context))
      (call $add_header_value (i32.const 1) (i32.const 1000) (i32.const 6) (i32.const 1013) (i32.const 8))`,
    fields: `(data (i32.const 1000) "${NAMES}")`,
  }),
)

describe("a plugin of the http-wasm ABI", () => {
  for (const lane of ["inline", "worker"] as const) {
    it(`answers and changes responses over HTTP, ${lane === "inline" ? "in the serving thread" : "in a lane"}`, async () => {
      const config = `
[app]
static = "public"
[plugins.example]
lane = "${lane}"
`
      const manifest = `
[manifest]
name = "example"
version = "1.0.0"
capabilities = ["middleware"]
[sandbox]
type = "wasm"
`
      const files = { "plugins/example/plugin.toml": manifest, "plugins/example/plugin.wasm": MODULE }
      await using server = await serve(config, files)
      const page = await fetch(server.url)
      assert.equal(page.status, 203)
      assert.equal(page.headers.get("x-from"), "request, response")
      assert.equal(await page.text(), "<h1>home</h1>")
      const answer = await fetch(new URL("/answer", server.url))
      assert.equal(answer.status, 418)
      assert.equal(answer.headers.get("x-from"), "request")
      assert.equal(await answer.text(), "teapot")
    })
  }
})
