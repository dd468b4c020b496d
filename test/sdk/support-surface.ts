import assert from "node:assert/strict"
import { createHash, createHmac, generateKeyPairSync, sign } from "node:crypto"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { HeaderList } from "../../src/message/header-list.ts"
import type { Sandbox } from "../../src/sandbox/sandbox.ts"
import { createWasmTier } from "../../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { RecordingServices } from "../contracts/recording-services.ts"
import { event, LIMITS, request } from "../contracts/sandbox-contract.ts"

export interface SurfaceSdk {
  readonly title: string
  /** Its folder in test/fixtures/sdk. */
  readonly language: string
  readonly skip: string | false
  /** What the log has when the guest gives up. */
  readonly lastWords: readonly RegExp[]
  /** As in `ExampleSdk`. */
  build(folder: string): void
}

/** Everything an SDK has, tried by a guest that does what the path says. */
export function sdkSurface({ title, language, skip, lastWords, build }: SurfaceSdk): void {
  describe(title, { skip }, () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), "bext-sdk-"))
      cpSync(fileURLToPath(new URL(`../fixtures/sdk/${language}`, import.meta.url)), folder, { recursive: true })
      build(folder)
    })
    after(() => rmSync(folder, { recursive: true, force: true }))
    const open = async (services = new RecordingServices()) => {
      const source = { name: "guest", folder, entry: join(folder, "plugin.wasm") }
      const guest = await tier.load(source, services, { ...LIMITS, messageBytes: 1024 * 1024 }, "shared")
      await guest.ready(event("on_server_start", [services.config]))
      return guest
    }
    describeRequests(open)
    describeServices(open)
    describeHooks(open, lastWords)
    describeJson(open)
    describeEndurance(open)
  })
}

const tier = createWasmTier()

type Open = (services?: RecordingServices) => Promise<Sandbox>

async function ask(guest: Sandbox, path: string, exchange = new RecordingExchange(path)): Promise<string> {
  await guest.call(request(exchange))
  assert.equal(exchange.answer?.status, 201)
  return exchange.text!
}

function describeRequests(open: Open): void {
  it("reads everything of a request, and tells none from empty", async () => {
    await using guest = await open()
    const words = [
      "GET a=1&b=%20 http example.com:8080 192.0.2.1 0123456789abcdef0123456789abcdef websocket",
      '{"id":"ada","claims":{}} t1 - 1',
    ]
    assert.equal(await ask(guest, "/request"), words.join(" "))
    const exchange = new RecordingExchange("/headers")
    exchange.lists.request.append("x-empty", "")
    exchange.lists.request.append("x-ümlaut", "ä")
    assert.equal(await ask(guest, "/headers", exchange), "x-one=1 x-empty= x-ümlaut=ä 1 - -")
  })

  it("changes the request", async () => {
    await using guest = await open()
    const exchange = new RecordingExchange("/change")
    assert.equal(guest.call(request(exchange)), undefined)
    assert.equal(exchange.answer, null)
    assert.equal(exchange.path, "/changed")
    assert.deepEqual([...exchange.lists.request], [["x-set", "a"], ["x-set", "ä"]]) // biome-ignore format: pairs
    assert.equal(exchange.extensions.get("guest.key"), "value")
    assert.equal(Buffer.from(exchange.bodies.request).toString(), "new body")
  })

  it("answers with status, headers and body", async () => {
    await using guest = await open()
    const exchange = new RecordingExchange("/body")
    exchange.bodies.request = Buffer.from("bödy")
    assert.equal(await ask(guest, "/body", exchange), "5 bödy")
    assert.deepEqual(exchange.answer?.headers, [["x-empty", ""], ["x-words", "two words"]]) // biome-ignore format: pairs
    const bare = new RecordingExchange("/elsewhere")
    guest.call(request(bare))
    assert.deepEqual([bare.answer?.status, bare.answer?.headers, bare.text], [404, [], ""])
  })

  it("goes on after a refusal, and fails with its code when the hook does", async () => {
    await using guest = await open()
    assert.equal(await ask(guest, "/refusals"), "-5 E_HEADER_FORBIDDEN: host is not yours -3 -3 -3 -3")
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/refused"))), {
      code: "E_HEADER_FORBIDDEN",
      message: "guest: on_request: host is not yours [E_HEADER_FORBIDDEN]",
    })
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/fail"))), {
      code: "E_GUEST_THREW",
      message: "guest: on_request: no luck today [E_GUEST_THREW]",
    })
  })
}

function describeServices(open: Open): void {
  it("has settings, what it kept of them at the start, secrets, metrics and a log", async () => {
    const services = new RecordingServices()
    await using guest = await open(services)
    assert.equal(await ask(guest, "/mine"), 'hello hello - {"greeting":"hello"} s3cret')
    assert.deepEqual(services.lines, ["debug fine", "info ïnfo", "warn careful", "error wrong"])
    assert.deepEqual(services.metrics, [["plain", 1.5, {}], ["tagged", -2, { 'a"b': "\n" }]]) // biome-ignore format: rows
  })

  it("stores, lists and deletes", async () => {
    await using guest = await open()
    assert.equal(await ask(guest, "/storage"), "- 0 0 ünö 1 a ab 1 0")
  })

  it("waits for counters, queues and other servers", async () => {
    const services = new RecordingServices()
    await using guest = await open(services)
    assert.equal(await ask(guest, "/waiting"), "-2 1 0 1 0 message 1 message 2 -3 203 x-from afar fetchéd")
    const [first, second] = services.messages
    assert.deepEqual([first?.value, first?.key, first?.delayMs], ["[1]", null, 0])
    assert.deepEqual([second?.value, second?.key, second?.delayMs], ["2", "key", 1500])
    const { url, method, headers, body } = services.requests[0]!
    assert.deepEqual([url, method, headers], ["http://a.test/", "POST", [["x-a", "1"]]])
    assert.equal(Buffer.from(body!).toString(), "hi")
  })

  it("hashes, verifies, and has clocks and randomness", async () => {
    await using guest = await open()
    const { publicKey, privateKey } = generateKeyPairSync("ed25519")
    const exchange = new RecordingExchange("/crypto")
    const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32)
    exchange.lists.request.set("x-key", raw.toString("hex"))
    exchange.lists.request.set("x-signature", sign(null, Buffer.from("message"), privateKey).toString("base64url"))
    const digest = createHash("sha256").update("abc").digest("hex")
    const hmac = createHmac("sha256", "key").update("abc").digest("hex")
    const [empty, ...words] = (await ask(guest, "/crypto", exchange)).split(" ")
    assert.deepEqual([empty, ...words.slice(0, 5)], ["", digest, hmac, "1", "0", "0"])
    assert.ok(Math.abs(Number(words[5]) - Date.now() / 1e9) < 2, String(words[5]))
    assert.equal(words[6], "1")
  })
}

function describeHooks(open: Open, lastWords: readonly RegExp[]): void {
  it("changes the response", async () => {
    await using guest = await open()
    const exchange = new RecordingExchange("/", "response")
    exchange.lists.response = HeaderList.from([["x-old", "1"]])
    exchange.bodies.response = Buffer.from("old")
    guest.call({ ...request(exchange), hook: "on_response" })
    assert.equal(exchange.status, 201)
    assert.deepEqual([...exchange.lists.response], [["x-words", "x-old=1 old"]])
    assert.equal(Buffer.from(exchange.bodies.response).toString(), "changed")
  })

  it("gets events, pages of the cache, sources and the calls of a cache", async () => {
    const services = new RecordingServices()
    await using guest = await open(services)
    await guest.call(event("on_request_complete", [{ path: "/ä\n" }]))
    await guest.call(event("on_cache_write", ["/page", ["a", "b"]]))
    assert.deepEqual(services.lines, ["info /ä\n", 'info /page ["a","b"]'])
    await assert.rejects(async () => guest.call(event("cleanup", [null])), {
      message: /cleanup: null \[E_GUEST_THREW\]/,
    })
    const env = { node_env: "production", env_vars: {} }
    assert.equal(await guest.call(event("transform", ["let a", "a.js", env])), "a.js production let a")
    assert.equal(await guest.call(event("transform", ["let a", "same.js", env])), undefined)
    assert.equal(await guest.call(event("transform", ["let a", "empty.js", env])), "")
    assert.deepEqual(await guest.call(event("cache_get", ["key", 1])), ["key", 1])
    assert.equal(await guest.call(event("cache_delete", ["key"])), undefined)
    await assert.rejects(async () => guest.call(event("cache_set", ["key"])), {
      message: /cache_set: \["key"\] \[E_GUEST_THREW\]/,
    })
  })

  it("ends as a trap when it gives up, says where, and serves the next request", async () => {
    const services = new RecordingServices()
    await using guest = await open(services)
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/panic"))), {
      code: "E_GUEST_TRAPPED",
      message: /^guest: on_request: unreachable in [\w.:$<>]+ \[E_GUEST_TRAPPED\]$/,
    })
    assert.equal(services.lines.length, lastWords.length)
    for (const [i, expected] of lastWords.entries()) assert.match(services.lines[i]!, expected)
    assert.equal(await ask(guest, "/mine"), 'hello hello - {"greeting":"hello"} s3cret')
  })
}

/** JSON and what is nearly JSON. */
const TEXTS = [
  '{"a":"1"}', '{"a":1,"a":"2"}', ' [ 1 , 2.5e3 , {} ] ', "[]", "{}", '""', '"\\ud83d\\ude00\\u00e9\\n\\/"', "null",
  "true", "-0", "1234.5", "12345e-1", "0.12345E+4", '{"\\u0061":"é"}', '{"a":{"a":["}",{"]":"\\""}]},"b":[[],[]]}',
  "\t\r\n 1234.5 ", "", " ", "nul", "01", "1.", ".5", "+1", "-", "1e", "0x10", "NaN", "[1,]", "[,1]", "[1", "1]",
  '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", '"', '"\\', '"\\x"', '"\\u12"', '"\\u+123"', '"a\nb"', "1 2", "[1 2]",
  '{"a":1 "b":2}', '{"a" 1}', "[1}", '{"a":1]', "\u{feff}1", "[[[[[[", '{"":{"":""}}', "truefalse", '"\u007f"', "1-", "--1",
] // biome-ignore format: one text after the other

function describeJson(open: Open): void {
  const read = (guest: Sandbox, bytes: Buffer) => {
    const exchange = new RecordingExchange("/json")
    exchange.lists.request.set("x-json", "a")
    exchange.bodies.request = bytes
    return ask(guest, "/json", exchange)
  }

  it("reads JSON as Node does, and takes nothing else for JSON", async () => {
    await using guest = await open()
    for (const text of [...TEXTS, `${"[".repeat(64)}${"]".repeat(64)}`]) {
      const bytes = Buffer.from(text)
      assert.equal(await read(guest, bytes), expectedJson(bytes), JSON.stringify(text))
    }
  })

  it("reads damaged JSON as Node does (seed 1)", async () => {
    await using guest = await open()
    const random = randomNumbers(1)
    for (let i = 0; i < 3000; i++) {
      let bytes: Buffer = Buffer.from(TEXTS[random(TEXTS.length)]!)
      for (let damages = random(3); damages >= 0; damages--) bytes = damage(bytes, random)
      assert.equal(await read(guest, bytes), expectedJson(bytes), JSON.stringify(bytes.toString("latin1")))
    }
  })

  it("survives JSON that is nested without an end", async () => {
    await using guest = await open()
    for (const text of ["[".repeat(100_000), `${"[".repeat(65)}${"]".repeat(65)}`, '{"a":'.repeat(50_000)]) {
      assert.equal(await read(guest, Buffer.from(text)), "no 0 - - other")
    }
  })
}

/** json|no, number of items, the text, the text of the member "a", whether it is 1234.5 */
function expectedJson(bytes: Buffer): string {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch {
    return "no 0 - - other"
  }
  const items = Array.isArray(value) ? value.length : 0
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
  const inner = isObject ? (value as Record<string, unknown>).a : undefined
  const show = (value: unknown) => (typeof value === "string" ? value.toWellFormed() : "-")
  return ["json", items, show(value), show(inner), value === 1234.5 ? "1234.5" : "other"].join(" ")
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** What JSON and UTF-8 are made of, and what they are not. */
const PIECES = Buffer.from('{}[]",:\\u0aeE+-.19 \t\n\0\x1f\x7ftrufalsn\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\xff', "latin1")

/** One byte more, less, or another. */
function damage(bytes: Buffer, random: (below: number) => number): Buffer {
  const at = random(bytes.length + 1)
  const kind = random(3)
  const piece = kind === 0 ? [] : [PIECES[random(PIECES.length)]!]
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(piece), bytes.subarray(kind === 1 ? at : at + 1)])
}

/** Source: D. E. Knuth, The Art of Computer Programming, volume 2, §3.2.1 (linear congruential). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

function describeEndurance(open: Open): void {
  it("needs no more memory after 100,000 requests than after the first thousand", async () => {
    await using guest = await open()
    const paths = ["/request", "/headers", "/storage", "/change", "/refusals", "/mine"]
    const run = (requests: number) => {
      for (let i = 0; i < requests; i++) guest.call(request(new RecordingExchange(paths[i % paths.length]!)))
    }
    run(1000)
    const { memoryBytes } = guest
    run(99_000)
    assert.equal(guest.memoryBytes, memoryBytes)
    assert.equal(guest.generation, 0)
  })

  it("gives memory of a large request back to the next ones", async () => {
    await using guest = await open()
    const large = (bytes: number) => {
      const exchange = new RecordingExchange("/large")
      exchange.bodies.request = Buffer.alloc(bytes, "ab")
      guest.call(request(exchange))
      assert.equal(exchange.text?.length, bytes)
    }
    large(300_000)
    const { memoryBytes } = guest
    for (let i = 1; i <= 200; i++) large(300_000 - i * 1000)
    assert.ok(guest.memoryBytes <= memoryBytes * 1.5, `${memoryBytes} became ${guest.memoryBytes}`)
    assert.equal(guest.generation, 0)
  })
}
