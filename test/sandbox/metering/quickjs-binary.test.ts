import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import {
  GUEST_PROFILE,
  QUICKJS_PROFILE,
  type TrustedProfile,
  type UntrustedProfile,
} from "../../../src/sandbox/metering/profiles.ts"

const dist = new URL("./", import.meta.resolve("@jitl/quickjs-wasmfile-release-sync"))
const original = readFileSync(fileURLToPath(new URL("emscripten-module.wasm", dist)))
const { default: load } = (await import(new URL("emscripten-module.mjs", dist).href)) as {
  default: (options: object) => Promise<QuickJs>
}

/** The functions of the emscripten module that evaluate a script and give its value as text. */
interface QuickJs {
  _malloc(bytes: number): number
  _QTS_NewRuntime(): number
  _QTS_NewContext(runtime: number, intrinsics: number): number
  _QTS_Eval(context: number, code: number, bytes: number, file: number, detectModule: number, flags: number): number
  _QTS_GetString(context: number, value: number): number
}

describe("the metered QuickJS binary", () => {
  it("is valid and hardly larger than the original", () => {
    const { bytes } = meter(original, QUICKJS_PROFILE)
    assert(WebAssembly.validate(bytes))
    assert(bytes.length < original.length * 1.1, `grew ${bytes.length / original.length} times`)
  })

  it("evaluates what the original evaluates", async () => {
    const script = `JSON.stringify([[3,1,2].sort(), 'aXbX'.replace(/X/g, '-'), (2n ** 200n).toString(),
      new Map([[1, [2]]]).get(1), 'ß'.normalize('NFD').toUpperCase(), [..."héllo"].reverse().join(''), Math.sqrt(2)])`
    const plain = await evaluator(null)
    const metered = await evaluator(() => 100_000)
    const text = plain.evaluate(script)
    assert.match(text, /^\[\[1,2,3\],"a-b-"/)
    assert.equal(metered.evaluate(script), text)
  })

  for (const script of [
    "new Array(1e9).join('x')",
    "/(a+)+$/.test('a'.repeat(40) + 'b')",
    "(3n ** 300000n).toString()",
    "Array.prototype.lastIndexOf.call({ length: 2 ** 53 - 1 }, 1)",
    "('a' + '\\u0315\\u0300'.repeat(300000)).normalize('NFC').length",
  ])
    it(`stops in native code when nothing more is granted: ${script}`, async () => {
      let slices = 50
      const metered = await evaluator(() => (slices-- > 0 ? 100_000 : -1))
      assert.throws(() => metered.evaluate(script), { name: "RuntimeError", message: "unreachable" })
      assert((metered.fuel().value as number) < 0)
    })

  it("exports its stack pointer, which the original hides", async () => {
    const metered = await evaluator(() => 100_000)
    const pointer = metered.exports().__fuel_g0 as WebAssembly.Global
    assert.equal(typeof pointer.value, "number")
  })

  it("evaluates the same metered exactly, as an untrusted module, and uses the same fuel each time", async () => {
    const script = `const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2)
      JSON.stringify([fib(12), [5, 3, 9].sort((a, b) => a - b), "aXb".replace(/x/i, "-"), (3n ** 99n).toString(), eval("1 + 1")])`
    const expected = (await evaluator(null)).evaluate(script)
    const granted = []
    for (const slice of [1000, 1000, 100_000]) {
      let slices = 0
      const metered = await evaluator(() => {
        slices++
        return slice
      }, UNTRUSTED)
      assert.equal(metered.evaluate(script), expected)
      const left = metered.exports().__fuel_get as () => number
      granted.push(slices * slice - left())
    }
    assert(granted[0]! > 100_000)
    assert.deepEqual(granted.slice(1), [granted[0], granted[0]])
  })
})

const UNTRUSTED: UntrustedProfile = { ...GUEST_PROFILE, maxMemoryPages: 32_768 }

function meterAs(profile: TrustedProfile | UntrustedProfile) {
  return profile.trust === "trusted" ? meter(original, profile) : meter(original, profile)
}

/** @param refill - Null for the original binary. */
async function evaluator(refill: (() => number) | null, profile: TrustedProfile | UntrustedProfile = QUICKJS_PROFILE) {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 1024 })
  let exports: WebAssembly.Exports = {}
  const module = await load({
    wasmMemory: memory,
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const metered = refill === null ? null : meterAs(profile)
      if (metered !== null) imports[metered.refill.module] = { [metered.refill.name]: refill }
      const instance = new WebAssembly.Instance(new WebAssembly.Module(metered?.bytes ?? original), imports)
      exports = instance.exports
      done(instance)
      return exports
    },
  })
  const context = module._QTS_NewContext(module._QTS_NewRuntime(), 0)
  const write = (text: string) => {
    const bytes = Buffer.from(`${text}\0`)
    const pointer = module._malloc(bytes.length)
    new Uint8Array(memory.buffer).set(bytes, pointer)
    return { pointer, length: bytes.length - 1 }
  }
  return {
    exports: () => exports,
    fuel: () => exports.__fuel as WebAssembly.Global,
    evaluate(script: string): string {
      const code = write(script)
      const value = module._QTS_Eval(context, code.pointer, code.length, write("test.js").pointer, 0, 0)
      const text = Buffer.from(memory.buffer).subarray(module._QTS_GetString(context, value))
      return text.toString("utf8", 0, text.indexOf(0))
    },
  }
}
