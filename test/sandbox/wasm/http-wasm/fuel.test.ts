import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { httpWasmGuest } from "./http-wasm-guest.ts"

const at1000 = "(i32.const 1000) (i32.const 4)"
const intoBuffer = "(i32.const 0) (i32.const 64)"

/** Calls of each function, and the least that they cost. */
const CALLS: readonly (readonly [call: string, units: number])[] = [
  ["(call $enable_features (i32.const 0)) drop", 20],
  [`(call $get_config ${intoBuffer}) drop`, 20],
  [`(call $log (i32.const 0) ${at1000})`, 10_020],
  ["(call $log_enabled (i32.const 0)) drop", 20],
  [`(call $get_header_names (i32.const 0) ${intoBuffer}) drop`, 2020],
  [`(call $get_header_values (i32.const 0) ${at1000} ${intoBuffer}) drop`, 520],
  [`(call $set_header_value (i32.const 0) ${at1000} ${at1000})`, 520],
  [`(call $add_header_value (i32.const 0) ${at1000} ${at1000})`, 520],
  [`(call $remove_header (i32.const 0) ${at1000})`, 520],
  [`(call $read_body (i32.const 0) ${intoBuffer}) drop`, 520],
  [`(call $write_body (i32.const 1) ${at1000})`, 520],
  [`(call $get_method ${intoBuffer}) drop`, 20],
  ["(call $set_method (i32.const 1004) (i32.const 3))", 520],
  [`(call $get_uri ${intoBuffer}) drop`, 20],
  ["(call $set_uri (i32.const 1007) (i32.const 1))", 2020],
  [`(call $get_protocol_version ${intoBuffer}) drop`, 20],
  [`(call $get_source_addr ${intoBuffer}) drop`, 20],
  ["(call $get_status_code) drop", 20],
  ["(call $set_status_code (i32.const 200))", 520],
]

describe("the fuel of a call of the http-wasm ABI", () => {
  for (const [call, units] of CALLS) {
    it(`has what ${/\$\w+/.exec(call)![0].slice(1)} costs the host in it, each time`, async (t) => {
      const used = await Promise.all([1, 2, 3].map((times) => fuelOf(t, call.repeat(times))))
      const each = used[1]! - used[0]!
      assert.equal(used[2]! - used[1]!, each)
      assert.ok(each >= units && each < units + 150, `${each}`)
    })
  }

  it("has the bytes in it that cross the boundary", async (t) => {
    const write = (length: number) => fuelOf(t, `(call $write_body (i32.const 1) (i32.const 0) (i32.const ${length}))`)
    assert.equal((await write(48_000)) - (await write(8000)), 5000)
  })

  it("has the fields in it that are looked through", async (t) => {
    const list = (fields: number) =>
      fuelOf(t, `(call $get_header_names (i32.const 0) (i32.const 0) (i32.const 0)) drop`, fields)
    assert.equal((await list(101)) - (await list(1)), 1600)
  })
})

async function fuelOf(t: TestContext, calls: string, fields = 1): Promise<number> {
  const guest = await httpWasmGuest(t, {
    body: "both",
    fields: '(data (i32.const 1000) "x-ooGET/")',
    request: `${calls} i64.const 1`,
  })
  guest.request({ headers: Array.from({ length: fields }, () => ["x-same", "1"]), body: "body" })
  return guest.fuelUsed
}
