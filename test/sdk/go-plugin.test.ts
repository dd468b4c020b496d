import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { findProgram, GO, missing } from "../support/programs.ts"
import { buildGo } from "./build-go.ts"
import { memoryAfter } from "./endurance.ts"
import { type ServedPlugin, servePlugin } from "./serve-plugin.ts"

const SDK = fileURLToPath(new URL("../../sdk/go", import.meta.url))
const PLUGIN = fileURLToPath(new URL("../fixtures/sdk/go", import.meta.url))

describe("a plugin in Go", { skip: missing(GO) }, () => {
  let folder: string
  let plugin: ServedPlugin
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "bext-go-"))
    cpSync(PLUGIN, folder, { recursive: true })
    buildGo(folder)
    plugin = await servePlugin(folder)
  })
  after(async () => {
    await plugin?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  it("reads everything of a request", async () => {
    const headers = { "x-b": "2", "X-A": "1", "x-empty": "", cookie: "c=1" }
    assert.equal(
      await plugin.ask("/request?a=%20b", { headers }),
      "200 GET a=%20b http 127.0.0.1 true [] false false true false c=1 [x-a=1 x-b=2 x-empty=]",
    )
    assert.equal(await plugin.ask("/body", { method: "POST", body: "x".repeat(100_000) }), "200 100000")
    assert.equal(await plugin.ask("/body"), "200 0")
  })

  it("changes a request for the app", async () => {
    const answer = await plugin.ask("/change", { method: "POST", body: "\0é", headers: { "x-gone": "1" } })
    const seen = { method: "POST", url: "/changed", set: "ä, 2", body: "00c3a921" }
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

  it("gets refusals as errors with a code, which a hook may return", async () => {
    assert.equal(await plugin.ask("/refused"), "200 E_HEADER_FORBIDDEN E_PERMISSION ")
    assert.equal(await plugin.ask("/fail"), "502 E_HEADER_FORBIDDEN")
    assert.equal(await plugin.ask("/fail-itself"), "502 E_GUEST_THREW")
    await plugin.logged(/no such plan/)
  })

  it("cannot be made to write a field of another's choice by a NUL", async () => {
    assert.equal(await plugin.ask("/inject"), "502 E_HEADER_INVALID")
  })

  it("has its configuration, its secrets, and its variables from one request to the next", async () => {
    const answer = await plugin.ask("/plugin")
    assert.match(answer, /^200 ä b \[1,"two"\] false \{"word":"ä b","list":\[1,"two"\],"target":.*\} open sesame true$/)
    assert.match(await plugin.ask("/started"), /^200 map\[list:\[1 two\] target:\S+ word:ä b\]$/)
    assert.equal(await plugin.ask("/at-load"), "200 ä b E_PERMISSION E_PERMISSION")
    const calls = async () => Number((await plugin.ask("/calls")).slice(4))
    const before = await calls()
    assert.equal(await calls(), before + 1)
  })

  it("stores, counts and compares", async () => {
    const told = "[[0 255] 0 false [a b] true false 5 -2 true false true]"
    assert.equal(await plugin.ask("/storage"), `200 E_STORAGE_KEY true true ${told}`)
  })

  it("has the host compute hashes", async () => {
    const [digest, mac] = [
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0",
    ]
    assert.equal(await plugin.ask("/crypto"), `200 ["${digest}","${mac}",true,false]`)
  })

  it("waits for a fetch, and goes on where it was", async () => {
    const seen = JSON.stringify({ method: "POST", url: "/there", body: "0001fe" })
    assert.equal(await plugin.ask("/fetch"), `200 200 ${seen} true E_FETCH_FORBIDDEN`)
  })

  it("pushes messages and receives them", async () => {
    assert.equal(await plugin.ask("/push"), "200 true")
    await plugin.logged(/"level":"?(40|warn)"?.*letters \{\\"to\\":\\"ada\\"\} 1 k/)
  })

  it("hears of finished requests; what it prints is logged", async () => {
    await plugin.ask("/calls")
    await plugin.logged(/GET \/calls gave 200/)
  })

  it("runs goroutines within a call, and collects garbage", async () => {
    assert.equal(await plugin.ask("/goroutines"), "200 4950")
    const headers = { "x-long": "a".repeat(3000) }
    for (let i = 0; i < 4; i++) assert.equal(await plugin.ask("/garbage", { headers }), "200 true true")
  })

  it("stays within the memory that Go's collector leaves it, for any number of requests", async () => {
    const { bytes, generation } = await memoryAfter(
      folder,
      ["/request", "/calls", "/body", "/nothing"],
      [15_000, 15_000],
    )
    assert.ok(
      bytes.every((size) => size < 16 * 1024 * 1024),
      `${bytes}`,
    )
    assert.equal(generation, 0)
  })

  it("sees nothing of the machine", async () => {
    assert.equal(await plugin.ask("/outside"), "200 true true [] []")
  })

  it("fails a call by a panic and keeps its variables", async () => {
    const calls = async () => Number((await plugin.ask("/calls")).slice(4))
    const before = await calls()
    assert.equal(await plugin.ask("/panic"), "502 E_GUEST_THREW")
    await plugin.logged(/panic: no \d+ at main\..*main\.go:\d+/)
    assert.equal(await plugin.ask("/index"), "502 E_GUEST_THREW")
    await plugin.logged(/index out of range \[6\] with length 0 at main\./)
    assert.equal(await plugin.ask("/nil-map"), "502 E_GUEST_THREW")
    assert.equal(await plugin.ask("/panic-types"), "502 E_GUEST_THREW")
    assert.equal(await calls(), before + 5)
  })

  const broken: [deed: string, codes: RegExp][] = [
    ["/sleep", /^504 E_LIMIT_(FUEL|CPU)$/],
    ["/wait", /^504 E_LIMIT_(FUEL|CPU)$/],
    ["/spin", /^504 E_LIMIT_(FUEL|CPU)$/],
    ["/recurse", /^50[24] E_LIMIT_(FUEL|CPU|MEMORY|STACK)$/],
    ["/hoard", /^502 E_LIMIT_MEMORY$/],
    ["/block", /^502 E_GUEST_TRAPPED$/],
    ["/lock", /^502 E_GUEST_TRAPPED$/],
    ["/select", /^502 E_GUEST_TRAPPED$/],
    ["/exit", /^502 E_GUEST_TRAPPED$/],
    ["/goexit", /^502 E_GUEST_TRAPPED$/],
    ["/go-panic", /^502 E_GUEST_TRAPPED$/],
    ["/fatal", /^502 E_GUEST_TRAPPED$/],
  ]
  for (const [deed, codes] of broken) {
    it(`ends a call that does ${deed} with a code, and begins again as it was when it became ready`, async () => {
      assert.match(await plugin.ask(deed), codes)
      assert.equal(await plugin.ask("/calls"), "200 1")
    })
  }

  it("says in the log which functions ran when it was stopped", async () => {
    await plugin.ask("/spin")
    await plugin.logged(/"code":"E_LIMIT_(FUEL|CPU)".* at main\.onRequest /)
  })

  it("says in the log what Go's runtime gave up for", async () => {
    await plugin.ask("/block")
    await plugin.logged(/fatal error: all goroutines are asleep - deadlock!/)
    await plugin.ask("/go-panic")
    await plugin.logged(/panic: elsewhere/)
  })

  it("lets a goroutine that is left behind use the budgets of its own plugin's calls alone", async () => {
    assert.equal(await plugin.ask("/leave-goroutine"), "200 left")
    for (let i = 0; i < 3; i++) assert.match(await plugin.ask("/calls"), /^200 \d+$/)
  })
})

describe("the Go SDK", { skip: missing(GO) }, () => {
  it("makes imports of what a plugin uses and of nothing else", () => {
    const folder = mkdtempSync(join(tmpdir(), "bext-go-"))
    try {
      cpSync(join(SDK, "examples/hello-header"), folder, { recursive: true })
      buildGo(folder)
      const module = new WebAssembly.Module(readFileSync(join(folder, "plugin.wasm")))
      const imports = WebAssembly.Module.imports(module).filter(({ module }) => module === "bext")
      assert.deepEqual(imports.map(({ name }) => name).sort(), [
        "fail",
        "get_config",
        "get_header",
        "last_error",
        "set_header",
      ])
      const exports = WebAssembly.Module.exports(module).map(({ name }) => name)
      assert.deepEqual(exports.sort(), ["_initialize", "bext_alloc", "memory", "on_request", "on_response"])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it("compiles for the author's machine as well, so that the plugin's own tests can run there", () => {
    go(["vet", "./..."], SDK)
    for (const example of readdirSync(join(SDK, "examples"))) go(["vet", "."], join(SDK, "examples", example))
  })

  it("is formatted, and vetted as WebAssembly", () => {
    assert.equal(go(["vet", "./..."], SDK, { GOOS: "wasip1", GOARCH: "wasm" }), "")
    const gofmt = join(dirname(realpathSync(findProgram(GO)!)), "gofmt")
    assert.equal(execFileSync(gofmt, ["-l", SDK, PLUGIN], { encoding: "utf8" }), "")
  })
})

function go(args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): string {
  return execFileSync(findProgram(GO)!, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, GOPROXY: "off", ...env },
  })
}
