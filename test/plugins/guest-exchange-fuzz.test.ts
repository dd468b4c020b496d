import assert from "node:assert/strict"
import { validateHeaderName, validateHeaderValue } from "node:http"
import { it } from "node:test"
import { PluginError } from "../../src/errors.ts"
import { GuestExchange } from "../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../src/plugins/header-access.ts"
import { requestContext, response } from "./request-context.ts"

const FORBIDDEN =
  /^(connection|content-length|expect|forwarded|host|keep-alive|te|trailer|transfer-encoding|upgrade|x-forwarded.*|x-bext-.*|authorization|cookie|proxy-.*)$/
const NOT_BEHIND = /^(set-cookie|content-(length|encoding)|forwarded|x-forwarded.*)$/
const METHODS = ["POST", "GET", "PUT", "HEAD", "CONNECT", "TRACE", "get", "POST ", "PO\r\nST"]
const PIECES = [
  ...["x-", "X_", "forwarded", "Forwarded-For", "bext-", "host", "Content-", "Length", "length", "transfer", "-", "_"],
  ...["encoding", "set-cookie", "Cookie", "te", "ab_", "=", ";", ",", "a", "Z", "0", "é", "\u2603", "\0", "\r\n", "\n"],
  ...[" ", "\t", ":", "/", "..", ".", "//", "\\", "%2e", "__proto__", "\ud800", "\u007f", "x".repeat(3000)],
]

it("whatever a guest tries, what is committed is well-formed and its own to set", () => {
  const random = seeded(20_261_122)
  const text = () => Array.from({ length: random(5) }, () => PIECES[random(PIECES.length)]!).join("")
  let committed = 0
  let behind = 0
  const methods = new Set<string>()
  for (let round = 0; round < 3000; round++) {
    const side = random(2) === 0 ? "request" : "response"
    const permissions = {
      sensitive_headers: [],
      set_cookies: ["ab_*"],
      identity: false,
      rewrite_path: true,
      rewrite_method: true,
    }
    const access = {
      plugin: "probe",
      headers: new HeaderAccess("probe", permissions, [], () => {}),
      permissions,
      body: "both" as const,
      maxBodyBytes: 100,
      maxAnswerBytes: 100,
    }
    const context = requestContext({
      method: "POST",
      body: "",
      response: side === "response" ? response("page") : null,
    })
    context.requestBody.replace(Buffer.from("sent"))
    const exchange = new GuestExchange(access, context, side, null)
    const acts = [
      () => exchange.setHeader(side, text(), text()),
      () => exchange.appendHeader(side, text(), text()),
      () => exchange.appendHeader(side, "set-cookie", text()),
      () => exchange.removeHeader(side, text()),
      () => exchange.setExtension(text(), text()),
      () => (side === "request" ? exchange.setPath(`/${text()}`) : exchange.setStatus(random(1200) - 100)),
      () => exchange.respond(random(1200) - 100, [[text(), text()]], Buffer.from("x"), [[text(), text()]]),
      () => exchange.setQuery(text()),
      () => exchange.setMethod(random(2) === 0 ? text() : METHODS[random(METHODS.length)]!),
      () => exchange.setTrailer(side, text(), text()),
      () => exchange.appendTrailer(side, text(), text()),
      () => exchange.removeTrailer(side, text()),
    ]
    for (let act = 0; act < 8; act++) {
      try {
        acts[random(acts.length)]!()
      } catch (error) {
        assert.ok(error instanceof PluginError, String(error))
      }
    }
    exchange.commit()
    const trailers = [context.requestBody.trailers, context.response?.trailers].flatMap((list) => [
      ...(list?.fields ?? []),
    ])
    for (const [name] of trailers) {
      behind++
      assert.doesNotMatch(name.toLowerCase().replaceAll("_", "-"), NOT_BEHIND)
    }
    for (const [name, value] of [...context.requestHeaders, ...(context.response?.headers ?? []), ...trailers]) {
      committed++
      validateHeaderName(name)
      validateHeaderValue(name, value)
      assert.doesNotMatch(name.toLowerCase().replaceAll("_", "-"), FORBIDDEN)
      if (name.toLowerCase() === "set-cookie") assert.match(value, /^ab_[^=\s]*=/)
    }
    assert.match(context.path, /^\/(?!\/)/)
    assert.doesNotMatch(context.path, /\/\/|\/\.\.?(\/|$)|[\0\r\n\\]/)
    assert.match(context.query, /^[\x21\x22\x24-\x7e]*$/)
    assert.ok(["POST", "GET", "PUT"].includes(context.method), context.method)
    methods.add(context.method)
    if (context.method === "GET") {
      assert.deepEqual([context.requestBody.bytes?.length, context.requestBody.trailers], [0, null])
    }
    for (const key of context.extensions?.keys() ?? []) assert.match(key, /^probe\.[\w.-]+$/)
    if (context.response !== null) assert.ok(context.response.status >= 200 && context.response.status <= 599)
  }
  assert.ok(committed > 500, `only ${committed} fields came through`)
  assert.ok(behind > 100, `only ${behind} trailer fields came through`)
  assert.equal(methods.size, 3)
})

/** Whole numbers below n, the same ones in every run (a linear congruential generator). */
function seeded(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}
