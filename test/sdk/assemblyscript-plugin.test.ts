import assert from "node:assert/strict"
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { buildAssemblyScript } from "./build-assemblyscript.ts"
import { memoryAfter } from "./endurance.ts"
import { type ServedPlugin, servePlugin } from "./serve-plugin.ts"

const PLUGIN = fileURLToPath(new URL("../fixtures/sdk/assemblyscript", import.meta.url))

describe("a plugin in AssemblyScript", () => {
  let folder: string
  let plugin: ServedPlugin
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "bext-as-"))
    cpSync(PLUGIN, folder, { recursive: true })
    buildAssemblyScript(folder)
    plugin = await servePlugin(folder)
  })
  after(async () => {
    await plugin?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  const post = (path: string, body: string) => plugin.ask(path, { method: "POST", body })

  it("imports functions of bext and nothing else, although it uses what the compiler takes from its environment", () => {
    const module = new WebAssembly.Module(readFileSync(join(folder, "plugin.wasm")))
    assert.deepEqual([...new Set(WebAssembly.Module.imports(module).map(({ module }) => module))], ["bext"])
  })

  it("reads everything of a request", async () => {
    const headers = { "x-b": "2", "X-A": "1", "x-empty": "", cookie: "c=1" }
    assert.equal(
      await plugin.ask("/request?a=%20b", { headers }),
      "200 GET a=%20b http 127.0.0.1 true true true c=1 x-a=1 x-b=2 x-empty=",
    )
    assert.equal(await post("/body", "x".repeat(100_000)), "200 100000 100000")
    assert.equal(await plugin.ask("/body"), "200 0 0")
  })

  it("changes a request for the app", async () => {
    const answer = await plugin.ask("/change", { method: "POST", body: "é\u{1F600}", headers: { "x-gone": "1" } })
    const seen = { method: "POST", url: "/changed", set: "ä, 2", body: "c3a9f09f988021" }
    assert.equal(answer, `200 ${JSON.stringify(seen)}`)
  })

  it("changes a response", async () => {
    const response = await plugin.request("/response")
    assert.equal(response.status, 201)
    assert.equal(response.headers.get("x-type"), "application/json")
    assert.equal(response.headers.get("set-cookie"), "seen=1")
    assert.equal(response.headers.get("x-app"), null)
    assert.equal(await response.text(), '{"METHOD":"GET","URL":"/RESPONSE","BODY":""}')
  })

  it("answers with any bytes and repeated fields", async () => {
    const response = await plugin.request("/respond")
    assert.equal(response.status, 299)
    assert.equal(response.headers.get("x-a"), "1, 2")
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), Uint8Array.of(0, 255))
  })

  it("gets refusals as negative numbers, which a hook may return", async () => {
    assert.equal(await plugin.ask("/refused"), "200 true true E_HEADER_FORBIDDEN true E_PERMISSION")
    assert.equal(await plugin.ask("/fail"), "502 E_HEADER_FORBIDDEN")
    assert.equal(await plugin.ask("/fail-itself"), "502 E_GUEST_THREW")
    await plugin.logged(/no such plan/)
  })

  it("cannot be made to write a field of another's choice by a NUL", async () => {
    assert.equal(await plugin.ask("/inject"), "502 E_HEADER_INVALID")
  })

  it("has its configuration, its secrets, and its variables from one request to the next", async () => {
    assert.equal(await plugin.ask("/plugin"), '200 ä b [1,"two"] true open sesame true')
    assert.match(await plugin.ask("/started"), /^200 \{"word":"ä b","list":\[1,"two"\],"target":.*\}$/)
    const calls = async () => Number((await plugin.ask("/calls")).slice(4))
    const before = await calls()
    assert.equal(await calls(), before + 1)
  })

  it("stores, counts and compares", async () => {
    assert.equal(await plugin.ask("/storage"), "200 E_STORAGE_KEY AP8= 0 é true 0 a+b+ä 10 5 -2 101 0")
  })

  it("has the host compute hashes and random bytes, and asks it for the time", async () => {
    const digests = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0 XV0TlWPJW1lnub2ajJsjOp3ttFByeUzSMtwbdIMmB9A"
    assert.equal(await plugin.ask("/crypto"), `200 ${digests} true false 24 true`)
    assert.equal(await plugin.ask("/clock"), "200 true true true")
  })

  it("waits for a fetch, and goes on where it was", async () => {
    const seen = JSON.stringify({ method: "POST", url: "/there", body: "0001fe" })
    assert.equal(await plugin.ask("/fetch"), `200 200 ${seen} true E_FETCH_FORBIDDEN`)
  })

  it("pushes messages and receives them", async () => {
    assert.equal(await plugin.ask("/push"), "200 true")
    await plugin.logged(/letters ada k/)
  })

  it("hears of finished requests; console and trace are the log", async () => {
    await plugin.ask("/calls")
    await plugin.logged(/GET \/calls gave 200/)
    await plugin.ask("/trace")
    await plugin.logged(/seen 1\.5, 2\.0/)
  })

  it("reads JSON as everybody does, and nothing that is not JSON", async () => {
    const texts = [
      ' {"a": [1, -2.5e+3, true, false, null, {}, []], "\\u0062": "\\"\\\\\\/\\b\\f\\n\\r\\té\\ud83d\\ude00"} ',
      '"x"',
      "0",
      "[[[]]]",
      `${"[".repeat(64)}${"]".repeat(64)}`,
    ]
    for (const text of texts) {
      const answer = await post("/json", text)
      assert.deepEqual(JSON.parse(answer.slice(4)), JSON.parse(text), answer)
    }
    assert.equal(await post("/json", '{"a":1,"a":2}'), '200 {"a":2}')
    const wrong = [
      "",
      "{",
      '{"a"}',
      '{"a":1,}',
      "[1,]",
      "[1 2]",
      "01",
      "1.",
      ".5",
      "-",
      "1e",
      "+1",
      "nul",
      "true1",
      "'a'",
      '"',
    ]
    const more = [
      '"\\x"',
      '"\\u12"',
      '"\n"',
      "{a:1}",
      "[",
      "]",
      "1 2",
      '{"a":1]',
      `${"[".repeat(65)}${"]".repeat(65)}`,
      "\ufeff1",
    ]
    for (const text of [...wrong, ...more]) assert.equal(await post("/json", text), "200 no JSON", text)
  })

  it("reads base64url and hexadecimal, each in one spelling", async () => {
    const decoded = async (text: string) => (await plugin.ask(`/encoding?${text}`)).slice(4)
    assert.equal(await decoded(""), "  ")
    assert.equal(await decoded("_-8A"), "/+8A _-8A none")
    assert.equal(await decoded("AP8"), "AP8= AP8 none")
    assert.equal(await decoded("6869"), "6869 6869 hi")
    for (const wrong of ["A", "AAAAA", "AP9", "AA==", "A+/A", "A%20A"]) assert.equal(await decoded(wrong), "none none")
  })

  it("sends the half of a pair of surrogates as U+FFFD", async () => {
    assert.equal(await plugin.ask("/surrogate"), "200 \ufffd!")
  })

  it("gives back the memory of what it read", async () => {
    const headers = { "x-long": "a".repeat(3000) }
    for (let i = 0; i < 30; i++) assert.equal(await plugin.ask("/garbage", { headers }), "200 true")
  })

  it("needs no more memory after 10,000 requests than after the first thousand", async () => {
    const paths = ["/calls", "/refused", "/body", "/json", "/nothing"]
    const { bytes, generation } = await memoryAfter(folder, paths, [1000, 9000])
    assert.equal(bytes[1], bytes[0])
    assert.equal(generation, 0)
  })

  const broken: [deed: string, codes: RegExp][] = [
    ["/spin", /^504 E_LIMIT_(FUEL|CPU)$/],
    ["/recurse", /^50[24] E_LIMIT_(FUEL|CPU|STACK)$/],
    ["/hoard", /^502 E_LIMIT_MEMORY$/],
    ["/assert", /^502 E_GUEST_TRAPPED$/],
    ["/throw", /^502 E_GUEST_TRAPPED$/],
    ["/index", /^502 E_GUEST_TRAPPED$/],
    ["/null", /^502 E_GUEST_TRAPPED$/],
  ]
  for (const [deed, codes] of broken) {
    it(`ends a call that does ${deed} with a code, and begins again as it was when it became ready`, async () => {
      assert.match(await plugin.ask(deed), codes)
      assert.equal(await plugin.ask("/calls"), "200 1")
    })
  }

  it("says in the log where an assertion failed", async () => {
    await plugin.logged(/calls began \(assembly\/index\.ts:\d+:\d+\)/)
    await plugin.logged(/on purpose \(assembly\/index\.ts:\d+:\d+\)/)
    await plugin.logged(/Index out of range \(~lib\/array\.ts:\d+:\d+\)/)
  })
})
