import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { compileConfigSchema } from "../../src/host/config-schema.ts"
import type { Json } from "../../src/sandbox/sandbox.ts"

const compile = (schema: unknown) => compileConfigSchema("demo", "config.schema.json", JSON.stringify(schema))

function problems(schema: unknown, value: Json): Record<string, string> {
  const result = compile(schema).check(value)
  return result.ok ? {} : Object.fromEntries(result.problems.map(({ path, message }) => [path, message]))
}

const HEADERS = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  $id: "https://plugins.example/security-headers",
  type: "object",
  additionalProperties: false,
  properties: {
    hsts_max_age: { type: "integer", minimum: 0, default: 31536000 },
    x_frame_options: { enum: ["DENY", "SAMEORIGIN"], default: "DENY" },
    extra: { type: "object", properties: { note: { type: "string", default: "none" } }, default: {} },
  },
}

describe("config schema", () => {
  it("adds defaults, also inside defaults, and freezes the result", () => {
    const result = compile(HEADERS).check({ hsts_max_age: 1 })
    assert.deepEqual(result, { ok: true, value: { hsts_max_age: 1, x_frame_options: "DENY", extra: { note: "none" } } })
    assert.ok(result.ok && Object.isFrozen(result.value))
    assert.ok(Object.isFrozen((result.value as { extra: object }).extra))
  })

  it("does not change what it was given", () => {
    const given = Object.freeze({ extra: Object.freeze({}) })
    compile(HEADERS).check(given)
    assert.deepEqual(given, { extra: {} })
  })

  it("names every wrong field, what was expected, and the likely typo", () => {
    assert.deepEqual(problems(HEADERS, { hsts_maxage: 1, x_frame_options: "deny", hsts_max_age: "1" }), {
      "/hsts_maxage": "unknown setting; did you mean hsts_max_age?; allowed: hsts_max_age, x_frame_options, extra",
      "/x_frame_options": 'expected one of "DENY", "SAMEORIGIN"; found "deny"',
      "/hsts_max_age": "expected integer, found string",
    })
  })

  it("names a missing field by its own path and fields with odd names by JSON pointer", () => {
    const schema = {
      type: "object",
      required: ["key"],
      properties: { "a/b~c": { type: "object", properties: { "x y": { type: "number" } } } },
    }
    assert.deepEqual(problems(schema, { "a/b~c": { "x y": "1" } }), {
      "/key": "is missing and required",
      "/a~1b~0c/x y": "expected number, found string",
    })
  })

  it("decides patterns as written, on values and on names", () => {
    const schema = {
      type: "object",
      properties: { path: { type: "string", pattern: "^/[a-z]+$" }, any: { pattern: "b" } },
      patternProperties: { "^x-": { type: "string" }, "^x-n": { minLength: 2 }, "^never": false },
      additionalProperties: false,
    }
    assert.deepEqual(problems(schema, { path: "/abc", any: "abc", "x-note": "ok" }), {})
    assert.deepEqual(problems(schema, { path: "/abc", any: 5 }), {})
    assert.deepEqual(Object.keys(problems(schema, { path: "/ABC\n", any: "aac", "x-note": 5, other: 1 })).sort(), [
      "/any",
      "/other",
      "/path",
      "/x-note",
    ])
    assert.deepEqual(Object.keys(problems(schema, { "x-note": "1" })), ["/x-note"])
  })

  it("matches a pattern that explodes in backtracking engines in linear time", () => {
    const schema = { type: "object", properties: { a: { type: "string", pattern: "^(a+)+$" } } }
    assert.deepEqual(Object.keys(problems(schema, { a: `${"a".repeat(5000)}b` })), ["/a"])
    const names = { type: "object", patternProperties: { "^(a|a)*$": { type: "string" } } }
    assert.deepEqual(problems(names, { [`${"a".repeat(5000)}!`]: 5 }), {})
  })

  it("refuses patterns whose repetitions add up", () => {
    const properties = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`p${i}`, { pattern: `${i}(?:${"a{1000}".repeat(60)})` }]),
    )
    assert.throws(() => compile({ properties }), { code: "E_PLUGIN_MANIFEST_INVALID", message: /too costly/ })
    const long = { properties: { a: { pattern: "(?:[ab]{0,900})".repeat(20) } } }
    assert.throws(() => compile(long).check({ a: "ab".repeat(50_000) }), { message: /too costly/ })
  })

  it("refuses patterns that cannot be matched in linear time, saying so", () => {
    for (const pattern of ["(?=a)b", "(a)\\1"]) {
      assert.throws(() => compile({ properties: { a: { pattern } } }), {
        code: "E_PLUGIN_MANIFEST_INVALID",
        message: /config\.schema\.json: not a usable JSON Schema: pattern .* linear time/,
      })
    }
  })

  it("stops a schema whose references multiply", () => {
    for (const keyword of ["allOf", "anyOf", "oneOf"]) {
      const $defs = Object.fromEntries(
        Array.from({ length: 25 }, (_, i) => [`d${i}`, { [keyword]: Array(2).fill({ $ref: `#/$defs/d${i + 1}` }) }]),
      )
      const bomb = { $ref: "#/$defs/d0", $defs: { ...$defs, d25: { type: "string" } } }
      assert.throws(
        () => compile(bomb).check({}),
        { code: "E_PLUGIN_MANIFEST_INVALID", message: /steps|cannot be evaluated/ },
        keyword,
      )
    }
  })

  it("stops a schema that refers to itself without end, and follows one that recurses with the value", () => {
    assert.throws(() => compile({ $ref: "#" }).check({}), { code: "E_PLUGIN_MANIFEST_INVALID" })
    const tree = {
      type: "object",
      properties: { name: { type: "string", default: "leaf" }, inner: { $ref: "#" } },
      additionalProperties: false,
    }
    const result = compile(tree).check({ inner: { inner: {} } })
    assert.deepEqual(result.ok && result.value, { name: "leaf", inner: { name: "leaf", inner: { name: "leaf" } } })
    assert.deepEqual(Object.keys(problems(tree, { inner: { inner: { nam: "x" } } })), ["/inner/inner/nam"])
  })

  it("refuses schemas that lead out of the file, are too deep, too large or broken", () => {
    const deep = `${'{"not":'.repeat(40)}true${"}".repeat(40)}`
    const bad: [string, RegExp][] = [
      [JSON.stringify({ $ref: "https://evil.example/schema.json" }), /leads out of the file/],
      [JSON.stringify({ $ref: "file:///etc/passwd" }), /leads out of the file/],
      [JSON.stringify({ properties: { a: { $id: "https://x.example/" } } }), /\$id is not supported/],
      [JSON.stringify({ $schema: "http://json-schema.org/draft-07/schema#" }), /2020-12/],
      [deep, /levels deep/],
      [JSON.stringify({ description: "x".repeat(70_000) }), /larger than/],
      ["{", /not a usable JSON Schema/],
      ["[]", /a schema is an object or a boolean/],
      [JSON.stringify({ properties: { a: 5 } }), /a schema is an object or a boolean/],
      [JSON.stringify({ allOf: {} }), /allOf is a list/],
    ]
    for (const [text, message] of bad) {
      assert.throws(() => compileConfigSchema("demo", "s.json", text), { code: "E_PLUGIN_MANIFEST_INVALID", message })
    }
    for (const schema of [{ $ref: "#/$defs/nothing" }, { required: 5 }, { enum: 5 }, { dependentRequired: [1] }]) {
      const check = () => compile(schema).check({})
      try {
        const result = check()
        assert.ok(result.ok !== undefined)
      } catch (error) {
        assert.equal((error as { code?: string }).code, "E_PLUGIN_MANIFEST_INVALID")
      }
    }
    assert.throws(() => compile({ $ref: "#/$defs/nothing" }).check({}), { code: "E_PLUGIN_MANIFEST_INVALID" })
  })

  it("lets no schema or value reach an object's prototype", () => {
    const schema = JSON.parse(
      '{"type":"object","properties":{"__proto__":{"type":"object","default":{"polluted":true}}}}',
    )
    const result = compile(schema).check(JSON.parse('{"constructor":1}'))
    assert.ok(result.ok)
    assert.equal((result.value as { polluted?: boolean }).polluted, undefined)
    assert.equal(({} as { polluted?: boolean }).polluted, undefined)
    assert.ok(Object.hasOwn(result.value as object, "__proto__"))
  })

  it("checks well-known formats and takes others as notes", () => {
    const schema = { type: "object", properties: { when: { format: "date" }, where: { format: "__proto__" } } }
    assert.deepEqual(problems(schema, { when: "2026-01-31", where: "anything" }), {})
    assert.deepEqual(Object.keys(problems(schema, { when: "2026-02-31" })), ["/when"])
  })

  it("says one thing about a value that fits none of several forms", () => {
    const schema = {
      type: "object",
      properties: { a: { anyOf: [{ type: "string" }, { type: "integer", minimum: 5 }] } },
    }
    assert.deepEqual(problems(schema, { a: 3 }), { "/a": "3 fits none of the allowed forms, or more than one" })
  })
})
