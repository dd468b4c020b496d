import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { type ErrorCode, PluginError } from "../../../../src/errors.ts"
import type { HookName } from "../../../../src/hooks.ts"
import { applyAnswer } from "../../../../src/sandbox/jail/messages/apply-answer.ts"
import { parseAnswer0 } from "../../../../src/sandbox/jail/messages/parse-line.ts"
import type { Exchange, Json, Side } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { event, LIMITS, request } from "../../../contracts/sandbox-contract.ts"
import { type Allowed, realExchange } from "./real-exchange.ts"

const none: ReadonlySet<ErrorCode> = new Set()

describe("applyAnswer to a request", () => {
  it("leaves the request as it is when the answer is ok and nothing else", () => {
    for (const answer of ["", '{"ok":true}', '{"ok":true,"action":"continue","action_":"x","result":7}']) {
      const exchange = new RecordingExchange("/a")
      const before = JSON.stringify(exchange.toData())
      assert.equal(apply(exchange, answer), undefined)
      assert.equal(JSON.stringify(exchange.toData()), before)
      assert.equal(exchange.answer, null)
    }
  })

  it("answers the request: status, headers, body", () => {
    const { answer } = answered(
      '{"ok":true,"action":"respond","status":403,"headers":[["x-a","1"],["x-a","2"]],"body":{"base64":"/wA="}}',
    )
    assert.deepEqual(
      [answer?.status, answer?.headers],
      [
        403,
        [
          ["x-a", "1"],
          ["x-a", "2"],
        ],
      ],
    )
    assert.deepEqual([...(answer?.body ?? [])], [255, 0])
  })

  it("answers with 200 and nothing, when nothing more was said", () => {
    for (const rest of ["", ',"status":null,"headers":null,"body":null']) {
      const { answer } = answered(`{"ok":true,"action":"respond"${rest}}`)
      assert.deepEqual([answer?.status, answer?.headers, answer?.body.length], [200, [], 0])
    }
  })

  it("takes headers as an object, whose values are texts or lists of texts", () => {
    const headers = '{"x-a":"1","x-b":["2","3"],"x-c":[]}'
    const { answer } = answered(`{"ok":true,"action":"respond","headers":${headers}}`)
    assert.deepEqual(answer?.headers, [
      ["x-a", "1"],
      ["x-b", "2"],
      ["x-b", "3"],
    ])
  })

  it("says what a text is, unless the program does", () => {
    const type = (rest: string) => answered(`{"ok":true,"action":"respond",${rest}}`).answer?.headers
    assert.deepEqual(type('"body":"é"'), [["content-type", "text/plain;charset=UTF-8"]])
    assert.deepEqual(type('"body":"é","headers":{"Content-Type":"text/html"}'), [["Content-Type", "text/html"]])
    assert.deepEqual(type('"body":{"base64":""}'), [])
    assert.deepEqual(type('"status":204'), [])
  })

  it("changes the request in the order of the page", () => {
    const done: unknown[] = []
    const exchange = noting(done)
    apply(
      exchange,
      `{"body":{"base64":"AA=="},"site_id":"s","tenant_id":null,"user":{"id":"ada"},"extensions":{"k":"v"},"query":"q=1",
        "path":"/b","method":"POST","add_headers":{"x-c":["3","4"]},"set_headers":[["x-b","2"]],"remove_headers":["x-a"],
        "action":"continue","ok":true}`,
    )
    assert.deepEqual(done, [
      ["removeHeader", "request", "x-a"],
      ["setHeader", "request", "x-b", "2"],
      ["appendHeader", "request", "x-c", "3"],
      ["appendHeader", "request", "x-c", "4"],
      ["setMethod", "POST"],
      ["setPath", "/b"],
      ["setQuery", "q=1"],
      ["setExtension", "k", "v"],
      ["setIdentity", "user", { id: "ada" }],
      ["setIdentity", "tenantId", null],
      ["setIdentity", "siteId", "s"],
      ["setBody", "request", Buffer.from([0])],
    ])
  })

  it("takes null for nothing, but for who the request speaks for", () => {
    const done: unknown[] = []
    const nulls =
      '"action":null,"remove_headers":null,"set_headers":null,"add_headers":null,"method":null,"path":null,"query":null,"extensions":null,"status":null,"headers":null,"body":null'
    apply(noting(done), `{"ok":true,${nulls}}`)
    assert.deepEqual(done, [])
    apply(noting(done), '{"ok":true,"user":null}')
    assert.deepEqual(done, [["setIdentity", "user", null]])
  })

  it("puts changes into effect that come with an answer: others see them in on_response", () => {
    const done: unknown[] = []
    apply(noting(done), '{"ok":true,"action":"respond","extensions":{"why":"bot"},"status":403}')
    assert.deepEqual(done, [
      ["setExtension", "why", "bot"],
      ["respond", 403, [], Buffer.alloc(0)],
    ])
  })

  it("does not let a request pass whose program forgot the action", () => {
    invalid('{"ok":true,"status":403}', /^p: on_request: status is for "action": "respond" \[/)
    invalid('{"ok":true,"action":"continue","headers":{}}', /headers is for "action": "respond"/)
    invalid('{"ok":true,"action":"deny"}', /action is none of continue, respond/)
    invalid('{"ok":true,"action":["respond"]}', /action is none of continue, respond/)
  })

  it("takes an answer that is neither ok nor an error for none", () => {
    for (const answer of ["{}", '{"ok":false}', '{"ok":1}', '{"ok":"true"}', '{"action":"respond","status":403}']) {
      invalid(answer, /^p: on_request: the answer has neither "ok": true nor "error" \[/)
    }
  })

  it("takes as body what was written in pieces, and nothing else by that name", () => {
    const exchange = new RecordingExchange("/")
    apply(exchange, '{"ok":true,"action":"respond","body":{"written":true}}', { written: Buffer.from("pieces") })
    assert.deepEqual([exchange.text, exchange.answer?.headers], ["pieces", []])
    const request = new RecordingExchange("/")
    apply(request, '{"ok":true,"body":{"written":true}}', { written: Buffer.from("pieces") })
    assert.equal(Buffer.from(request.bodies.request).toString(), "pieces")
    invalid('{"ok":true,"body":{"written":true}}', /body is what body.write has taken, but that is nothing/)
    for (const body of ['{"written":false}', '{"written":1}', "{}", "[]", "7", "true", '{"text":"x"}']) {
      invalid(`{"ok":true,"body":${body}}`, /body is neither a text nor \{"base64": text\}/)
    }
  })

  it("takes base64 as RFC 4648 §4 has it, and no other", () => {
    for (const text of ["", "AA==", "AAA=", "AAAA", "+/8="]) {
      assert.doesNotThrow(() => apply(new RecordingExchange("/"), `{"ok":true,"body":{"base64":"${text}"}}`))
    }
    for (const text of [
      "A",
      "AA",
      "AAA",
      "AA=",
      "AB==",
      "AAB=",
      "-_8=",
      "AA==AA==",
      "AA ==",
      "AA==\\n",
      "é===",
      "====",
      "A=AA",
    ]) {
      invalid(`{"ok":true,"body":{"base64":"${text}"}}`, /body is not base64 with padding/)
    }
    for (const value of ["7", "null", "[]", "{}"]) {
      invalid(`{"ok":true,"body":{"base64":${value}}}`, /body is (?:not base64|neither)/)
    }
  })

  it("names the field that has another type", () => {
    for (const [field, values] of [
      ["remove_headers", ['"x"', "{}", "[1]", "[null]", '[["x"]]', "7"]],
      ["set_headers", ['"x"', "7", "[1]", '["ab"]', '[["a"]]', '[["a","b","c"]]', '[["a",1]]', '[[1,"a"]]', '{"a":1}']],
      ["add_headers", ["true", '{"a":{}}', '{"a":null}', '{"a":[1]}', '{"a":[["b"]]}', '[{"a":"b"}]', '[["a",null]]']],
      ["method", ["1", "[]", "{}", "true"]],
      ["path", ["1", "[]"]],
      ["query", ["1", "{}"]],
      ["extensions", ["[]", '"x"', '{"a":1}', '{"a":null}', '{"a":["b"]}']],
      ["body", ["1", "true", "[]"]],
    ] as const) {
      for (const value of values)
        invalid(`{"ok":true,"${field}":${value}}`, new RegExp(`^p: on_request: .*\\b${field}\\b`))
    }
    for (const status of ['"403"', "true", "[403]"]) {
      invalid(`{"ok":true,"action":"respond","status":${status}}`, /status is not a number/)
    }
    invalid('{"ok":true,"action":"respond","headers":[["a"]]}', /headers is not a list of pairs/)
  })

  it("reports what the exchange refuses under its own code, with the hook", () => {
    refuses('{"ok":true,"set_headers":{"Host":"evil"}}', "E_HEADER_FORBIDDEN", /^p: on_request: host is not yours \[/)
    refuses('{"ok":true,"user":{"id":"root"}}', "E_PERMISSION", /^p: on_request: identity was not granted \[/)
    for (const status of ["99", "600", "1e999", "200.5", "-1"]) {
      refuses(`{"ok":true,"action":"respond","status":${status}}`, "E_STATUS_INVALID", /^p: on_request: /)
    }
  })

  it("refuses values over the limit, and lists that would keep the host busy", () => {
    const long = "x".repeat(LIMITS.messageBytes + 1)
    const base64 = Buffer.alloc(LIMITS.messageBytes + 1).toString("base64")
    for (const answer of [
      `{"set_headers":[["x-much","${long}"]]}`,
      `{"add_headers":{"x-much":"${long}"}}`,
      `{"set_headers":{"${long}":"x"}}`,
      `{"remove_headers":["${long}"]}`,
      `{"path":"${long}"}`,
      `{"extensions":{"a":"${long}"}}`,
      `{"body":"${long}"}`,
      `{"body":"${"é".repeat(LIMITS.messageBytes / 2 + 1)}"}`,
      `{"body":{"base64":"${base64}"}}`,
      `{"action":"respond","body":"${long}"}`,
      `{"remove_headers":${JSON.stringify(Array(1001).fill("x"))}}`,
      `{"add_headers":${JSON.stringify(Array(1001).fill(["x", "y"]))}}`,
      `{"add_headers":${JSON.stringify({ x: Array(1001).fill("y") })}}`,
      `{"extensions":${JSON.stringify(Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [i, "y"])))}}`,
    ]) {
      refuses(`{"ok":true,${answer.slice(1)}`, "E_LIMIT_MESSAGE", /^p: on_request: .{1,250}$/)
    }
    assert.ok(answered(`{"ok":true,"action":"respond","body":"${long.slice(1)}"}`).text)
  })

  it("refuses a user that is too long to be copied everywhere", () => {
    const user = JSON.stringify({ id: "ada", claims: { a: "x".repeat(65_536) } })
    refuses(`{"ok":true,"user":${user}}`, "E_GUEST_RESULT_INVALID", /user has more than 65536 characters of JSON/)
  })

  it("gives __proto__ no meaning", () => {
    invalid('{"__proto__":{"ok":true}}', /neither/)
    const done: unknown[] = []
    apply(noting(done), '{"ok":true,"__proto__":{"action":"respond","path":"/x","set_headers":{"a":"b"}}}')
    assert.deepEqual(done, [])
    apply(noting(done), '{"ok":true,"extensions":{"__proto__":"x"},"set_headers":{"__proto__":"y"}}')
    assert.deepEqual(done, [
      ["setHeader", "request", "__proto__", "y"],
      ["setExtension", "__proto__", "x"],
    ])
    assert.equal(Reflect.get({}, "action"), undefined)
  })
})

describe("applyAnswer to a response", () => {
  it("changes the response in the order of the page", () => {
    const done: unknown[] = []
    const fields =
      '"body":"b","status":404,"extensions":{"k":"v"},"add_headers":[["x-c","3"]],"set_headers":{"x-b":"2"},"remove_headers":["x-a"]'
    apply(noting(done, "response"), `{"ok":true,${fields}}`, { hook: "on_response" })
    assert.deepEqual(done, [
      ["removeHeader", "response", "x-a"],
      ["setHeader", "response", "x-b", "2"],
      ["appendHeader", "response", "x-c", "3"],
      ["setExtension", "k", "v"],
      ["setStatus", 404],
      ["setBody", "response", Buffer.from("b")],
    ])
  })

  it("refuses to answer: it is too late for that", () => {
    const answer = '{"ok":true,"action":"respond","status":403}'
    const exchange = new RecordingExchange("/", "response")
    assert.throws(() => apply(exchange, answer, { hook: "on_response" }), { code: "E_GUEST_RESULT_INVALID" })
  })

  it("ignores fields that belong to a request", () => {
    const done: unknown[] = []
    const fields = '"path":"/x","query":"q","method":"PUT","user":{"id":"x"},"headers":{"a":"b"}'
    apply(noting(done, "response"), `{"ok":true,${fields}}`, { hook: "on_response" })
    assert.deepEqual(done, [])
  })
})

describe("applyAnswer to an exchange with a request behind it", () => {
  it("changes what the permissions allow", () => {
    const allowed: Allowed = { rewrite_path: true, rewrite_method: true, identity: true, body: "request" }
    const { context, exchange } = realExchange("request", allowed, { path: "/old", headers: [["x-a", "1"]] })
    apply(
      exchange,
      `{"ok":true,"remove_headers":["x-a"],"set_headers":{"x-b":"2"},"method":"POST","path":"/new","query":"a=1",
        "extensions":{"k":"v"},"user":{"id":"ada","claims":{"admin":true}},"tenant_id":"t1","body":"new"}`,
    )
    exchange.commit()
    assert.deepEqual([...context.requestHeaders], [["x-b", "2"]])
    assert.deepEqual([context.method, context.path, context.query, context.tenantId], ["POST", "/new", "a=1", "t1"])
    assert.deepEqual([context.user?.id, context.extensions?.get("p.k")], ["ada", "v"])
    assert.equal(Buffer.from(context.requestBody.bytes ?? []).toString(), "new")
  })

  it("leaves no trace of an answer that was refused half way", () => {
    const { context, exchange } = realExchange("request", {}, { path: "/old" })
    const answer = '{"ok":true,"set_headers":{"x-b":"2"},"extensions":{"k":"v"},"path":"/new"}'
    assert.throws(() => apply(exchange, answer), {
      code: "E_PERMISSION",
      message: /^p: on_request: setting the path needs/,
    })
    exchange.close()
    assert.deepEqual([...context.requestHeaders], [])
    assert.deepEqual([context.path, context.extensions, context.response], ["/old", null, null])
  })

  it("refuses what frames a message, splits a header or makes up a status", () => {
    for (const [fields, code] of [
      ['"set_headers":{"content-length":"0"}', "E_HEADER_FORBIDDEN"],
      ['"set_headers":{"Transfer_Encoding":"chunked"}', "E_HEADER_FORBIDDEN"],
      ['"set_headers":{"x-a":"1\\r\\nx-b: 2"}', "E_HEADER_INVALID"],
      ['"set_headers":{"x-a\\u0000":"1"}', "E_HEADER_INVALID"],
      ['"set_headers":{"":"1"}', "E_HEADER_INVALID"],
      ['"add_headers":{"__proto__":"\\ud800"}', "E_HEADER_INVALID"],
      ['"extensions":{"__proto__":"x","a b":"x"}', "E_GUEST_RESULT_INVALID"],
      ['"action":"respond","status":101', "E_STATUS_INVALID"],
      ['"action":"respond","headers":{"set-cookie":"a=b"}', "E_HEADER_FORBIDDEN"],
      ['"body":"x"', "E_BODY_NOT_DECLARED"],
      ['"tenant_id":7', "E_PERMISSION"],
    ] as const) {
      assert.throws(() => apply(realExchange("request").exchange, `{"ok":true,${fields}}`), { code }, fields)
    }
    const { exchange } = realExchange("request", { identity: true })
    assert.throws(() => apply(exchange, '{"ok":true,"tenant_id":7}'), { code: "E_GUEST_RESULT_INVALID" })
  })

  it("changes a response", () => {
    const { context, exchange } = realExchange("response", { body: "response" })
    apply(exchange, '{"ok":true,"status":404,"set_headers":{"x-a":"1"},"body":"gone"}', { hook: "on_response" })
    exchange.commit()
    assert.equal(context.response?.status, 404)
    assert.deepEqual([...(context.response?.headers ?? [])], [["x-a", "1"]])
    assert.equal(Buffer.from(context.response?.body as Uint8Array).toString(), "gone")
  })
})

describe("applyAnswer of a failure", () => {
  it("says what the program says went wrong", () => {
    refuses('{"error":"not today"}', "E_GUEST_THREW", /^p: on_request: not today \[E_GUEST_THREW\]$/)
    refuses('{"ok":true,"error":{"message":"not today"}}', "E_GUEST_THREW", /^p: on_request: not today \[/)
  })

  it("cuts long texts", () => {
    refuses(`{"error":"${"x".repeat(60_000)}"}`, "E_GUEST_THREW", /^p: on_request: x{2000} \[/)
  })

  it("has the code of a refusal that the host gave in this call, and no other", () => {
    const answer = '{"error":{"message":"bad key","code":"E_STORAGE_KEY"}}'
    const refused = new Set<ErrorCode>(["E_STORAGE_KEY"])
    assert.throws(() => apply(new RecordingExchange("/"), answer, { refused }), {
      code: "E_STORAGE_KEY",
      message: "p: on_request: bad key [E_STORAGE_KEY]",
    })
    for (const code of ["E_STORAGE_KEY", "E_NOT_FOUND", "__proto__", "constructor", "", "x".repeat(10_000)]) {
      refuses(`{"error":{"message":"no","code":"${code}"}}`, "E_GUEST_THREW", /^p: on_request: no \[E_GUEST_THREW\]$/)
    }
  })

  it("changes nothing, whatever else the answer has", () => {
    const done: unknown[] = []
    const answer = '{"ok":true,"error":"no","path":"/x","action":"respond"}'
    assert.throws(() => apply(noting(done), answer), { code: "E_GUEST_THREW" })
    assert.deepEqual(done, [])
  })
})

describe("applyAnswer to an event", () => {
  it("returns the result of hooks that have one", () => {
    for (const [hook, result] of [
      ["transform", "new text"],
      ["cache_get", { html: "<p>", tags: [] }],
      ["cache_delete", false],
      ["cache_invalidate_tag", 0],
      ["cache_is_healthy", true],
    ] as const) {
      assert.deepEqual(resultOf(hook, JSON.stringify({ ok: true, result })), result)
    }
  })

  it("returns nothing for null, none, and hooks whose answer is ignored", () => {
    for (const hook of ["transform", "cache_get"] as const) {
      assert.equal(resultOf(hook, '{"ok":true,"result":null}'), undefined)
      assert.equal(resultOf(hook, '{"ok":true}'), undefined)
      assert.equal(resultOf(hook, ""), undefined)
    }
    for (const hook of ["on_server_start", "on_queue_message", "on_request_complete"] as const) {
      assert.equal(resultOf(hook, '{"ok":true,"result":7,"action":"x","status":"x"}'), undefined)
    }
  })

  it("refuses a transform's result that is no text, and any over the limit", () => {
    for (const result of ["7", "[]", "{}", "true"]) {
      const answer = `{"ok":true,"result":${result}}`
      assert.throws(() => resultOf("transform", answer), {
        message: "p: transform: result is not a text [E_GUEST_RESULT_INVALID]",
      })
    }
    const long = JSON.stringify({ ok: true, result: "x".repeat(LIMITS.messageBytes + 1) })
    const many = JSON.stringify({ ok: true, result: { html: "é".repeat(LIMITS.messageBytes / 2) } })
    assert.throws(() => resultOf("transform", long), { code: "E_LIMIT_MESSAGE" })
    assert.throws(() => resultOf("cache_get", long), { code: "E_LIMIT_MESSAGE" })
    assert.throws(() => resultOf("cache_get", many), { code: "E_LIMIT_MESSAGE" })
  })

  it("fails as the program says, and when it says neither ok nor error", () => {
    assert.throws(() => resultOf("on_queue_message", '{"error":"later"}'), {
      message: "p: on_queue_message: later [E_GUEST_THREW]",
    })
    assert.throws(() => resultOf("cleanup", "{}"), { code: "E_GUEST_RESULT_INVALID" })
  })
})

interface Circumstances {
  readonly hook?: HookName
  readonly written?: Uint8Array | null
  readonly refused?: ReadonlySet<ErrorCode>
}

function apply(exchange: Exchange, line: string, circumstances: Circumstances = {}): Json | undefined {
  const { hook = "on_request", written = null, refused = none } = circumstances
  const call = { ...request(new RecordingExchange("/")), exchange, hook }
  return applyAnswer("p", call, parseAnswer0(Buffer.from(line)), written, refused, LIMITS.messageBytes)
}

function resultOf(hook: HookName, line: string): Json | undefined {
  return applyAnswer("p", event(hook, []), parseAnswer0(Buffer.from(line)), null, none, LIMITS.messageBytes)
}

function answered(line: string): RecordingExchange {
  const exchange = new RecordingExchange("/")
  apply(exchange, line)
  return exchange
}

function refuses(line: string, code: ErrorCode, message: RegExp): void {
  assert.throws(
    () => apply(new RecordingExchange("/"), line),
    (error) => {
      assert.ok(error instanceof PluginError, String(error))
      assert.equal(error.code, code, line.slice(0, 200))
      assert.match(error.message, message)
      return true
    },
  )
}

function invalid(line: string, message: RegExp): void {
  refuses(line, "E_GUEST_RESULT_INVALID", message)
}

/** An exchange that notes every change and makes none. */
function noting(done: unknown[], writable: Side = "request"): Exchange {
  return new Proxy(new RecordingExchange("/", writable), {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== "function") return value
      return (...args: unknown[]) => void done.push([name, ...args])
    },
  })
}
