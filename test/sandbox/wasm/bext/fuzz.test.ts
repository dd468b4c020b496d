import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import type { GuestStorage } from "../../../../src/host/services.ts"
import type { HookCall, Sandbox } from "../../../../src/sandbox/sandbox.ts"
import { unpackBuffer } from "../../../../src/sandbox/wasm/bext/buffer.ts"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"
import { REFUSAL_CODES } from "../../../../src/sandbox/wasm/bext/refusal-codes.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"
import { mulberry32 } from "../../../support/mulberry32.ts"
import { importsOf, loadBext } from "./bext-guest.ts"

const CALLS = 6000
const PAGE = 65_536
/** Where the guest reads what to do: number of the function, what the allocator returns, then 8 bytes for each argument. */
const ORDER = 8192
const RESULT = 12_288
const WORDS = [
  "x-one",
  "host",
  "GET",
  "mail",
  "KEY",
  "info",
  "null",
  '{"id":"ada"}',
  '{"url":"u"}',
  "a\0b\0",
  "\u00e4",
  "",
]
const EXTREMES = [
  0,
  1,
  2,
  7,
  8,
  31,
  32,
  64,
  200,
  4096,
  65_504,
  65_528,
  65_535,
  PAGE,
  PAGE + 1,
  0x7fffffff,
  0x80000000,
  0xffffffff,
]
const REFUSALS = new Set(REFUSAL_CODES.values())
/** How a call may end in the middle, and what a hook may get wrong. */
const ENDINGS = new Set(["E_GUEST_TRAPPED", "E_LIMIT_MEMORY", "E_GUEST_RESULT_INVALID"])

describe("any function with any arguments", () => {
  for (const [what, names] of [
    ["that may wait", [...FUNCTIONS.keys()]],
    [
      "that is entered plainly",
      Array.from(FUNCTIONS).flatMap(([name, { waits }]) => (waits === undefined ? [name] : [])),
    ],
  ] as const) {
    for (const seed of [1, 2]) {
      it(`gives a guest ${what} a documented result, or ends its call (seed ${seed})`, async () => {
        const services = new CountingServices()
        const random = mulberry32(seed)
        await using guest = await loadBext(fuzzed(names), { services, instance: "fresh" })
        const before = describeHost(services)
        const seen = { returned: 0, refused: 0, ended: 0 }
        for (let i = 0; i < CALLS / 4; i++) {
          const order = randomOrder(random, names)
          const call = callOf(random, order)
          const ended = await run(guest, call, order)
          if (ended) seen.ended++
          // Without a request there is no order.
          else if (call.exchange === null) continue
          else if (isRefusal(names, order, resultIn(services))) seen.refused++
          else seen.returned++
          services.lines.length = 0
        }
        assert.deepEqual(describeHost(services), before)
        for (const [outcome, count] of Object.entries(seen)) assert.ok(count > 50, `${outcome}: ${count}`)
      })
    }
  }
})

/** @returns whether the call ended in the middle. */
async function run(guest: Sandbox, call: HookCall, order: Buffer): Promise<boolean> {
  try {
    await guest.call(call)
    return false
  } catch (error) {
    assert.ok(error instanceof PluginError && ENDINGS.has(error.code), `${order.toString("hex")}: ${error}`)
    return true
  }
}

function callOf(random: () => number, order: Buffer): HookCall {
  const hook = pick(random, ["on_request", "on_response"] as const)
  const exchange = new RecordingExchange("/päth", hook === "on_request" ? "request" : "response")
  exchange.bodies.request = order
  return random() < 0.05 ? event("on_reload", []) : { ...request(exchange), hook }
}

/** A refusal has one of the numbers there are; a buffer lies in the memory. */
function isRefusal(names: readonly string[], order: Buffer, result: bigint): boolean {
  const name = names[order.readUInt32LE(0)]!
  const type = FUNCTIONS.get(name)!.type
  const { address, length } = unpackBuffer(result)
  const number = length | 0
  if (type.endsWith("()")) return false
  if (number < 0 && (type.endsWith("(i32)") || address === 0)) {
    // The clocks are no buffers, and count below 2^31 only after a short uptime.
    if (name.startsWith("clock_")) return false
    assert.ok(REFUSALS.has(number), `${name}: ${number}`)
    return true
  }
  if (type.endsWith("(i64)") && !name.startsWith("clock_"))
    assert.ok(address + length <= 4 * PAGE, `${name}: ${result}`)
  return false
}

function resultIn(services: RecordingServices): bigint {
  const stored = services.storage(null).get("result")
  return stored === undefined ? 0n : Buffer.from(stored as string).readBigInt64LE()
}

/** What of the host a guest must not change. */
function describeHost(services: RecordingServices): unknown {
  const prototypes = [Object.prototype, Array.prototype, Uint8Array.prototype, String.prototype, Map.prototype]
  return [Object.keys(services), services.config, prototypes.map((prototype) => Reflect.ownKeys(prototype).length)]
}

function randomOrder(random: () => number, names: readonly string[]): Buffer {
  const order = Buffer.alloc(8 + 8 * 8)
  const index = Math.floor(random() * names.length)
  order.writeUInt32LE(index, 0)
  if (random() < 0.1) order.writeUInt32LE(pick(random, EXTREMES), 4)
  const [, parameters] = /^\((.*)\) ->/.exec(FUNCTIONS.get(names[index]!)!.type)!
  const types = parameters!.split(" ")
  for (let i = 0; i < types.length; i++) {
    const at = 8 + 8 * i
    if (types[i] === "f64") order.writeDoubleLE(pick(random, [0, -0, 1.5, Number.NaN, Infinity, -Infinity, 1e308]), at)
    else if (types[i] === "i64") order.writeBigInt64LE(randomLong(random), at)
    else if (types[i + 1] === "i32" && random() < 0.6) {
      const word = Math.floor(random() * WORDS.length)
      order.writeUInt32LE(64 * word, at)
      order.writeUInt32LE(Buffer.byteLength(WORDS[word]!), at + 8)
      i++
    } else order.writeUInt32LE(random() < 0.5 ? Math.floor(random() * 3) : pick(random, EXTREMES), at)
  }
  return order
}

function randomLong(random: () => number): bigint {
  return pick(random, [0n, 1n, -1n, 1000n, 2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)])
}

function pick<T>(random: () => number, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!
}

/** With the counters of the real storage. */
class CountingServices extends RecordingServices {
  override storage(tenant: string | null): GuestStorage {
    const storage = super.storage(tenant)
    const incr = async (key: string, by: number) => {
      const sum = Number(storage.get(key) ?? 0) + by
      if (!Number.isSafeInteger(sum)) throw new PluginError("E_GUEST_RESULT_INVALID", "guest", "not a counter")
      storage.set(key, String(sum), 0)
      return sum
    }
    return Object.assign(Object.create(storage), { incr })
  }
}

/** A guest that does what the body of the request orders, with the allocator's answer as ordered. */
function fuzzed(names: readonly string[]): string {
  const calls = names.map((name, i) => {
    const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(FUNCTIONS.get(name)!.type)!
    const types = parameters!.split(" ").filter((type) => type !== "")
    const args = types.map((type, at) => `(${type}.load (i32.const ${ORDER + 8 + 8 * at}))`)
    const call = `(call $${name} ${args.join(" ")})`
    const wide = results === "i32" ? `(i64.extend_i32_s ${call})` : call
    const kept = results === "" ? call : `(i64.store (i32.const ${RESULT}) ${wide})`
    return `(if (i32.eq (local.get $index) (i32.const ${i})) (then ${kept}))`
  })
  const words = WORDS.map((word, i) => {
    const escaped = Array.from(Buffer.from(word), (byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")
    return `(data (i32.const ${64 * i}) "${escaped}")`
  })
  return `(module ${importsOf([...names, "read_body", "storage_set"])}
    (memory (export "memory") 1 4) (global $free (mut i32) (i32.const 32768))
    ${words.join("\n")}
    (func (export "bext_alloc") (param $size i32) (result i32) (local $at i32)
      (if (i32.load (i32.const ${ORDER + 4})) (then (return (i32.load (i32.const ${ORDER + 4})))))
      (local.set $at (global.get $free))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const ${PAGE})))
        (then (if (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)) (then (return (i32.const 0))))))
      (local.get $at))
    (func $work (result i32) (local $index i32)
      (global.set $free (i32.const 32768))
      (i64.store (i32.const ${RESULT}) (i64.const 0))
      (drop (call $read_body (i32.const 0) (i32.const 0) (i32.const ${ORDER}) (i32.const 72)))
      (local.set $index (i32.load (i32.const ${ORDER})))
      ${calls.join("\n")}
      ;; The call may have written anywhere.
      (i64.store (i32.const 4096) (i64.const 0x746c75736572))
      (drop (call $storage_set (i32.const 4096) (i32.const 6) (i32.const ${RESULT}) (i32.const 8)))
      (i32.const 0))
    (export "on_request" (func $work)) (export "on_response" (func $work))
    (func (export "on_reload") (param i32 i32) (result i32) (call $work)))`
}
