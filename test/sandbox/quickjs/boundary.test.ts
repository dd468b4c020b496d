import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../src/errors.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { LIMITS, request } from "../../contracts/sandbox-contract.ts"
import { writeGuest } from "./write-guest.ts"

describe("values across the wall of a quickjs guest", async () => {
  const tier = await createQuickjsTier()
  const ask = async (guest: Sandbox, path = "/", change: (exchange: RecordingExchange) => void = () => {}) => {
    const exchange = new RecordingExchange(path)
    change(exchange)
    await guest.call(request(exchange))
    return exchange.text
  }

  const TEXTS = {
    "plain ASCII": "hello",
    nothing: "",
    "Latin letters": "naïve café",
    "NUL among ASCII": "a\0b\0",
    "NUL among Latin letters": "é\0é",
    "NUL among wide characters": "\0漢\0字\0",
    emoji: "👍🏽 ok",
    "long ASCII": "x".repeat(5000),
    "long wide text": "漢".repeat(5000),
    "control characters": "\u0001\u007f\u0080\u009f",
  }
  for (const [name, text] of Object.entries(TEXTS)) {
    it(`carries ${name} unchanged in both directions`, async () => {
      const services = new RecordingServices()
      services.storage(null).set("in", text, 0)
      const source = `export function onRequest(ctx) {
        const text = bext.storage.get("in")
        bext.storage.set("out", text)
        bext.storage.set("joined", ("<" + text) + (text + ">"))
        return new Response(text + text.length)
      }`
      await using guest = await writeGuest(tier, source, { services })
      assert.equal(await ask(guest), text + text.length)
      assert.equal(services.storage(null).get("out"), text)
      assert.equal(services.storage(null).get("joined"), `<${text}${text}>`)
    })
  }

  it("finds no request behind anything a guest puts in the place of a call's id", async () => {
    const source = `export function onRequest(ctx) {
      const [key] = Object.getOwnPropertySymbols(ctx)
      const real = ctx[key]
      const seen = []
      for (const id of [undefined, null, {}, "1", String(real), NaN, -1, real + 1, 2 ** 40, 1n, Symbol("x"), () => real, true]) {
        ctx[key] = id
        try { seen.push(ctx.path) } catch (error) { seen.push(error instanceof TypeError) }
      }
      ctx[key] = real
      return new Response(JSON.stringify(seen) + ctx.path)
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest, "/here"), `${JSON.stringify(Array(13).fill(true))}/here`)
  })

  it("replaces lone surrogates, as the web does", async () => {
    const services = new RecordingServices()
    services.storage(null).set("in", "a\ud800b", 0)
    const source = `export function onRequest() {
      bext.storage.set("out", "x\\udfffy")
      bext.storage.set("rope", "x".repeat(9000) + "\\ud800" + "y".repeat(9000))
      return new Response(bext.storage.get("in"))
    }`
    await using guest = await writeGuest(tier, source, { services })
    assert.equal(await ask(guest), "a\ufffdb")
    assert.equal(services.storage(null).get("out"), "x\ufffdy")
    assert.ok((services.storage(null).get("rope") as string).isWellFormed())
  })

  it("carries every kind of number", async () => {
    const services = new RecordingServices()
    const numbers = [
      0,
      -0,
      1,
      -1,
      2 ** 31 - 1,
      2 ** 31,
      -(2 ** 31),
      1.5,
      -1e-300,
      5e-324,
      Number.MAX_VALUE,
      2 ** 53,
      Infinity,
      -Infinity,
      NaN,
    ]
    const source = `export function onRequest() {
      for (const n of [0, -0, 1, -1, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 1.5, -1e-300, 5e-324, Number.MAX_VALUE, 2 ** 53, Infinity, -Infinity, NaN]) bext.metric("n", n)
    }`
    await using guest = await writeGuest(tier, source, { services })
    await ask(guest)
    assert.deepEqual(
      services.metrics.map((sample) => (sample as unknown[])[1]),
      numbers,
    )
  })

  it("refuses messages over the limit in both directions, counted in bytes of UTF-8", async () => {
    const services = new RecordingServices()
    const max = LIMITS.messageBytes
    services.storage(null).set("long", "漢".repeat(max / 3 + 1), 0)
    const source = `export function onRequest() {
      const tries = [
        () => bext.storage.set("a", "x".repeat(${max + 1})),
        () => bext.storage.set("a", "é".repeat(${max / 2 + 1})),
        () => bext.storage.set("a", "x".repeat(${max / 2}) + "y".repeat(${max / 2 + 1})),
        () => bext.storage.set("a", new Uint8Array(${max + 1})),
        () => bext.storage.get("long"),
        () => console.log("x".repeat(1e6)),
        () => bext.storage.set("b", "x".repeat(${max})),
      ]
      return new Response(tries.map((attempt) => { try { attempt(); return "ok" } catch (error) { return error.code } }).join())
    }`
    await using guest = await writeGuest(tier, source, { services })
    const refused = "E_LIMIT_MESSAGE"
    assert.equal(await ask(guest), [refused, refused, refused, refused, refused, "ok", "ok"].join())
    assert.equal(services.lines[0]?.length, "info ".length + 8192)
  })

  it("rejects the promise of a fetch whose answer is over the limit", async () => {
    const services = new RecordingServices()
    services.respond = async ({ url }) => ({
      url,
      status: 200,
      headers: [],
      body: new Uint8Array(LIMITS.messageBytes + 1),
    })
    const source = `export async function onRequest() {
      return new Response(await bext.fetch("http://example.com/").then(() => "fine", (error) => error.code))
    }`
    await using guest = await writeGuest(tier, source, { services })
    assert.equal(await ask(guest), "E_LIMIT_MESSAGE")
    assert.equal(guest.generation, 0)
  })

  it("rejects a dynamic import of what the plugin does not have", async () => {
    const source = `export async function onRequest() {
      return new Response(await import("node:" + "fs").then(() => "fine", (error) => error.code))
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest), "E_PLUGIN_LOAD_FAILED")
  })

  it("works on when a guest has broken every prototype and global", async () => {
    const services = new RecordingServices()
    const source = `
      for (const prototype of [Object.prototype, Array.prototype, Function.prototype, String.prototype, Promise.prototype, Map.prototype, WeakMap.prototype])
        for (const key of Reflect.ownKeys(prototype)) {
          if (key === "__proto__" || key === Symbol.iterator) continue
          try { Object.defineProperty(prototype, key, { configurable: true, value() { throw new Error("broken " + String(key)) } }) } catch {}
        }
      for (const key of ["0", "1", "length", "value", "get", "set", "toJSON", "code", "where", "name"])
        try { Reflect.defineProperty(Object.prototype, key, { configurable: true, get() { throw "getter" }, set() { throw "setter" } }) } catch {}
      for (const name of ["JSON", "Map", "WeakMap", "Promise", "Error", "TypeError", "Reflect", "Object", "Array", "Function", "eval", "String", "Symbol", "Uint8Array"])
        globalThis[name] = undefined
      export function onRequest(ctx) {
        let refused = "no"
        try { ctx.request.setHeader("host", "x") } catch (error) { refused = error.code }
        ctx.request.setHeader("x-path", ctx.path)
        return { __proto__: null, action: "respond", status: 203, headers: undefined, body: refused + " " + ctx.headers.get("x-one") }
      }`
    await using guest = await writeGuest(tier, source, { services })
    const exchange = new RecordingExchange("/p")
    await guest.call(request(exchange))
    assert.equal(exchange.text, "E_HEADER_FORBIDDEN 1")
    assert.equal(exchange.header("request", "x-path"), "/p")
  })

  it("gives a guest no way to the host function, another guest or the engine", async () => {
    const source = `export function onRequest() {
      const seen = []
      const stack = [globalThis, bext, onRequest]
      const visited = new Set()
      while (stack.length > 0) {
        const at = stack.pop()
        if ((typeof at !== "object" && typeof at !== "function") || at === null || visited.has(at)) continue
        visited.add(at)
        if (typeof at === "function" && at.name === "op") seen.push("op")
        for (const key of Reflect.ownKeys(at)) {
          const own = Object.getOwnPropertyDescriptor(at, key)
          stack.push(own.value, own.get, own.set)
          if (typeof key === "string" && key.startsWith("$")) seen.push(key)
        }
        stack.push(Object.getPrototypeOf(at))
      }
      const absent = ["process", "require", "fetch", "WebAssembly", "Intl", "std", "os", "scriptArgs", "print"]
      return new Response([...seen, ...absent.filter((name) => name in globalThis), visited.size > 300].join())
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest), "true")
  })

  it("refuses arguments of the wrong type as TypeErrors in the guest", async () => {
    const source = `export async function onRequest(ctx) {
      const tries = [
        () => bext.storage.set("a", 5), () => bext.storage.set("a", {}), () => bext.storage.set(Symbol(), "a"),
        () => bext.crypto.sha256(5), () => bext.crypto.sha256("a", "utf8"), () => bext.crypto.hmac("md5", "k", "d"),
        () => crypto.getRandomValues([]), () => crypto.getRandomValues(new Uint8Array(70000)), () => setTimeout("code", 1),
        () => ctx.request.setBody({}), () => bext.fetch(5), () => bext.fetch("http://x", { method: "A B" }),
        () => bext.fetch("http://x", { redirect: "maybe" }), () => bext.fetch("http://x", { headers: [[1]] }),
        () => ctx.constructor(), () => ctx.headers.get.call({}, "a"), () => Reflect.get(Object.getPrototypeOf(ctx), "path", {}),
      ]
      const others = []
      for (const attempt of tries) {
        const name = await (async () => attempt())().then(() => "fine", (error) => error.name)
        if (name !== "TypeError") others.push(tries.indexOf(attempt) + " " + name)
      }
      return new Response(others.join() || "all TypeErrors")
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest), "all TypeErrors")
  })

  it("bounds the timers one call may have", async () => {
    const source = `export function onRequest() {
      let count = 0
      try { for (;;) { setTimeout(() => {}, 1000); count++ } } catch (error) { return new Response(count + " " + error.message) }
    }`
    await using guest = await writeGuest(tier, source)
    assert.match((await ask(guest)) ?? "", /^1000 more than 1000 timers/)
  })

  it("drops what was asked beyond that bound, also when it fails later", async () => {
    const services = new RecordingServices()
    services.respond = async () => {
      throw new PluginError("E_FETCH_FORBIDDEN", "guest", "not listed")
    }
    const source = `export async function onRequest() {
      const asked = Array.from({ length: 1100 }, () => bext.fetch("http://example.com/").catch((error) => error.code ?? error.name))
      const codes = await Promise.all(asked)
      return new Response(["E_FETCH_FORBIDDEN", "TypeError"].map((name) => codes.filter((code) => code === name).length).join())
    }`
    await using guest = await writeGuest(tier, source, { services })
    assert.equal(await ask(guest), "1000,100")
    await new Promise(setImmediate)
  })

  it("lets a timer cancel itself while it runs", async () => {
    const source = `export async function onRequest() {
      let runs = 0
      await new Promise((resolve) => {
        const id = setInterval(() => { clearInterval(id); runs++; "x".repeat(1000).split(""); resolve() }, 1)
      })
      await new Promise((resolve) => { const id = setTimeout(() => { clearTimeout(id); resolve() }, 1) })
      await new Promise((resolve) => setTimeout(resolve, 10))
      return new Response(String(runs))
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest), "1")
  })

  it("refuses to enter a guest from inside its own call", async () => {
    const services = new RecordingServices()
    await using guest = await writeGuest(
      tier,
      "export function onRequest() { console.log('in'); return new Response('out') }",
      {
        services,
      },
    )
    let inner: unknown
    services.log = () => {
      try {
        guest.call(request(new RecordingExchange("/inner")))
      } catch (error) {
        inner = error
      }
    }
    assert.equal(await ask(guest), "out")
    assert.match(String(inner), /from inside the guest/)
  })

  it("runs in UTC, with a clock of whole milliseconds", async () => {
    const source = `export function onRequest() {
      const date = new Date(0)
      return new Response([date.getTimezoneOffset(), date.getHours(), date.toString(), performance.now() % 1].join())
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await ask(guest), "0,0,Thu Jan 01 1970 00:00:00 GMT+0000,0")
  })
})
