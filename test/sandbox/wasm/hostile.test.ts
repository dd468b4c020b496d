import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../src/errors.ts"
import type { HookCall, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { createWasmTier } from "../../../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { HOSTILE_MODULES, importing } from "../../fixtures/guests/hostile-modules.ts"
import { toWasm } from "../metering/support.ts"
import { COUNTING_MODULE } from "./counting-module.ts"
import { writeWasm } from "./write-wasm.ts"

const tier = createWasmTier()

/** Enough time that only fuel ends what does not end by itself, however busy the machine is. */
const LIMITS = { cpuMs: 60_000, wallMs: 120_000, fuel: 3_000_000 }

const SMALL = { limits: { memoryBytes: 1024 * 1024 } }
const PREAMBLE = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

interface Refused {
  readonly text: string
  readonly code: RegExp
  readonly message: RegExp
}

const MEMORY = '(memory (export "memory") 1)'
const ALLOC = '(func (export "bext_alloc") (param i32) (result i32) (i32.const 1024))'
const HOOK = '(func (export "on_request") (result i32) (i32.const 0))'
const ABI = /^E_PLUGIN_LOAD_FAILED$/
const BOMB = /^E_WASM_LIMIT$/

const REFUSED: Readonly<Record<string, Refused>> = {
  "no memory": { text: `(module ${ALLOC} ${HOOK})`, code: ABI, message: /memory/ },
  "a memory that is a function": {
    text: `(module (func (export "memory")) ${ALLOC} ${HOOK})`,
    code: ABI,
    message: /memory/,
  },
  "no allocator": { text: `(module ${MEMORY} ${HOOK})`, code: ABI, message: /bext_alloc/ },
  "an allocator of another type": {
    text: `(module ${MEMORY} ${HOOK} (func (export "bext_alloc") (param i64) (result i64) (i64.const 0)))`,
    code: ABI,
    message: /bext_alloc.*i32/,
  },
  "an allocator that is a global": {
    text: `(module ${MEMORY} ${HOOK} (global (export "bext_alloc") i32 (i32.const 0)))`,
    code: ABI,
    message: /bext_alloc/,
  },
  "no hook": { text: `(module ${MEMORY} ${ALLOC})`, code: ABI, message: /hook/ },
  "a hook with parameters it does not have": {
    text: `(module ${MEMORY} ${ALLOC} (func (export "on_request") (param i32) (result i32) (i32.const 0)))`,
    code: ABI,
    message: /on_request/,
  },
  "a hook without a result": {
    text: `(module ${MEMORY} ${ALLOC} (func (export "on_request")))`,
    code: ABI,
    message: /on_request/,
  },
  "a hook that is a table": {
    text: `(module ${MEMORY} ${ALLOC} (table (export "on_request") 1 funcref))`,
    code: ABI,
    message: /on_request/,
  },
  "an import of another type": {
    text: `(module (import "bext" "get_path" (func (param i32) (result i32))) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: ABI,
    message: /get_path/,
  },
  "an import that nobody has": {
    text: `(module (import "bext" "read_file" (func (param i32 i32) (result i32))) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: ABI,
    message: /read_file/,
  },
  "an import with the name of what every object has": {
    text: `(module (import "bext" "__proto__" (func)) (import "constructor" "toString" (func)) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: ABI,
    message: /__proto__|constructor/,
  },
  "an import of what the rewriter imports": {
    text: `(module (import "__fuel" "refill" (func (result f64))) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: ABI,
    message: /__fuel/,
  },
  "an imported memory": {
    text: `(module (import "bext" "memory" (memory 1)) (export "memory" (memory 0)) ${ALLOC} ${HOOK})`,
    code: /^E_(PLUGIN_LOAD_FAILED|WASM_UNSUPPORTED)$/,
    message: /memory/,
  },
  "an imported table": {
    text: `(module (import "bext" "table" (table 1 funcref)) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: /^E_(PLUGIN_LOAD_FAILED|WASM_UNSUPPORTED)$/,
    message: /table/,
  },
  "a start function that spins": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (func $start (loop (br 0))) (start $start))`,
    code: /^E_LIMIT_(CPU|FUEL)$/,
    message: /start/,
  },
  "a start function that recurses": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (func $start (call $start) (call $start)) (start $start))`,
    code: /^E_LIMIT_STACK$/,
    message: /start/,
  },
  "a start function that traps": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (func $start (unreachable)) (start $start))`,
    code: /^E_(GUEST_TRAPPED|PLUGIN_LOAD_FAILED)$/,
    message: /start.*unreachable/,
  },
  "an initialiser that spins": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (func (export "_initialize") (loop (br 0))))`,
    code: /^E_LIMIT_(CPU|FUEL)$/,
    message: /_initialize/,
  },
  "data outside memory": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (data (i32.const 65530) "0123456789"))`,
    code: /^E_(GUEST_TRAPPED|PLUGIN_LOAD_FAILED|WASM_INVALID)$/,
    message: /data/,
  },
  "elements outside their table": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (table 1 funcref) (func $f) (elem (i32.const 1) $f $f))`,
    code: /^E_(GUEST_TRAPPED|PLUGIN_LOAD_FAILED|WASM_INVALID)$/,
    message: /table/,
  },
  "more memory to begin with than it may have": {
    text: `(module (memory (export "memory") 17) ${ALLOC} ${HOOK})`,
    code: BOMB,
    message: /memory/,
  },
  "all the memory there can be": {
    text: `(module (memory (export "memory") 65536) ${ALLOC} ${HOOK})`,
    code: BOMB,
    message: /memory/,
  },
  "a table of ten million": {
    text: `(module (table 10000000 funcref) ${MEMORY} ${ALLOC} ${HOOK})`,
    code: BOMB,
    message: /table/,
  },
  "a hundred tables": {
    text: `(module ${"(table 10000 funcref)".repeat(100)} ${MEMORY} ${ALLOC} ${HOOK})`,
    code: BOMB,
    message: /table/,
  },
  "a function with more loops and locals than a compiler finishes": {
    text: `(module ${MEMORY} ${ALLOC} ${HOOK} (func (local ${"i64 ".repeat(900)})
      ${"(loop (br_if 0 (i32.const 0)))".repeat(20_000)}))`,
    code: BOMB,
    message: /function/,
  },
}

describe("hostile modules", async () => {
  const neighbour = await writeWasm(tier, COUNTING_MODULE)
  let served = 0
  const neighbourServes = async () => {
    const exchange = new RecordingExchange("/")
    await neighbour.call(request(exchange))
    assert.equal(exchange.answer?.status, 210 + (++served % 80))
  }

  for (const [name, { text, ends }] of Object.entries(HOSTILE_MODULES)) {
    it(`${name}: a coded end, the next call works, and another guest serves on`, async () => {
      const bytes = toWasm(text)
      for (const instance of ["shared", "fresh"] as const) {
        await using guest = await writeWasm(tier, bytes, { instance })
        for (let i = 0; i < 2; i++) {
          const end = await howItEnds(guest, attack())
          assert.ok(ends.includes(end), `${instance}: ${end}`)
          assert.equal(await howItEnds(guest, calm()), "returned")
          await neighbourServes()
        }
      }
    })
  }
})

describe("hostile modules that must not be let in", () => {
  for (const [name, { text, code, message }] of Object.entries(REFUSED)) {
    it(`${name}: refused, saying what is wrong`, async () => {
      await assert.rejects(writeWasm(tier, toWasm(text), SMALL), (error) => {
        assert.ok(error instanceof PluginError, String(error))
        assert.match(error.code, code, error.message)
        assert.match(error.message, message)
        return true
      })
    })
  }

  it("sections longer than the file, and counts longer than their section: refused", async () => {
    const lengths = [
      [0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xff, 0xff, 0xff, 0xff, 0x7f],
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    ]
    for (const length of lengths) {
      for (let id = 0; id <= 13; id++) {
        await mustRefuse([...PREAMBLE, id, ...length])
        await mustRefuse([...PREAMBLE, id, length.length, ...length])
      }
    }
  })

  it("a module cut off anywhere: refused", async () => {
    const whole = toWasm(HOSTILE_MODULES["an empty loop"]!.text)
    for (let length = 0; length < whole.length; length++) {
      if (WebAssembly.validate(whole.slice(0, length))) continue
      await mustRefuse(whole.subarray(0, length))
    }
  })

  it("modules with any bit wrong: refused, or a coded end of every call", async () => {
    const names = ["recursion through a table", "a header that spans two", "an allocator that moves the memory"]
    let loaded = 0
    for (const name of names) {
      const whole = toWasm(HOSTILE_MODULES[name]!.text)
      for (let bit = 0; bit < whole.length * 8; bit += 5) {
        const bytes = Uint8Array.from(whole)
        bytes[bit >> 3]! ^= 1 << (bit & 7)
        const guest = await refusedOrLoaded(bytes)
        if (guest === null) continue
        loaded++
        await howItEnds(guest, attack())
        await howItEnds(guest, calm())
        await guest[Symbol.asyncDispose]()
      }
    }
    assert.ok(loaded > 50, `only ${loaded} modules were loaded`)
  })
})

describe("host calls of a wasm guest outside any request", () => {
  const CALLS: Readonly<Record<string, string>> = {
    get_path: "(i32.wrap_i64 (call $get_path))",
    get_header: "(i32.wrap_i64 (call $get_header (i32.const 0) (i32.const 0) (i32.const 1)))",
    set_header: "(call $set_header (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 64) (i32.const 1))",
    read_body: "(call $read_body (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))",
    set_body: "(call $set_body (i32.const 0) (i32.const 0) (i32.const 1))",
    respond: "(call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
    set_status: "(call $set_status (i32.const 200))",
  }
  const LATER: Readonly<Record<string, string>> = {
    storage_set: "(call $storage_set (i32.const 64) (i32.const 1) (i32.const 64) (i32.const 1))",
    get_secret: "(i32.wrap_i64 (call $get_secret (i32.const 64) (i32.const 1)))",
  }
  const WAITING: Readonly<Record<string, string>> = {
    http_fetch: "(i32.wrap_i64 (call $http_fetch (i32.const 64) (i32.const 1)))",
    storage_incr: "(call $storage_incr (i32.const 64) (i32.const 1) (i64.const 1) (i64.const 0) (i32.const 64))",
  }

  for (const [name, call] of Object.entries(CALLS)) {
    it(`${name} is refused in on_server_start`, async () => {
      const text = `${MEMORY} ${ALLOC} (func (export "on_server_start") (param i32 i32) (result i32) ${call})`
      await assert.rejects(writeWasm(tier, toWasm(importing(name, text))), { code: "E_PERMISSION" })
    })
  }

  for (const when of ["its start function", "_initialize"]) {
    const start = when === "_initialize" ? '(export "_initialize" (func $first))' : "(start $first)"
    const calling = (name: string, call: string) => {
      const text = `${MEMORY} ${ALLOC} (global $refused (mut i32) (i32.const 0))
        (func $first (global.set $refused ${call})) ${start}
        (func (export "on_request") (result i32) (global.get $refused))`
      return toWasm(importing(name, text))
    }
    for (const [name, call] of Object.entries({ ...CALLS, ...LATER })) {
      it(`${name} is refused in ${when}`, async () => {
        await using guest = await writeWasm(tier, calling(name, call))
        // What it was told then was a refusal; nothing of it is this call's.
        assert.equal(await howItEnds(guest, attack()), "E_GUEST_THREW")
      })
    }
    for (const [name, call] of Object.entries(WAITING)) {
      it(`${name} in ${when} fails the load`, async () => {
        const message = /waits where the host does not wait/
        await assert.rejects(writeWasm(tier, calling(name, call)), { code: "E_PLUGIN_LOAD_FAILED", message })
      })
    }
  }
})

async function mustRefuse(bytes: readonly number[] | Uint8Array): Promise<void> {
  const module = new Uint8Array(bytes)
  const guest = await refusedOrLoaded(module)
  if (guest !== null) assert.fail(`loaded: ${module.toHex()}`)
}

/** Null: refused with a code. */
async function refusedOrLoaded(bytes: Uint8Array): Promise<Sandbox | null> {
  try {
    return await writeWasm(tier, bytes, SMALL)
  } catch (error) {
    assert.ok(error instanceof PluginError, String(error))
    assert.notEqual(error.code, "E_INTERNAL", String(error.cause))
    return null
  }
}

function attack(): HookCall {
  return request(new RecordingExchange("/"), LIMITS)
}

function calm(): HookCall {
  const exchange = new RecordingExchange("/calm")
  exchange.bodies.request = new Uint8Array(0)
  return request(exchange, LIMITS)
}

/** The code of the failure, or "returned". */
async function howItEnds(guest: Sandbox, call: HookCall): Promise<string> {
  try {
    await guest.call(call)
    return "returned"
  } catch (error) {
    assert.ok(error instanceof PluginError, String(error))
    return error.code
  }
}
