import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { describe, it, type TestContext } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { promisify } from "node:util"
import { cachedDataVersionTag, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Worker } from "node:worker_threads"
import { PluginError } from "../../../src/errors.ts"
import { DEFAULT_MODULE_LIMITS } from "../../../src/sandbox/metering/limits.ts"
import { type Compiler, createCompiler } from "../../../src/sandbox/wasm/compile.ts"
import { CompileThread } from "../../../src/sandbox/wasm/compile-thread.ts"
import { toWasm } from "../metering/support.ts"
import { loops, moduleOfBodies, repeat } from "./compile-modules.ts"

const MIB = 1024 * 1024
const ANSWER = toWasm(`(module (memory (export "memory") 1) (func (export "answer") (result i32) i32.const 42))`)

async function failure(compiler: Compiler, bytes: Uint8Array): Promise<PluginError> {
  const error = await compiler.compile("guest", bytes, MIB).then(
    () => assert.fail("the module was accepted"),
    (error: unknown) => error,
  )
  assert(error instanceof PluginError, String(error))
  assert.equal(error.plugin, "guest")
  return error
}

/** Turns of the event loop until the promise settles. */
async function turnsUntil(settled: Promise<unknown>): Promise<number> {
  let turns = 0
  let done = false
  void settled
    .catch(() => {})
    .finally(() => {
      done = true
    })
  for (; !done; turns++) await new Promise((resolve) => setImmediate(resolve))
  return turns
}

/** Another module for each number. */
function numbered(number: number): Uint8Array<ArrayBuffer> {
  return toWasm(`(module (func (export "answer") (result i32) i32.const ${number}))`)
}

describe("a compiler", () => {
  it("makes a module that runs, with what it is metered by", async () => {
    await using compiler = createCompiler()
    const { module, metered } = await compiler.compile("guest", ANSWER, MIB)
    const { refill, fuel, shape } = metered
    const instance = new WebAssembly.Instance(module, { [refill.module]: { [refill.name]: () => 0 } })
    const exports = instance.exports as Record<string, (value?: number) => number>
    exports[fuel.set]!(100)
    assert.equal(exports.answer!(), 42)
    assert(exports[fuel.get]!() < 100)
    assert.deepEqual([...shape.exports.keys()].sort(), ["answer", "memory"])
  })

  it("caps the module's memory at the plugin's limit", async () => {
    await using compiler = createCompiler()
    const { module, metered } = await compiler.compile("guest", ANSWER, 3.5 * 64 * 1024)
    const { refill } = metered
    const instance = new WebAssembly.Instance(module, { [refill.module]: { [refill.name]: () => 0 } })
    const memory = instance.exports.memory as WebAssembly.Memory
    assert.equal(memory.grow(2), 1)
    assert.throws(() => memory.grow(1), RangeError)
  })

  it("refuses a module that begins with more memory than the plugin's limit", async () => {
    await using compiler = createCompiler()
    const error = await failure(compiler, toWasm("(module (memory 17))"))
    assert.equal(error.code, "E_WASM_LIMIT")
    assert.match(error.message, /initial memory pages: 17 is over the limit of 16 at byte 11/)
  })

  it("compiles the same bytes once for any number of plugins", async () => {
    await using compiler = createCompiler()
    const names = Array.from({ length: 20 }, (_, i) => `guest${i}`)
    const compiled = await Promise.all(names.map((name) => compiler.compile(name, Uint8Array.from(ANSWER), MIB)))
    assert.equal(new Set(compiled.map(({ module }) => module)).size, 1)
    assert.equal(await compiler.compile("late", Uint8Array.from(ANSWER), MIB), compiled[0])
    assert.equal(compiler.compiled, 1)
  })

  it("compiles the same bytes again for another memory limit, which is part of the module", async () => {
    await using compiler = createCompiler()
    const [small, large] = [await compiler.compile("a", ANSWER, MIB), await compiler.compile("b", ANSWER, 2 * MIB)]
    assert.notEqual(small.module, large.module)
    assert.equal(compiler.compiled, 2)
  })

  it("does not mind that the caller changes the bytes while they are compiled", async () => {
    await using compiler = createCompiler()
    const bytes = Uint8Array.from(ANSWER)
    const compiled = compiler.compile("guest", bytes, MIB)
    bytes.fill(0)
    assert(WebAssembly.Module.exports((await compiled).module).some(({ name }) => name === "answer"))
    await compiler.compile("guest", ANSWER, MIB)
    assert.equal(compiler.compiled, 1)
  })

  it("names each plugin in its own failure although they share the module", async () => {
    await using compiler = createCompiler()
    const bytes = ANSWER.subarray(0, 20)
    const failures = await Promise.allSettled(["one", "two"].map((name) => compiler.compile(name, bytes, MIB)))
    assert.equal(compiler.compiled, 1)
    assert.deepEqual(
      failures.map((failure) => failure.status === "rejected" && (failure.reason as PluginError).plugin),
      ["one", "two"],
    )
  })

  it("tries again what has failed", async () => {
    await using compiler = createCompiler()
    await failure(compiler, ANSWER.subarray(0, 20))
    await failure(compiler, ANSWER.subarray(0, 20))
    assert.equal(compiler.compiled, 2)
  })

  it("compiles nothing once it is closed, and lets whoever waits know", async () => {
    const compiler = createCompiler()
    const waiting = [1, 2, 3].map((number) => failure(compiler, numbered(number)))
    await compiler[Symbol.asyncDispose]()
    for (const error of await Promise.all(waiting)) assert.match(error.code, /E_OVERLOADED|E_INTERNAL/)
    assert.equal((await failure(compiler, numbered(4))).code, "E_OVERLOADED")
  })
})

function padded(length: number): Uint8Array {
  return Buffer.concat([ANSWER], length)
}

describe("a compiler tells what is not a module", () => {
  const cases: [what: string, bytes: Uint8Array, code: string, says: RegExp][] = [
    ["an empty file", Buffer.alloc(0), "E_WASM_INVALID", /an empty file/],
    ["WebAssembly text", Buffer.from("\n (module\n"), "E_WASM_INVALID", /WebAssembly text: convert it/],
    ["text that begins with a comment", Buffer.from(";; guest\n(module)"), "E_WASM_INVALID", /WebAssembly text/],
    ["a program of this machine", Buffer.from("\x7fELF\x02\x01\x01"), "E_WASM_INVALID", /ELF program.*wasm32/],
    ["a page", Buffer.from("<!DOCTYPE html><html>"), "E_WASM_INVALID", /HTML or XML/],
    [
      "a pointer of Git LFS",
      Buffer.from("version https://git-lfs.github.com/spec/v1\n"),
      "E_WASM_INVALID",
      /git lfs pull/,
    ],
    ["a packed file", Uint8Array.of(0x1f, 0x8b, 8, 0), "E_WASM_INVALID", /gzip/],
    ["something else", Buffer.from("\u001b[31mred"), "E_WASM_INVALID", /does not begin with 00 61 73 6d \[/],
    ["half a preamble", Uint8Array.of(0, 0x61, 0x73), "E_WASM_INVALID", /does not begin/],
    ["a preamble without version", Uint8Array.of(0, 0x61, 0x73, 0x6d, 1), "E_WASM_INVALID", /end at byte 5/],
    ["another version", Uint8Array.of(0, 0x61, 0x73, 0x6d, 2, 0, 0, 0), "E_WASM_INVALID", /at byte 4/],
    ["a component", Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0), "E_WASM_UNSUPPORTED", /component.*core modules/],
    ["a file too large", padded(DEFAULT_MODULE_LIMITS.moduleBytes + 1), "E_WASM_LIMIT", /module size in bytes: \d+ is/],
  ]
  for (const [what, bytes, code, says] of cases)
    it(what, async () => {
      await using compiler = createCompiler()
      const error = await failure(compiler, bytes)
      assert.equal(error.code, code)
      assert.match(error.message, says)
    })
})

describe("a compiler and a damaged module", () => {
  it("refuses it cut off anywhere, saying where it ends", async () => {
    await using compiler = createCompiler()
    for (let length = 9; length < ANSWER.length; length++) {
      const bytes = ANSWER.subarray(0, length)
      if (WebAssembly.validate(bytes)) continue
      const error = await failure(compiler, bytes)
      assert.equal(error.code, "E_WASM_INVALID")
      assert.match(error.message, /at byte \d+ \[/)
    }
  })

  it("refuses it with any bit wrong, or finds it valid as V8 does", async () => {
    await using compiler = createCompiler()
    let refused = 0
    for (let bit = 64; bit < ANSWER.length * 8; bit++) {
      const bytes = Uint8Array.from(ANSWER)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      await compiler.compile("guest", bytes, MIB).then(
        () => assert(WebAssembly.validate(bytes), `bit ${bit}`),
        (error: PluginError) => {
          refused++
          assert.match(error.code, /^E_WASM_/, `bit ${bit}: ${error.message}`)
        },
      )
    }
    assert(refused > 100)
  })
})

describe("a compiler and a module made to keep it busy", () => {
  const bombs: [what: string, bytes: Uint8Array, says: RegExp][] = [
    ["140,000 loops over 1,000 locals", moduleOfBodies(loops(140_000, 1000)), /function size in bytes: 980005/],
    ["480 loops over 1,000 locals", moduleOfBodies(loops(480, 1000)), /values joined in one function: \d+ is over/],
    ["many functions that stay below", moduleOfBodies(...repeatBody(100, loops(160, 999))), /values joined in all/],
    ["two thousand blocks in each other", moduleOfBodies(nested(2000)), /nested blocks: 1001/],
    ["50,001 functions", moduleOfBodies(...repeatBody(50_001, [0, 0x0b])), /functions: 50001/],
    ["2,000 locals", moduleOfBodies(loops(1, 2000)), /locals.*2000/],
  ]
  for (const [what, bytes, says] of bombs)
    it(`refuses ${what}, and the calling thread goes on meanwhile`, async () => {
      await using compiler = createCompiler()
      const refused = failure(compiler, bytes)
      assert((await turnsUntil(refused)) > 3)
      const error = await refused
      assert.equal(error.code, "E_WASM_LIMIT")
      assert.match(error.message, says)
      assert.match(error.message, /at byte \d+/)
    })

  it("refuses one that grows out of all proportion when its fuel is counted", async () => {
    await using compiler = createCompiler()
    const body = [0, ...repeat(40_000, [0x03, 0x40, 0x0b]), 0x0b]
    const bytes = moduleOfBodies(...repeatBody(50, body))
    assert(bytes.length < DEFAULT_MODULE_LIMITS.moduleBytes / 2)
    const error = await failure(compiler, bytes)
    assert.equal(error.code, "E_WASM_LIMIT")
    const [, bytesMade] = /counting its fuel makes (\d+) bytes of it, over the limit of 33554432/.exec(error.message)!
    // All of it would be several times the limit; it is given up in the function that passes it.
    assert(Number(bytesMade) < 1.25 * DEFAULT_MODULE_LIMITS.meteredBytes)
  })

  it("compiles what is just within the limits while the calling thread goes on", async () => {
    await using compiler = createCompiler()
    const compiled = compiler.compile("guest", moduleOfBodies(...repeatBody(18, loops(100, 500))), MIB)
    assert((await turnsUntil(compiled)) > 10)
    await compiled
  })
})

describe("a compiler's thread", () => {
  it("is given up when a module takes too long: the message says how long, and the next module has a thread again", async (t) => {
    const threads = watchThreads(t)
    await using compiler = createCompiler({ timeoutMs: 1 })
    for (const number of [1, 2]) {
      const error = await failure(compiler, numbered(number))
      assert.equal(error.code, "E_WASM_LIMIT")
      assert.match(error.message, /took more than 0.001 s: split its largest functions/)
    }
    assert.equal(threads.length, 2)
  })

  it("fails only the module at hand when it ends, even in the middle of it", async (t) => {
    const threads = watchThreads(t)
    await using compiler = createCompiler()
    const before = cachedDataVersionTag()
    const first = failure(compiler, LARGE)
    const second = compiler.compile("guest", ANSWER, MIB)
    await flagsOtherThan(before)
    await threads[0]!.terminate()
    assert.match((await first).message, /the compiler's thread ended \[E_INTERNAL\]/)
    assert(WebAssembly.Module.exports((await second).module).length > 0)
    assert.equal(threads.length, 2)
  })

  it("loses nothing that is sent to it after its end, before that is known", async (t) => {
    const threads = watchThreads(t)
    await using compiler = createCompiler()
    await compiler.compile("guest", ANSWER, MIB)
    const ended = threads[0]!.terminate()
    const { module } = await compiler.compile("guest", numbered(1), MIB)
    assert(WebAssembly.Module.exports(module).length > 0)
    await ended
    assert.equal(threads.length, 2)
  })

  it("is started for the first module and used for the next ones", async (t) => {
    const threads = watchThreads(t)
    await using compiler = createCompiler()
    assert.equal(threads.length, 0)
    await Promise.all([1, 2, 3, 4].map((number) => compiler.compile("guest", numbered(number), MIB)))
    await failure(compiler, ANSWER.subarray(0, 20))
    await compiler.compile("guest", numbered(5), MIB)
    assert.equal(threads.length, 1)
  })

  it("has V8 compile everything at once while it works, and nothing afterwards", async () => {
    await using compiler = createCompiler()
    const before = cachedDataVersionTag()
    const compiled = compiler.compile("guest", LARGE, MIB)
    await flagsOtherThan(before)
    await compiled
    assert.equal(cachedDataVersionTag(), before)
  })

  it("takes no module any more once it is to end for want of work", async () => {
    await using thread = new CompileThread(60_000, 1)
    for (let i = 0; i < 60; i++) {
      const { guest } = await thread.compile(ANSWER, 16)
      assert.ok(guest.module instanceof WebAssembly.Module)
      // Around the moment at which it ends.
      await delay(1 + (i % 3))
    }
  })

  it("does not keep a process alive", async () => {
    const script = `
      const { createCompiler } = await import(${JSON.stringify(new URL("../../../src/sandbox/wasm/compile.ts", import.meta.url).href)})
      const compiler = createCompiler()
      await compiler.compile("guest", Uint8Array.of(${ANSWER}), ${MIB})
      process.on("exit", () => console.log("compiled", compiler.compiled))`
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
      timeout: 60_000,
    })
    assert.equal(stdout, "compiled 1\n")
  })
})

describe("a compiler's memory", () => {
  it("lets go of modules that nobody has, except the latest", async () => {
    await using compiler = createCompiler()
    const first = new WeakRef((await compiler.compile("guest", numbered(0), MIB)).module)
    for (let number = 1; number <= 200; number++) await compiler.compile("guest", numbered(number), MIB)
    await collected(first)
    await compiler.compile("guest", numbered(200), MIB)
    assert.equal(compiler.compiled, 201)
    await compiler.compile("guest", numbered(0), MIB)
    assert.equal(compiler.compiled, 202)
  })

  it("knows a module again as long as anybody has an instance of it", async () => {
    await using compiler = createCompiler()
    const instance = await (async () => {
      const { module, metered } = await compiler.compile("guest", numbered(0), MIB)
      return new WebAssembly.Instance(module, { [metered.refill.module]: { [metered.refill.name]: () => 0 } })
    })()
    const other = new WeakRef((await compiler.compile("guest", numbered(1), MIB)).module)
    for (let number = 2; number <= 200; number++) await compiler.compile("guest", numbered(number), MIB)
    await collected(other)
    await compiler.compile("guest", numbered(0), MIB)
    assert.equal(compiler.compiled, 201)
    assert(instance.exports.answer !== undefined)
  })
})

/** Takes about a second to meter and compile. */
const LARGE = moduleOfBodies(...repeatBody(40, [1, 1, 0x7e, 0x20, 0, ...repeat(80_000, [0x20, 0, 0x7f]), 0x1a, 0x0b]))

/** Waits until V8 compiles a module: the tag is made from its flags. */
async function flagsOtherThan(tag: number): Promise<void> {
  while (cachedDataVersionTag() === tag) await new Promise((resolve) => setImmediate(resolve))
}

/** Threads that are started during a test. */
function watchThreads(t: TestContext): Worker[] {
  const threads: Worker[] = []
  const add = (worker: Worker) => threads.push(worker)
  process.on("worker", add)
  t.after(() => process.off("worker", add))
  return threads
}

async function collected(reference: WeakRef<object>): Promise<void> {
  setFlagsFromString("--expose-gc")
  const collect: () => void = runInNewContext("gc")
  for (let tries = 0; tries < 50; tries++) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
    if (reference.deref() === undefined) return
  }
  assert.fail("it is still held")
}

function repeatBody(count: number, body: readonly number[]): (readonly number[])[] {
  return Array.from({ length: count }, () => body)
}

function nested(depth: number): number[] {
  return [0, ...repeat(depth, [0x02, 0x40]), ...repeat(depth, [0x0b]), 0x0b]
}
