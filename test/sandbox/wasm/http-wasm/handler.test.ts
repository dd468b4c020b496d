import assert from "node:assert/strict"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import type { ErrorCode } from "../../../../src/errors.ts"
import { HeaderList } from "../../../../src/message/header-list.ts"
import { requestContext, response, textOf } from "../../../plugins/request-context.ts"
import { httpWasmGuest } from "./http-wasm-guest.ts"

/** `name` is a text of the guest's memory at 1000, with its length. */
const data = (text: string) => `(data (i32.const 1000) "${text}")`
const at = (text: string) => `(i32.const 1000) (i32.const ${Buffer.byteLength(text)})`

function refuses(run: () => unknown, code: ErrorCode, message: RegExp): void {
  assert.throws(run, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  })
}

describe("handle_request and handle_response", () => {
  it("pass the request on and hand the context over, to the bit", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: "i64.const 0xfffffff600000001",
      response:
        "(call $number (i64.extend_i32_u (local.get $context))) (call $number (i64.extend_i32_u (local.get $error)))",
    })
    const context = guest.request()
    assert.equal(context.response, null)
    guest.respond(context)
    assert.deepEqual(guest.lines, ["00000000fffffff6", "0000000000000000"])
  })

  it("tell an error answer of the server from a response of the app", async (t) => {
    const guest = await httpWasmGuest(t, { response: "(call $number (i64.extend_i32_u (local.get $error)))" })
    const context = guest.request()
    context.response = { ...response("problem", [], 502), failed: true }
    guest.respond(context)
    guest.respond(guest.request(), "the app's own", [], 502)
    assert.deepEqual(guest.lines, [hex(1), hex(0)])
  })

  it("keep the contexts of interleaved requests apart, in a shared instance and in fresh ones", async (t) => {
    for (const instance of ["shared", "fresh"] as const) {
      const guest = await httpWasmGuest(t, {
        instance,
        fields: data("x-number"),
        request: `
          (call $get_header_values (i32.const 0) ${at("x-number")} (i32.const 0) (i32.const 16)) drop
          (i64.or (i64.shl (i64.load8_u (i32.const 0)) (i64.const 32)) (i64.const 1))`,
        response: "(call $number (i64.extend_i32_u (local.get $context)))",
      })
      const contexts = ["a", "b", "c"].map((value) => guest.request({ headers: [["X-Number", value]] }))
      for (const context of contexts.toReversed()) guest.respond(context)
      assert.deepEqual(
        guest.lines.map((line) => Number.parseInt(line, 16)),
        [99, 98, 97],
      )
    }
  })

  it("answer with what was prepared when next is 0, and then do not see the response", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("x-two,first second"),
      request: `
        (call $set_status_code (i32.const 418))
        (call $set_header_value (i32.const 1) (i32.const 1000) (i32.const 5) (i32.const 1006) (i32.const 5))
        (call $write_body (i32.const 1) (i32.const 1006) (i32.const 6))
        (call $write_body (i32.const 1) (i32.const 1012) (i32.const 6))
        i64.const 0x700000000`,
      response: "(call $say (i32.const 1006) (i32.const 5))",
    })
    const context = guest.request()
    assert.equal(context.response?.status, 418)
    assert.deepEqual([...context.response!.headers], [["x-two", "first"]])
    assert.equal(await textOf(context.response!.body), "first second")
    guest.respond(context)
    assert.deepEqual(guest.lines, [])
  })

  it("answer with an empty 200 when nothing was prepared", async (t) => {
    const guest = await httpWasmGuest(t, { request: "i64.const 0" })
    const { response } = guest.request()
    assert.deepEqual([response!.status, [...response!.headers], response!.body], [200, [], null])
  })

  it("fail when next is neither 0 nor 1", async (t) => {
    const guest = await httpWasmGuest(t, { request: "i64.const 2" })
    refuses(() => guest.request(), "E_GUEST_RESULT_INVALID", /handle_request returned 2 as "next"/)
  })

  it("do not meet a response whose request the guest failed to handle", async (t) => {
    const guest = await httpWasmGuest(t, { request: "unreachable", response: "(call $number (i64.const 1))" })
    const context = requestContext()
    refuses(() => guest.handle(context), "E_GUEST_TRAPPED", /unreachable/)
    guest.respond(context)
    assert.deepEqual(guest.lines, [])
  })

  it("leave a response alone that the app made, status and body prepared before it included", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("body"),
      request: `(call $set_status_code (i32.const 500)) (call $write_body (i32.const 1) ${at("body")}) i64.const 1`,
    })
    const { response } = guest.respond(guest.request(), "page", [["etag", "1"]], 201)
    assert.deepEqual([response!.status, [...response!.headers], response!.body], [201, [["etag", "1"]], "page"])
  })
})

describe("a body that handle_request prepares before it passes the request on", () => {
  const prepare = {
    fields: data("prepared"),
    request: `(call $write_body (i32.const 1) ${at("prepared")}) i64.const 1`,
    response: `
      (call $read_body (i32.const 1) (i32.const 0) (i32.const 64)) drop
      (call $say (i32.const 0) (i32.const 8))`,
  }

  it("is that of a response without content, where the plugin may write it", async (t) => {
    const guest = await httpWasmGuest(t, { ...prepare, body: "response" })
    const { response: answered } = guest.respond(guest.request(), "", [["etag", "1"]])
    assert.deepEqual(
      [await textOf(answered!.body), [...answered!.headers], guest.lines],
      ["prepared", [], ["prepared"]],
    )
    assert.equal(await textOf(guest.respond(guest.request(), "app").response!.body), "app")
    const without = await httpWasmGuest(t, { ...prepare, response: "" })
    assert.equal(await textOf(without.respond(without.request(), "").response!.body), "")
  })

  it("is none where there can be none, and changes no event stream", async (t) => {
    const guest = await httpWasmGuest(t, { ...prepare, response: "", body: "response" })
    for (const [method, status] of [
      ["HEAD", 200],
      ["GET", 204],
      ["GET", 304],
    ] as const) {
      const context = guest.request({ method })
      context.response = response(null, [["etag", "1"]], status)
      guest.respond(context)
      assert.deepEqual([context.response.body, context.response.headers.get("etag")], [null, "1"])
    }
    const context = guest.request()
    const events = Readable.from(["data: 1"])
    context.response = response(events, [["content-type", "text/event-stream"]])
    guest.respond(context)
    assert.equal(context.response.body, events)
  })
})

describe("values that pass the boundary", () => {
  it("are written when they fit, otherwise only their length is told", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: `
        (i32.store (i32.const 0) (i32.const 0x2e2e2e2e))
        (call $number (i64.extend_i32_u (call $get_method (i32.const 0) (i32.const 2))))
        (call $say (i32.const 0) (i32.const 4))
        (call $number (i64.extend_i32_u (call $get_method (i32.const 0) (i32.const 3))))
        (call $say (i32.const 0) (i32.const 4))
        (call $number (i64.extend_i32_u (call $get_method (i32.const 0) (i32.const -1))))
        i64.const 1`,
    })
    guest.request()
    assert.deepEqual(guest.lines, [hex(3), "....", hex(3), "GET.", hex(3)])
  })

  for (const [what, request] of [
    ["a value written", "(call $get_uri (i32.const 131071) (i32.const 9)) drop"],
    ["a list written", `(call $get_header_names (i32.const 0) (i32.const -1) (i32.const 99)) drop`],
    [
      "a name read",
      "(call $get_header_values (i32.const 0) (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 9)) drop",
    ],
    ["a name of 4 GiB", "(call $remove_header (i32.const 0) (i32.const 1) (i32.const -1))"],
    [
      "a value read",
      "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 131072) (i32.const 1))",
    ],
    ["a body written", "(call $write_body (i32.const 1) (i32.const 131072) (i32.const 1))"],
    ["a body read", "(call $read_body (i32.const 0) (i32.const 131071) (i32.const 9)) drop"],
    ["a message", "(call $log (i32.const 0) (i32.const 131070) (i32.const -1))"],
  ] as const) {
    it(`trap outside the memory: ${what}`, async (t) => {
      const guest = await httpWasmGuest(t, { body: "both", request: `${request} i64.const 1` })
      const input = { path: "/long", headers: [["x-one", "1"]], body: "long" } as const
      refuses(() => guest.request(input), "E_GUEST_TRAPPED", /its memory ends at 131072/)
    })
  }

  it("are bytes: what of a field is not ASCII comes and goes unchanged", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("x-in"),
      request: `
        (call $get_header_values (i32.const 0) ${at("x-in")} (i32.const 0) (i32.const 16)) drop
        (call $set_header_value (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 0) (i32.const 2))
        (call $say (i32.const 0) (i32.const 2))
        i64.const 1`,
    })
    const context = guest.request({ headers: [["x-in", "\u00c3\u00a9"]] })
    assert.deepEqual(guest.lines, ["\u00e9"])
    assert.equal(context.requestHeaders.get("x-i"), "\u00c3\u00a9")
  })

  it("lose what a failed call did to the request", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("x-new"),
      request: `(call $set_header_value (i32.const 0) ${at("x-new")} ${at("x-new")}) unreachable`,
    })
    const context = requestContext()
    refuses(() => guest.handle(context), "E_GUEST_TRAPPED", /unreachable/)
    assert.equal(context.requestHeaders.has("x-new"), false)
  })
})

describe("headers", () => {
  const headers = [
    ["Accept", "a"],
    ["X-Two", "1, 2"],
    ["x-two", "3"],
    ["Cookie", "secret=1"],
  ] as const

  it("of a request are listed once each in lower case, without those that are hidden", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: `(call $list (i32.const 0) (call $get_header_names (i32.const 0) (i32.const 0) (i32.const 64))) i64.const 1`,
    })
    guest.request({ headers })
    assert.deepEqual(guest.lines, [hex(2, 13), "accept\0x-two\0"])
  })

  it("have their values one by one, whatever the case of the name", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("X-TWOx-nonecookie"),
      request: `
        (call $list (i32.const 0) (call $get_header_values (i32.const 0) (i32.const 1000) (i32.const 5) (i32.const 0) (i32.const 64)))
        (call $number (call $get_header_values (i32.const 0) (i32.const 1005) (i32.const 6) (i32.const 0) (i32.const 64)))
        (call $number (call $get_header_values (i32.const 0) (i32.const 1011) (i32.const 6) (i32.const 0) (i32.const 64)))
        (call $number (call $get_header_values (i32.const 0) (i32.const 1000) (i32.const 5) (i32.const 0) (i32.const 6)))
        i64.const 1`,
    })
    guest.request({ headers })
    assert.deepEqual(guest.lines, [hex(2, 7), "1, 2\x003\0", hex(0), hex(0), hex(2, 7)])
  })

  it("are shown, cookies included, with the permission", async (t) => {
    const guest = await httpWasmGuest(t, {
      permissions: { sensitive_headers: ["cookie"] },
      fields: data("cookie"),
      request: `
        (call $list (i32.const 0) (call $get_header_values (i32.const 0) ${at("cookie")} (i32.const 0) (i32.const 64)))
        i64.const 1`,
    })
    guest.request({ headers })
    assert.deepEqual(guest.lines, [hex(1, 9), "secret=1\0"])
  })

  it("of a request are set, added and removed in handle_request only", async (t) => {
    const change = `
      (call $set_header_value (i32.const 0) ${at("x-two")} (i32.const 1005) (i32.const 1))
      (call $add_header_value (i32.const 0) ${at("x-two")} (i32.const 1006) (i32.const 1))
      (call $remove_header (i32.const 0) (i32.const 1007) (i32.const 6))`
    const guest = await httpWasmGuest(t, {
      fields: data("x-twobcAccept"),
      request: `${change} i64.const 1`,
      response: change,
    })
    const context = guest.request({ headers })
    assert.deepEqual(
      [...context.requestHeaders].map(([name, value]) => `${name.toLowerCase()}: ${value}`),
      ["x-two: b", "cookie: secret=1", "x-two: c"],
    )
    refuses(() => guest.respond(context), "E_PERMISSION", /the request can be changed in on_request only/)
  })

  it("of the response are changed in handle_response without any feature", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("x-aetag"),
      response: `
        (call $list (i32.const 0) (call $get_header_names (i32.const 1) (i32.const 0) (i32.const 64)))
        (call $set_header_value (i32.const 1) (i32.const 1000) (i32.const 3) (i32.const 1000) (i32.const 1))
        (call $add_header_value (i32.const 1) (i32.const 1000) (i32.const 3) (i32.const 1001) (i32.const 1))
        (call $remove_header (i32.const 1) (i32.const 1003) (i32.const 4))
        (call $set_status_code (i32.add (call $get_status_code) (i32.const 3)))`,
    })
    const { response } = guest.respond(guest.request(), "page", [
      ["etag", "1"],
      ["Set-Cookie", "a=1"],
    ])
    assert.equal(response!.status, 203)
    assert.deepEqual(
      [...response!.headers],
      [
        ["Set-Cookie", "a=1"],
        ["x-a", "x"],
        ["x-a", "-"],
      ],
    )
    assert.deepEqual(guest.lines, [hex(1, 5), "etag\0"])
  })

  it("of the response set before there was one give way to the app's; added ones stand beside them", async (t) => {
    const set = (name: string, how: "set" | "add") =>
      `(call $${how}_header_value (i32.const 1) (i32.const ${1000 + NAMES.indexOf(name)}) (i32.const ${name.length})
        (i32.const ${1000 + NAMES.indexOf("mine")}) (i32.const 4))`
    const NAMES = "x-set x-add x-own x-gone mine"
    const guest = await httpWasmGuest(t, {
      fields: data(NAMES),
      request: `
        ${set("x-set", "set")} ${set("x-add", "add")} ${set("x-own", "set")} ${set("x-gone", "add")}
        (call $remove_header (i32.const 1) (i32.const ${1000 + NAMES.indexOf("x-gone")}) (i32.const 6))
        (call $list (i32.const 0) (call $get_header_names (i32.const 1) (i32.const 0) (i32.const 64)))
        i64.const 0x500000001`,
      response: "(call $number (i64.extend_i32_u (local.get $context)))",
    })
    const app = [
      ["X-Set", "app"],
      ["X-Add", "app"],
    ] as const
    const { response } = guest.respond(guest.request(), "page", app)
    assert.deepEqual(
      [...response!.headers].map(([name, value]) => [name.toLowerCase(), value]),
      [
        ["x-set", "app"],
        ["x-add", "app"],
        ["x-add", "mine"],
        ["x-own", "mine"],
      ],
    )
    assert.deepEqual(guest.lines, [hex(3, 18), "x-set\0x-add\0x-own\0", hex(5)])
  })

  it("set cookies that the plugin may set, before and after the app", async (t) => {
    const set = (how: "set" | "add") =>
      `(call $${how}_header_value (i32.const 1) (i32.const 1000) (i32.const 10) (i32.const 1010) (i32.const 6))`
    const guest = await httpWasmGuest(t, {
      permissions: { set_cookies: ["ab_*"] },
      fields: data("set-cookieab_x=1"),
      request: `${set("set")} i64.const 1`,
      response: set("add"),
    })
    const { response } = guest.respond(guest.request(), "page", [["Set-Cookie", "app=1"]])
    assert.deepEqual(response!.headers.getAll("set-cookie"), ["app=1", "ab_x=1", "ab_x=1"])
  })

  for (const [name, kind, code, message] of [
    ["host", 0, "E_HEADER_FORBIDDEN", /host is set by the server alone/],
    ["x-forwarded-for", 0, "E_HEADER_FORBIDDEN", /x-forwarded-for is set by the server alone/],
    ["cookie", 0, "E_HEADER_FORBIDDEN", /cookie needs sensitive_headers/],
    ["a b", 0, "E_HEADER_INVALID", /"a b" is not a field name/],
    ["", 0, "E_GUEST_RESULT_INVALID", /a header name is empty/],
    ["x", 2, "E_BODY_NOT_DECLARED", /enable_features does not grant trailers/],
    ["x", 3, "E_BODY_NOT_DECLARED", /enable_features does not grant trailers/],
    ["x", 4, "E_GUEST_RESULT_INVALID", /4 is no kind of header/],
    ["x", -1, "E_GUEST_RESULT_INVALID", /4294967295 is no kind of header/],
  ] as const) {
    it(`that are not the plugin's to change end the call: ${JSON.stringify(name)} of kind ${kind}`, async (t) => {
      for (const change of [
        `(call $set_header_value (i32.const ${kind}) ${at(name)} (i32.const 0) (i32.const 0))`,
        `(call $add_header_value (i32.const ${kind}) ${at(name)} (i32.const 0) (i32.const 0))`,
        `(call $remove_header (i32.const ${kind}) ${at(name)})`,
      ]) {
        const guest = await httpWasmGuest(t, { fields: data(name), request: `${change} i64.const 1` })
        refuses(() => guest.request(), code, message)
      }
    })
  }

  it("that the plugin may not set are refused when they were prepared for a response, too", async (t) => {
    const set = `(call $set_header_value (i32.const 1) ${at("content-length")} (i32.const 1000) (i32.const 1))`
    const fields = data("content-length")
    const answering = await httpWasmGuest(t, { fields, request: `${set} i64.const 0` })
    refuses(() => answering.request(), "E_HEADER_FORBIDDEN", /content-length is set by the server alone/)
    const passing = await httpWasmGuest(t, { fields, request: `${set} i64.const 1` })
    refuses(() => passing.respond(passing.request()), "E_HEADER_FORBIDDEN", /content-length is set by the server alone/)
  })

  it("with line breaks are refused wherever they go", async (t) => {
    const fields = '(data (i32.const 1000) "x-a") (data (i32.const 1003) "a\\0d\\0ab: c")'
    const set = (kind: number) =>
      `(call $set_header_value (i32.const ${kind}) (i32.const 1000) (i32.const 3) (i32.const 1003) (i32.const 7))`
    for (const request of [`${set(0)} i64.const 1`, `${set(1)} i64.const 0`]) {
      const guest = await httpWasmGuest(t, { fields, request })
      refuses(() => guest.request(), "E_HEADER_INVALID", /control/)
    }
    const passing = await httpWasmGuest(t, { fields, request: `${set(1)} i64.const 1` })
    refuses(() => passing.respond(passing.request()), "E_HEADER_INVALID", /control/)
  })

  it("of trailers are not there", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: `
        (call $number (call $get_header_names (i32.const 2) (i32.const 0) (i32.const 64)))
        (call $number (call $get_header_names (i32.const 3) (i32.const 0) (i32.const 64)))
        (call $number (call $get_header_values (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 64)))
        i64.const 1`,
    })
    guest.request({ headers })
    assert.deepEqual(guest.lines, [hex(0), hex(0), hex(0)])
  })

  it("prepared for a response are bounded in number and size", async (t) => {
    const many = (how: string) => `
      (loop $again (call $${how}_header_value (i32.const 1) (i32.const 1000) (i32.const 3) (i32.const 2000) (i32.const 1)) (br $again))
      unreachable`
    for (const how of ["add", "set"]) {
      const guest = await httpWasmGuest(t, { fields: data("x-a"), request: many(how) })
      refuses(() => guest.request(), "E_LIMIT_MESSAGE", /more than 256 response fields or 32768 bytes/)
    }
  })
})

describe("bodies", () => {
  const readAll = (kind: number) => `
    (call $list (i32.const 0) (call $read_body (i32.const ${kind}) (i32.const 0) (i32.const 3)))
    (call $list (i32.const 0) (call $read_body (i32.const ${kind}) (i32.const 0) (i32.const 3)))
    (call $number (call $read_body (i32.const ${kind}) (i32.const 0) (i32.const 3)))`

  it("are read piece by piece to their end, and are still there for the app", async (t) => {
    const guest = await httpWasmGuest(t, { body: "request", request: `${readAll(0)} i64.const 1` })
    const context = guest.request({ body: "hello" })
    assert.deepEqual(guest.lines, [hex(0, 3), "hel", hex(1, 2), "lo", hex(1, 0)])
    assert.equal(Buffer.from(context.requestBody.bytes!).toString(), "hello")
    guest.request({ body: "again" })
    assert.equal(guest.lines[6], "aga")
  })

  it("of the response are read in handle_response", async (t) => {
    const guest = await httpWasmGuest(t, {
      body: "response",
      request: `${readAll(1)} i64.const 1`,
      response: readAll(1),
    })
    guest.respond(guest.request(), "hello")
    assert.deepEqual(guest.lines.slice(-5), [hex(0, 3), "hel", hex(1, 2), "lo", hex(1, 0)])
    assert.deepEqual(guest.lines.slice(0, 5), [hex(1, 0), "", hex(1, 0), "", hex(1, 0)])
  })

  it("are replaced by what is written, all pieces of it", async (t) => {
    const write = (kind: number) => `
      (call $write_body (i32.const ${kind}) (i32.const 1000) (i32.const 3))
      (call $write_body (i32.const ${kind}) (i32.const 0) (i32.const 0))
      (call $write_body (i32.const ${kind}) (i32.const 1003) (i32.const 3))`
    const guest = await httpWasmGuest(t, {
      body: "both",
      fields: data("newest"),
      request: `${write(0)} i64.const 1`,
      response: write(1),
    })
    const context = guest.request({ body: "old" })
    assert.equal(Buffer.from(context.requestBody.bytes!).toString(), "newest")
    const { response } = guest.respond(context, "page", [["etag", "1"]])
    assert.equal(await textOf(response!.body), "newest")
    assert.equal(response!.headers.has("etag"), false)
  })

  it("are replaced by nothing when nothing is written", async (t) => {
    const guest = await httpWasmGuest(t, {
      body: "response",
      response: "(call $write_body (i32.const 1) (i32.const 0) (i32.const 0))",
    })
    const { response } = guest.respond(guest.request(), "page")
    assert.equal(await textOf(response!.body), "")
  })

  it("that the manifest does not declare are refused", async (t) => {
    const touch = (kind: number) => [
      `(call $read_body (i32.const ${kind}) (i32.const 0) (i32.const 8)) drop`,
      `(call $write_body (i32.const ${kind}) (i32.const 0) (i32.const 8))`,
    ]
    for (const request of touch(0)) {
      const guest = await httpWasmGuest(t, { body: "response", request: `${request} i64.const 1` })
      refuses(() => guest.request({ body: "x" }), "E_BODY_NOT_DECLARED", /needs body = "request"/)
    }
    for (const response of touch(1)) {
      const guest = await httpWasmGuest(t, { body: "request", response })
      refuses(() => guest.respond(guest.request()), "E_BODY_NOT_DECLARED", /needs body = "response"/)
    }
  })

  it("of the request cannot be written in handle_response", async (t) => {
    const guest = await httpWasmGuest(t, {
      body: "both",
      response: "(call $write_body (i32.const 0) (i32.const 0) (i32.const 8))",
    })
    refuses(() => guest.respond(guest.request()), "E_PERMISSION", /handle_request only/)
  })

  it("of another kind, and reads into no buffer, are refused", async (t) => {
    for (const [request, message] of [
      ["(call $read_body (i32.const 0) (i32.const 0) (i32.const 0)) drop", /a buffer of no bytes/],
      ["(call $read_body (i32.const 2) (i32.const 0) (i32.const 1)) drop", /2 is no kind of body/],
      ["(call $write_body (i32.const -1) (i32.const 0) (i32.const 1))", /4294967295 is no kind of body/],
    ] as const) {
      const guest = await httpWasmGuest(t, { body: "both", request: `${request} i64.const 1` })
      refuses(() => guest.request(), "E_GUEST_RESULT_INVALID", message)
    }
  })

  it("end the call when they are too large", async (t) => {
    const forever = "(loop $again (call $write_body (i32.const 1) (i32.const 0) (i32.const 60000)) (br $again))"
    const guest = await httpWasmGuest(t, { body: "response", request: `${forever} unreachable` })
    refuses(() => guest.request(), "E_LIMIT_MESSAGE", /a body of more than 65536 bytes/)
  })
})

describe("the request line and its sender", () => {
  it("are the method, the encoded target, the version and an address with a port", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: `
        (call $say (i32.const 0) (call $get_method (i32.const 0) (i32.const 64)))
        (call $say (i32.const 0) (call $get_uri (i32.const 0) (i32.const 64)))
        (call $say (i32.const 0) (call $get_protocol_version (i32.const 0) (i32.const 64)))
        (call $say (i32.const 0) (call $get_source_addr (i32.const 0) (i32.const 64)))
        i64.const 1`,
    })
    guest.request({ method: "PUT", path: "/a b/\u00e9?#%", query: "q=%20" })
    assert.deepEqual(guest.lines, ["PUT", "/a%20b/%C3%A9%3F%23%25?q=%20", "HTTP/1.1", "192.0.2.1:4711"])
    guest.request({ path: "/" })
    assert.equal(guest.lines[5], "/")
  })

  it("can be given another path with the permission, in encoded form", async (t) => {
    const uri = "/b%20c/%C3%A9?q=1"
    const guest = await httpWasmGuest(t, {
      permissions: { rewrite_path: true },
      fields: data(uri),
      request: `
        (call $set_uri ${at(uri)})
        (call $say (i32.const 0) (call $get_uri (i32.const 0) (i32.const 64)))
        i64.const 1`,
    })
    assert.equal(guest.request({ query: "q=1" }).path, "/b c/\u00e9")
    assert.deepEqual(guest.lines, [uri])
  })

  for (const [uri, permissions, code, message] of [
    ["/b?q=1", {}, "E_PERMISSION", /needs rewrite_path = true/],
    ["/a?q=2", {}, "E_PERMISSION", /needs rewrite_path = true/],
    ["/b?q= 2", { rewrite_path: true }, "E_QUERY_REWRITE", /not visible ASCII/],
    ["/b?q=\u00e9", { rewrite_path: true }, "E_QUERY_REWRITE", /not visible ASCII/],
    ["/b?q=1 HTTP/1.1\\0d\\0aHost: evil", { rewrite_path: true }, "E_QUERY_REWRITE", /not visible ASCII/],
    ["/b?q=\\00", { rewrite_path: true }, "E_QUERY_REWRITE", /not visible ASCII/],
    ["/b#?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /the URI has a fragment/],
    ["/a%2Fb?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /the URI has an encoded slash/],
    ["/%zz?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /the URI has a broken percent-encoding/],
    ["/%ff?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /the URI has a broken percent-encoding/],
    [
      "/\u00e9?q=1",
      { rewrite_path: true },
      "E_PATH_REWRITE",
      /the URI has a character that is not ASCII; percent-encode/,
    ],
    ["/%2e%2e/x?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /contains a dot segment/],
    ["/a%00?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /contains a control character/],
    ["/__bext/health?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /is reserved for bext/],
    ["http://other/?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /does not start with/],
    ["?q=1", { rewrite_path: true }, "E_PATH_REWRITE", /does not start with/],
  ] as const) {
    it(`cannot be given the target ${uri}${"rewrite_path" in permissions ? "" : " without the permission"}`, async (t) => {
      const guest = await httpWasmGuest(t, {
        permissions,
        fields: data(uri),
        request: `(call $set_uri ${at(uri)}) i64.const 1`,
      })
      refuses(() => guest.request({ query: "q=1" }), code, message)
    })
  }

  it("can be set to what they are without any permission", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: data("/a?q=1GET"),
      request: `
        (call $set_uri (i32.const 1000) (i32.const 6))
        (call $set_method (i32.const 1006) (i32.const 3))
        i64.const 1`,
    })
    assert.equal(guest.request({ path: "/a", query: "q=1" }).path, "/a")
  })

  it("can be given another query with the permission, or none", async (t) => {
    for (const [uri, path, query] of [
      ["/animal?name=panda", "/animal", "name=panda"],
      ["/disney?name=chip%26dale", "/disney", "name=chip%26dale"],
      ["/simple", "/simple", ""],
    ] as const) {
      const guest = await httpWasmGuest(t, {
        permissions: { rewrite_path: true },
        fields: data(uri),
        request: `
          (call $set_uri ${at(uri)})
          (call $say (i32.const 0) (call $get_uri (i32.const 0) (i32.const 64)))
          i64.const 1`,
      })
      const context = guest.request({ path: "/a", query: "q=1" })
      assert.deepEqual([context.path, context.query, guest.lines[0]], [path, query, uri])
    }
  })

  it("can be given another method with the permission", async (t) => {
    const guest = await httpWasmGuest(t, {
      permissions: { rewrite_method: true },
      fields: data("POST"),
      request: `
        (call $set_method ${at("POST")})
        (call $say (i32.const 0) (call $get_method (i32.const 0) (i32.const 64)))
        i64.const 1`,
    })
    assert.equal(guest.request().method, "POST")
    assert.deepEqual(guest.lines, ["POST"])
  })

  for (const [method, permissions, code, message] of [
    ["POST", {}, "E_PERMISSION", /needs rewrite_method = true/],
    ["", { rewrite_method: true }, "E_METHOD_REWRITE", /is none that a request can be changed to/],
    ["post", { rewrite_method: true }, "E_METHOD_REWRITE", /is none that a request can be changed to/],
    ["CONNECT", { rewrite_method: true }, "E_METHOD_REWRITE", /is none that a request can be changed to/],
    ["POST /\\0d\\0a", { rewrite_method: true }, "E_METHOD_REWRITE", /is none that a request can be changed to/],
    ["HEAD", { rewrite_method: true }, "E_METHOD_REWRITE", /without the content it asked for/],
  ] as const) {
    it(`cannot be given the method ${JSON.stringify(method)}${"rewrite_method" in permissions ? "" : " without the permission"}`, async (t) => {
      const guest = await httpWasmGuest(t, {
        permissions,
        fields: data(method),
        request: `(call $set_method ${at(method)}) i64.const 1`,
      })
      refuses(() => guest.request(), code, message)
    })
  }

  it("can be changed in handle_request only", async (t) => {
    for (const [call, text] of [
      ["set_method", "POST"],
      ["set_uri", "/b?q=2"],
    ] as const) {
      const guest = await httpWasmGuest(t, {
        permissions: { rewrite_path: true, rewrite_method: true },
        fields: data(text),
        response: `(call $${call} ${at(text)})`,
      })
      refuses(() => guest.respond(guest.request()), "E_PERMISSION", /the request can be changed in on_request only/)
    }
  })
})

describe("trailers", () => {
  const TEXT = "x-onex-twoadded"
  const name = (text: string) => `(i32.const ${1000 + TEXT.indexOf(text)}) (i32.const ${text.length})`
  const change = (kind: number) => `
    (call $set_header_value (i32.const ${kind}) ${name("x-one")} ${name("added")})
    (call $add_header_value (i32.const ${kind}) ${name("x-two")} ${name("added")})`
  const read = (kind: number) => `
    (call $list (i32.const 0) (call $get_header_names (i32.const ${kind}) (i32.const 0) (i32.const 64)))
    (call $list (i32.const 0) (call $get_header_values (i32.const ${kind}) ${name("x-two")} (i32.const 0) (i32.const 64)))`
  const TRAILERS = [
    ["X-One", "1"],
    ["X-Two", "2, 3"],
  ] as const
  const SEEN = [hex(2, 12), "x-one\0x-two\0", hex(1, 5), "2, 3\0"]
  const fields = data(TEXT)

  it("of the request are read and changed in handle_request, and still there in handle_response", async (t) => {
    const guest = await httpWasmGuest(t, {
      body: "request",
      fields,
      request: `${read(2)} ${change(2)} i64.const 1`,
      response: read(2),
    })
    const context = guest.request({ method: "POST", body: "sent", trailers: TRAILERS })
    assert.deepEqual(guest.lines, SEEN)
    assert.deepEqual([...context.requestBody.trailers!.fields], [["X-One", "added"], TRAILERS[1], ["x-two", "added"]])
    guest.respond(context)
    assert.deepEqual(guest.lines.slice(4), [hex(2, 12), "x-one\0x-two\0", hex(2, 11), "2, 3\0added\0"])
  })

  it("of the response are read and changed in handle_response", async (t) => {
    const guest = await httpWasmGuest(t, {
      body: "response",
      fields,
      response: `${read(3)} ${change(3)} (call $remove_header (i32.const 3) ${name("x-one")})`,
    })
    const context = guest.request()
    context.response = { ...response("page"), trailers: { announced: "", fields: HeaderList.from(TRAILERS) } }
    guest.respond(context)
    assert.deepEqual(guest.lines, SEEN)
    assert.deepEqual([...context.response.trailers!.fields], [TRAILERS[1], ["x-two", "added"]])
  })

  it("that handle_request prepares stand behind its own answer, or beside those of the app", async (t) => {
    for (const next of [0, 1]) {
      const guest = await httpWasmGuest(t, {
        body: "response",
        fields,
        request: `${change(3)} ${read(3)} i64.const ${next}`,
      })
      const context = guest.request()
      assert.deepEqual(guest.lines, [hex(2, 12), "x-one\0x-two\0", hex(1, 6), "added\0"])
      context.response ??= { ...response("page"), trailers: { announced: "", fields: HeaderList.from(TRAILERS) } }
      guest.respond(context)
      const own = [
        ["x-one", "added"],
        ["x-two", "added"],
      ]
      assert.deepEqual([...context.response.trailers!.fields], next === 0 ? own : [...TRAILERS, ["x-two", "added"]])
    }
  })

  it("are none where the manifest does not declare the body they stand behind", async (t) => {
    for (const body of ["none", "request", "response"] as const) {
      const guest = await httpWasmGuest(t, { body, fields, request: `${read(2)} i64.const 1`, response: read(3) })
      const context = guest.request({ method: "POST", body: "sent", trailers: TRAILERS })
      context.response = { ...response("page"), trailers: { announced: "", fields: HeaderList.from(TRAILERS) } }
      guest.respond(context)
      const nothing = [hex(0), "", hex(0), ""]
      assert.deepEqual(guest.lines.slice(0, 4), body === "request" ? SEEN : nothing)
      assert.deepEqual(guest.lines.slice(4), body === "response" ? SEEN : nothing)
      const changing = await httpWasmGuest(t, {
        body,
        fields,
        request: `${change(body === "request" ? 3 : 2)} i64.const 1`,
      })
      refuses(() => changing.respond(changing.request()), "E_BODY_NOT_DECLARED", /body = /)
    }
  })

  for (const [field, code] of [
    ["set-cookie", "E_HEADER_FORBIDDEN"],
    ["content-length", "E_HEADER_FORBIDDEN"],
    ["transfer-encoding", "E_HEADER_FORBIDDEN"],
    ["content-type", "E_HEADER_FORBIDDEN"],
    ["x-bext-session", "E_HEADER_FORBIDDEN"],
    ["Cache_Control", "E_HEADER_FORBIDDEN"],
    ["a b", "E_HEADER_INVALID"],
    ["a:b", "E_HEADER_INVALID"],
    ["a\\0d\\0aHost", "E_HEADER_INVALID"],
    ["", "E_GUEST_RESULT_INVALID"],
  ] as const) {
    it(`cannot be ${JSON.stringify(field)}`, async (t) => {
      for (const [kind, hook] of [
        [2, "request"],
        [3, "request"],
        [3, "response"],
      ] as const) {
        const set = `(call $add_header_value (i32.const ${kind}) ${at(field)} (i32.const 0) (i32.const 1))`
        const text = {
          fields: data(field),
          [hook]: hook === "request" ? `${set} i64.const ${kind === 2 ? 1 : 0}` : set,
        }
        const guest = await httpWasmGuest(t, { body: "both", ...text })
        refuses(() => guest.respond(guest.request({ body: "sent" })), code, /./)
      }
    })
  }

  it("have no value that could end their line", async (t) => {
    for (const value of ["\\0d\\0a", "\\00", "a\\0db"]) {
      const guest = await httpWasmGuest(t, {
        body: "response",
        fields: `${data("x")} (data (i32.const 2000) "${value}")`,
        response: `(call $set_header_value (i32.const 3) ${at("x")} (i32.const 2000) (i32.const 3))`,
      })
      refuses(() => guest.respond(guest.request()), "E_HEADER_INVALID", /value of x has a control/)
    }
  })

  it("cannot grow without end", async (t) => {
    for (const kind of [2, 3]) {
      const guest = await httpWasmGuest(t, {
        body: "both",
        fields,
        request: `(loop $again (call $add_header_value (i32.const ${kind}) ${name("x-one")} ${name("added")}) (br $again)) unreachable`,
      })
      refuses(() => guest.request({ body: "sent" }), "E_LIMIT_MESSAGE", /more than 256/)
    }
  })
})

describe("the status", () => {
  it("is the prepared one before there is a response", async (t) => {
    const guest = await httpWasmGuest(t, {
      request: `
        (call $number (i64.extend_i32_u (call $get_status_code)))
        (call $set_status_code (i32.const 404))
        (call $number (i64.extend_i32_u (call $get_status_code)))
        i64.const 0`,
    })
    assert.equal(guest.request().response?.status, 404)
    assert.deepEqual(guest.lines, [hex(200), hex(404)])
  })

  it("has to be a final one", async (t) => {
    for (const status of [0, 101, 600, -1]) {
      const set = `(call $set_status_code (i32.const ${status}))`
      const answering = await httpWasmGuest(t, { request: `${set} i64.const 0` })
      refuses(() => answering.request(), "E_STATUS_INVALID", /is not an integer from 200 to 599/)
      const changing = await httpWasmGuest(t, { response: set })
      refuses(() => changing.respond(changing.request()), "E_STATUS_INVALID", /is not an integer from 200 to 599/)
    }
  })
})

describe("administrative functions", () => {
  it("give the plugin's configuration as JSON", async (t) => {
    const guest = await httpWasmGuest(t, {
      config: { greeting: "h\u00e4llo" },
      request: "(call $say (i32.const 0) (call $get_config (i32.const 0) (i32.const 64))) i64.const 1",
    })
    guest.request()
    assert.deepEqual(guest.lines, ['{"greeting":"h\u00e4llo"}'])
  })

  it("grant the buffering of bodies that the manifest declares, and with it trailers", async (t) => {
    for (const [body, bits] of [
      ["none", 0],
      ["request", 1 | 4],
      ["response", 2 | 4],
      ["both", 3 | 4],
    ] as const) {
      const guest = await httpWasmGuest(t, {
        body,
        request: "(call $number (i64.extend_i32_u (call $enable_features (i32.const -1)))) i64.const 1",
      })
      guest.request()
      assert.deepEqual(guest.lines, [hex(bits)])
    }
  })

  it("log at four levels, whatever the bytes are", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: '(data (i32.const 1000) "a\\00\\ffb")',
      request: `
        ${[-1, 0, 1, 2, 3, 9].map((level) => `(call $log (i32.const ${level}) (i32.const 1000) (i32.const 4))`).join(" ")}
        ${[-2, -1, 0, 1, 2, 3].map((level) => `(call $number (i64.extend_i32_u (call $log_enabled (i32.const ${level}))))`).join(" ")}
        i64.const 1`,
    })
    guest.request()
    const text = "a\0\ufffdb"
    assert.deepEqual(guest.services.lines.slice(0, 4), [
      `debug ${text}`,
      `info ${text}`,
      `warn ${text}`,
      `error ${text}`,
    ])
    assert.deepEqual(
      guest.lines.slice(4),
      [0, 1, 1, 1, 1, 0].map((each) => hex(each)),
    )
  })

  it("work while the module is loaded, others do not", async (t) => {
    const early =
      '(func (export "_initialize") (call $say (i32.const 0) (call $get_config (i32.const 0) (i32.const 64))))'
    const guest = await httpWasmGuest(t, { fields: early })
    assert.deepEqual(guest.lines, ['{"greeting":"hello"}'])
    for (const call of [
      "(call $get_method (i32.const 0) (i32.const 9)) drop",
      "(call $get_status_code) drop",
      "(call $set_status_code (i32.const 200))",
      "(call $get_header_names (i32.const 1) (i32.const 0) (i32.const 9)) drop",
      "(call $get_protocol_version (i32.const 0) (i32.const 9)) drop",
      "(call $write_body (i32.const 1) (i32.const 0) (i32.const 9))",
    ]) {
      await assert.rejects(httpWasmGuest(t, { fields: `(func (export "_initialize") ${call})` }), {
        code: "E_PLUGIN_LOAD_FAILED",
        message: /no call is running/,
      })
    }
  })
})

describe("a module's initialisation", () => {
  const EXIT = (code: number, name = "_start") => `
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (func (export "${name}") (call $say (i32.const 1000) (i32.const 4)) (call $exit (i32.const ${code})))
    ${data("main")}`

  it("runs main once, which may end the program in good order", async (t) => {
    const guest = await httpWasmGuest(t, { imports: EXIT(0), request: "(call $number (i64.const 1)) i64.const 1" })
    guest.request()
    assert.deepEqual(guest.lines, ["main", hex(1)])
  })

  it("fails when main fails, or a library ends the program", async (t) => {
    for (const imports of [EXIT(1), EXIT(0, "_initialize")]) {
      await assert.rejects(httpWasmGuest(t, { imports }), {
        code: "E_PLUGIN_LOAD_FAILED",
        message: /proc_exit\([01]\)/,
      })
    }
  })

  it("runs _initialize alone where there is both", async (t) => {
    const guest = await httpWasmGuest(t, {
      fields: `(func (export "_start") unreachable) (func (export "_initialize") (call $number (i64.const 7)))`,
    })
    assert.deepEqual(guest.lines, [hex(7)])
  })

  it("ends a call that calls proc_exit, and the guest goes on with the next", async (t) => {
    const guest = await httpWasmGuest(t, {
      imports: '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))',
      fields: data("x-exit"),
      request: `
        (if (i64.ne (i64.const 0) (call $get_header_values (i32.const 0) ${at("x-exit")} (i32.const 0) (i32.const 9)))
          (then (call $exit (i32.const 0))))
        i64.const 1`,
    })
    refuses(() => guest.request({ headers: [["x-exit", "1"]] }), "E_GUEST_TRAPPED", /proc_exit\(0\)/)
    assert.equal(guest.request().response, null)
  })
})

/** As `$number` and `$list` log it. */
function hex(highOrAll: number, low?: number): string {
  const value = low === undefined ? BigInt(highOrAll) : (BigInt(highOrAll) << 32n) | BigInt(low)
  return value.toString(16).padStart(16, "0")
}
