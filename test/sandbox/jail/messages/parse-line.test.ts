import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parseAnswer0, parseLine } from "../../../../src/sandbox/jail/messages/parse-line.ts"
import { ProtocolFault } from "../../../../src/sandbox/jail/messages/protocol-fault.ts"
import type { Answer, GuestCall } from "../../../../src/sandbox/jail/protocol.ts"

describe("parseLine", () => {
  it("reads an answer with all its fields", () => {
    const { id, error, fields } = answer('{"id":7,"ok":true,"action":"respond","status":403}')
    assert.deepEqual([id, error], [7, null])
    assert.deepEqual(fields, { id: 7, ok: true, action: "respond", status: 403 })
  })

  it("reads an answer without id, for whoever can tell what it answers", () => {
    assert.equal(answer('{"ok":true}').id, null)
    assert.equal(answer('{"ok":true,"id":null}').id, null)
    assert.equal(answer("{}").id, null)
  })

  it("takes a line with ok or error for an answer, also when it sets the method of the request", () => {
    assert.equal(answer('{"id":1,"ok":true,"method":"POST"}').fields.method, "POST")
    assert.equal(answer('{"id":1,"error":"no","method":"POST"}').error?.message, "no")
    assert.equal(answer('{"id":1,"ok":false,"method":"POST"}').fields.ok, false)
  })

  it("reads a call of the program", () => {
    const whole = call('{"id":"a","method":"storage.get","params":{"key":"seen"},"call":7}')
    assert.deepEqual(whole, { id: "a", method: "storage.get", params: { key: "seen" }, call: 7 })
    const bare = { id: null, method: "storage.flush", params: null, call: null }
    assert.deepEqual(call('{"method":"storage.flush"}'), bare)
    assert.deepEqual(call('{"method":"storage.flush","id":null,"params":null,"call":null}'), bare)
  })

  it("takes the ids of calls that can be given back unchanged, and no others", () => {
    for (const id of ["0", "-1", "9007199254740991", '""', '"\\ud800"', `"${"x".repeat(64)}"`]) {
      assert.deepEqual(call(`{"method":"log","id":${id}}`).id, JSON.parse(id))
    }
    for (const id of ["1e999", "-1e999", "9007199254740992", "1.5", "true", "[1]", "{}", `"${"x".repeat(65)}"`]) {
      refuses(`{"method":"log","id":${id}}`, /^it wrote a call whose id /)
    }
  })

  it("takes the ids that the host gives, and no others", () => {
    assert.equal(answer('{"id":0,"ok":true}').id, 0)
    assert.equal(answer('{"id":1.0,"ok":true}').id, 1)
    assert.equal(answer('{"id":-0,"ok":true}').id, -0)
    for (const id of ["1e999", "-1", "9007199254740992", "0.5", '"7"', "true", "[7]", '{"valueOf":7}']) {
      refuses(`{"id":${id},"ok":true}`, /^it wrote a line whose id /)
      refuses(`{"method":"log","call":${id}}`, /^it wrote a line whose call /)
    }
    for (const id of ["NaN", "Infinity", "07", "+7", "0x7", "7n", "undefined"]) {
      refuses(`{"id":${id},"ok":true}`, /^it wrote a line that is not JSON/)
    }
  })

  it("refuses a call whose method is not a text", () => {
    for (const method of ["null", "1", "[]", "{}", "true"]) {
      refuses(`{"method":${method}}`, /^it wrote a call whose method is not a text/)
    }
  })

  it("reads a failure as text, with a code where there is one", () => {
    assert.deepEqual(answer('{"id":1,"error":"late"}').error, { message: "late", code: null })
    assert.deepEqual(answer('{"id":1,"error":{"message":"late","code":"E_X"}}').error, { message: "late", code: "E_X" })
    assert.deepEqual(answer('{"id":1,"error":{"message":"late","code":7}}').error, { message: "late", code: null })
  })

  it("takes every error but null for a failure, also beside ok", () => {
    assert.equal(answer('{"id":1,"ok":true,"error":null}').error, null)
    for (const error of ["false", "0", '""', "[]", "{}", '{"message":7}', '{"code":"E_X"}']) {
      assert.notEqual(answer(`{"id":1,"ok":true,"error":${error}}`).error, null, error)
    }
    assert.equal(answer('{"id":1,"error":{"why":"x"}}').error?.message, '{"why":"x"}')
  })

  it("refuses what is not one JSON object", () => {
    for (const line of [
      "",
      " ",
      "\r",
      "hello",
      "[]",
      "null",
      "7",
      '"text"',
      "{",
      '{"id":1}{"id":2}',
      "{'id':1}",
      "\0",
    ]) {
      refuses(line, /^it wrote a line that is not (?:JSON|a JSON object): /)
    }
  })

  it("passes over white space around the object, such as a carriage return, and refuses a byte order mark", () => {
    assert.equal(answer('\t {"id":1,"ok":true} \r').id, 1)
    refuses('\ufeff{"id":1,"ok":true}', /^it wrote a line that is not JSON: "\\u\{feff\}\{/)
  })

  it("refuses what is not UTF-8: overlong forms, surrogates, stray and missing bytes", () => {
    const around = (...bytes: number[]) => Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')])
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x80], [0xe2, 0x82], [0xf4, 0x90, 0x80, 0x80]]) {
      assert.throws(() => parseLine(around(...bytes)), /^ProtocolFault: it wrote a line that is not UTF-8/)
    }
    assert.equal(answer('{"ok":true,"a":"𝄞é"}').fields.a, "𝄞é")
  })

  it("keeps half a surrogate pair that was escaped", () => {
    assert.equal(answer('{"ok":true,"a":"\\ud83d"}').fields.a, "\ud83d")
  })

  it("takes the last of several fields of one name", () => {
    assert.equal(answer('{"id":1,"id":2,"ok":true}').id, 2)
    assert.equal(call('{"method":"log","method":"fetch"}').method, "fetch")
  })

  it("gives __proto__, constructor and prototype no meaning", () => {
    const poisoned = answer('{"__proto__":{"ok":true,"id":7,"error":"no","status":200,"polluted":1}}')
    assert.deepEqual([poisoned.id, poisoned.error], [null, null])
    assert.equal(poisoned.fields.ok, undefined)
    assert.equal(poisoned.fields.status, undefined)
    assert.equal(call('{"method":"log","__proto__":{"id":"x","call":3}}').id, null)
    refuses('{"method":"log","id":{"__proto__":{"length":1}}}', /id is no whole number/)
    answer('{"ok":true,"constructor":{"prototype":{"polluted":1}},"prototype":{"polluted":1}}')
    assert.equal(Reflect.get({}, "polluted"), undefined)
    assert.equal(
      answer('{"ok":true,"error":{"__proto__":{"message":"x"}}}').error?.message,
      '{"__proto__":{"message":"x"}}',
    )
  })

  it("takes 100 levels, and refuses one more", () => {
    const nested = (levels: number) => `{"ok":true,"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`
    assert.ok(answer(nested(100)))
    refuses(nested(101), /^it wrote JSON of more than 100 levels/)
    refuses('{"a":'.repeat(200_000), /^it wrote JSON of more than 100 levels/)
  })

  it("counts no brackets and commas in texts, whatever is escaped in them", () => {
    const text = `${"[{,".repeat(100_000)}\\\\\\"${"[".repeat(1000)}`
    assert.equal((answer(`{"ok":true,"a":"${text}"}`).fields.a as string).length, 301_002)
    refuses(`{"ok":true,"a":"\\\\"${"[".repeat(200)}`, /levels/)
    refuses(`{"ok":true,"a":"\\"${"[".repeat(200)}`, /not JSON/)
    refuses(`{"a":"\\`, /not JSON/)
  })

  it("takes 50,000 entries, and refuses one more before it is parsed", () => {
    const entries = (count: number) => `{"ok":true,"a":[1${",1".repeat(count - 3)}]}`
    assert.equal((answer(entries(50_000)).fields.a as unknown[]).length, 49_998)
    refuses(entries(50_001), /^it wrote JSON of more than 50000 entries/)
  })

  it("shows at most 80 characters of the line, and nothing that a terminal obeys", () => {
    const message = faultOf(`\u001b[2J\u202eab${"é".repeat(100_000)}`).message
    assert.match(message, /: "\\u001b\[2J\\u\{202e\}abé{70,80}"$/)
    const { message: broken } = faultOf(Buffer.alloc(1000, 0xff))
    assert.ok(broken.length < 200, broken)
  })
})

describe("parseAnswer0", () => {
  it("takes an empty line, and one of blanks, for ok", () => {
    for (const line of ["", " ", "\t \r"]) {
      assert.deepEqual(parseAnswer0(Buffer.from(line)), { id: null, error: null, fields: { ok: true } })
    }
  })

  it("reads an answer, and passes over what would be its id", () => {
    assert.equal(parseAnswer0(Buffer.from('{"id":"x","ok":true}')).id, null)
    assert.deepEqual(parseAnswer0(Buffer.from('{"error":"no"}')).error, { message: "no", code: null })
    assert.equal(parseAnswer0(Buffer.from('{"method":"storage.get"}')).fields.ok, undefined)
  })

  it("refuses what is not one JSON object", () => {
    for (const line of ["ok", "[]", "null", "\0", "\u00a0", '"{}"']) {
      assert.throws(() => parseAnswer0(Buffer.from(line)), ProtocolFault)
    }
  })
})

function answer(line: string): Answer {
  const message = parseLine(Buffer.from(line))
  assert.ok("answer" in message, line)
  return message.answer
}

function call(line: string): GuestCall {
  const message = parseLine(Buffer.from(line))
  assert.ok("call" in message, line)
  return message.call
}

function refuses(line: string, message: RegExp): void {
  assert.match(faultOf(line).message, message)
}

function faultOf(line: string | Buffer): Error {
  try {
    parseLine(Buffer.from(line as string))
  } catch (error) {
    assert.ok(error instanceof ProtocolFault)
    return error
  }
  assert.fail(`${line.toString().slice(0, 100)} was taken`)
}
