import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import { HOOK_NAMES, type HookName } from "../../../../src/hooks.ts"
import { applyAnswer } from "../../../../src/sandbox/jail/messages/apply-answer.ts"
import { errorToJson, runGuestCall } from "../../../../src/sandbox/jail/messages/guest-calls.ts"
import { readHello } from "../../../../src/sandbox/jail/messages/hello.ts"
import { LineReader } from "../../../../src/sandbox/jail/messages/line-reader.ts"
import { parseAnswer0, parseLine } from "../../../../src/sandbox/jail/messages/parse-line.ts"
import { ProtocolFault } from "../../../../src/sandbox/jail/messages/protocol-fault.ts"
import { toResultLine } from "../../../../src/sandbox/jail/messages/write-line.ts"
import { WrittenBody } from "../../../../src/sandbox/jail/messages/written-body.ts"
import type { Answer, FromGuest, GuestCall } from "../../../../src/sandbox/jail/protocol.ts"
import type { Exchange, Json, Side } from "../../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, LIMITS, request } from "../../../contracts/sandbox-contract.ts"
import { mulberry32 } from "../../../support/mulberry32.ts"
import { realExchange } from "./real-exchange.ts"

type Random = () => number

const LINES = [
  '{"id":0,"ok":true,"protocol":1,"hooks":["onRequest","on_response"],"concurrency":8}',
  '{"id":7,"ok":true}',
  '{"id":7,"ok":true,"action":"respond","status":403,"headers":[["x-a","1"]],"body":{"base64":"AAA="}}',
  '{"id":7,"ok":true,"remove_headers":["x-a"],"set_headers":{"x-b":["2"]},"path":"/b","user":{"id":"a","claims":{}}}',
  '{"id":7,"ok":true,"add_headers":[["x","y"]],"extensions":{"k":"v"},"tenant_id":"t","site_id":null,"body":"b"}',
  '{"id":7,"ok":true,"method":"POST","query":"a=1","body":{"written":true},"status":404,"result":{"html":"x"}}',
  '{"id":7,"error":{"message":"no","code":"E_STORAGE_KEY"}}',
  '{"id":"a","method":"storage.get","params":{"key":"seen"},"call":7}',
  '{"id":1,"method":"storage.set","params":{"key":"a","value":{"base64":"AAA="},"ttl_ms":1}}',
  '{"id":1,"method":"storage.keys","params":{"prefix":"a","limit":3}}',
  '{"id":1,"method":"storage.incr","params":{"key":"a","by":2,"ttl_ms":0}}',
  '{"id":1,"method":"storage.cas","params":{"key":"a","expected":"1","value":"2"}}',
  '{"id":1,"method":"storage.flush"}',
  '{"id":1,"method":"fetch","params":{"url":"u","method":"PUT","headers":[["a","b"]],"body":"x","redirect":"error"}}',
  '{"id":1,"method":"queue.push","params":{"queue":"mail","value":[1],"key":"k","delay_ms":9}}',
  '{"id":1,"method":"secret","params":{"name":"KEY"}}',
  '{"method":"metric","params":{"name":"hits","value":1.5,"tags":{"a":"b"}}}',
  '{"method":"log","params":{"level":"warn","message":"m"}}',
  '{"id":1,"method":"body.read","params":{"side":"request","offset":1,"length":2},"call":7}',
  '{"id":1,"method":"body.write","params":{"text":"x"},"call":7}',
]
/** What tends to matter to whoever reads JSON. */
const PIECES = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "null",
  "true",
  "1e999",
  "-0",
  "9007199254740993",
  '"__proto__":',
  '"constructor":',
  '{"__proto__":{"ok":true}}',
  '"\\ud800"',
  "\\u0000",
  "\0",
  "\r",
  "\ufeff",
  "\u2028",
  '"base64":"-_"',
  '"ok":true,',
  '"error":',
  '"method":"log",',
  "[".repeat(120),
]
const VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 53,
  -1e308,
  "",
  "a",
  "\0",
  "\ud800",
  "é".repeat(9000),
  "x".repeat(70_000),
  [],
  [[]],
  [null],
  ["a", "b"],
  [["a", "b"]],
  [["a", "b", "c"]],
  {},
  { a: "b" },
  { a: ["b"] },
  { a: null },
  { base64: "AA==" },
  { base64: "A" },
  { base64: 7 },
  { written: true },
  { text: "x" },
  JSON.parse('{"__proto__":"x"}'),
  JSON.parse('{"constructor":{"prototype":{"x":1}}}'),
]

describe("lines of a hostile program", () => {
  it("are understood or refused, when they are random bytes", async () => {
    const random = mulberry32(1)
    for (let round = 0; round < 3000; round++) {
      const line = Buffer.from(Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256)))
      await offer(line)
    }
  })

  it("are understood or refused, when they are valid ones with changed bytes and pieces", async () => {
    const random = mulberry32(2)
    for (let round = 0; round < 6000; round++) {
      let line: Buffer = Buffer.from(pick(random, LINES))
      for (let changes = 1 + Math.floor(random() * 4); changes > 0; changes--) line = changed(line, random)
      await offer(line)
    }
  })

  it("are understood or refused, when they are valid ones with other values", async () => {
    const random = mulberry32(3)
    for (let round = 0; round < 3000; round++) {
      const message = JSON.parse(pick(random, LINES)) as Json
      await offer(Buffer.from(JSON.stringify(replaced(message, random))))
    }
  })

  it("come out the same, wherever their chunks end", () => {
    const random = mulberry32(4)
    for (let round = 0; round < 300; round++) {
      const stream = Buffer.from(Array.from({ length: 200 }, () => (random() < 0.1 ? 10 : Math.floor(random() * 256))))
      assert.deepEqual(linesOf(stream, random, 7), linesOf(stream, random, stream.length), stream.toString("hex"))
    }
  })
})

/** @throws What is neither a refusal nor understood, and what leaves a trace where it must not. */
async function offer(line: Buffer): Promise<void> {
  const shown = line.toString().slice(0, 500)
  const message = allowed(ProtocolFault, () => parseLine(line), shown)
  const answer0 = allowed(ProtocolFault, () => parseAnswer0(line), shown)
  if (answer0 !== undefined) applyEverywhere(answer0, shown)
  if (message !== undefined) await take(message, shown)
  assert.deepEqual(Object.keys(Object.prototype), [])
  for (const name of ["ok", "action", "id", "x"]) assert.equal(Reflect.get({}, name), undefined, shown)
}

async function take(message: FromGuest, shown: string): Promise<void> {
  if ("call" in message) {
    await serve(message.call, shown)
    return
  }
  allowed(PluginError, () => readHello("p", message.answer), shown)
  applyEverywhere(message.answer, shown)
}

function applyEverywhere(answer: Answer, shown: string): void {
  const apply = (hook: HookName, exchange: Exchange | null) => {
    const call = { ...event(hook, []), exchange }
    const written = Buffer.from("w")
    allowed(PluginError, () => applyAnswer("p", call, answer, written, new Set(), LIMITS.messageBytes), shown)
  }
  for (const side of ["request", "response"] as const) {
    apply(`on_${side}`, new RecordingExchange("/", side))
    apply(`on_${side}`, real(side))
  }
  for (const hook of HOOK_NAMES) if (!/^on_re(?:quest|sponse)$/.test(hook)) apply(hook, null)
}

function real(side: Side): Exchange {
  const permissions = { identity: true, rewrite_path: true, rewrite_method: true, body: "both" } as const
  return realExchange(side, permissions, { body: "b" }).exchange
}

/** Its answer, whatever it is, is one line that says the same as the value. */
async function serve(call: GuestCall, shown: string): Promise<void> {
  const context = {
    plugin: "p",
    services: new RecordingServices(),
    tenant: null,
    exchange: request(new RecordingExchange("/")).exchange,
    written: new WrittenBody("p", LIMITS.messageBytes),
    signal: new AbortController().signal,
    limits: LIMITS,
  }
  let params: Json
  try {
    params = { value: await runGuestCall(call, context) }
  } catch (error) {
    assert.ok(error instanceof PluginError, `${String(error)} for ${shown}`)
    params = { error: errorToJson(error) }
  }
  const line = toResultLine(call.id ?? 0, params, LIMITS)
  assert.equal(line.indexOf("\n"), line.length - 1)
  const result = JSON.parse(line)
  assert.deepEqual([result.method, result.id], ["result", call.id ?? 0], shown)
}

function allowed<T>(failure: typeof ProtocolFault | typeof PluginError, run: () => T, shown: string): T | undefined {
  try {
    return run()
  } catch (error) {
    assert.ok(error instanceof failure, `${(error as Error).stack} for ${shown}`)
    assert.ok(error.message.length < 2500, shown)
    return undefined
  }
}

function changed(line: Buffer, random: Random): Buffer {
  const at = Math.floor(random() * (line.length + 1))
  const kind = random()
  if (kind < 0.2) return splice(line, at, at + 1, Buffer.from([Math.floor(random() * 256)]))
  if (kind < 0.4) return splice(line, at, at + 1 + Math.floor(random() * 8), Buffer.alloc(0))
  if (kind < 0.8) return splice(line, at, at, Buffer.from(pick(random, PIECES)))
  const from = Math.floor(random() * line.length)
  return splice(line, at, at, line.subarray(from, from + Math.floor(random() * 20)))
}

function splice(line: Buffer, from: number, to: number, piece: Buffer): Buffer {
  return Buffer.concat([line.subarray(0, from), piece, line.subarray(to)])
}

/** The same with one or two of its values, at any depth, replaced. */
function replaced(value: Json, random: Random): Json {
  if (typeof value !== "object" || value === null || random() < 0.1) return pick(random, VALUES)
  const keys = Object.keys(value)
  if (keys.length === 0) return pick(random, VALUES)
  const chosen = pick(random, keys)
  if (Array.isArray(value)) return value.map((item: Json, i) => (String(i) === chosen ? replaced(item, random) : item))
  const entries = Object.entries(value).map(([key, inner]): [string, Json] => [
    key,
    key === chosen ? replaced(inner, random) : inner,
  ])
  return Object.fromEntries(entries)
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!
}

function linesOf(stream: Buffer, random: Random, most: number): string[] {
  const taken: string[] = []
  const reader = new LineReader(1000, (line) => taken.push(line.toString("hex")))
  for (let at = 0; at < stream.length; ) {
    const size = 1 + Math.floor(random() * most)
    reader.push(stream.subarray(at, at + size))
    at += size
  }
  return taken
}
