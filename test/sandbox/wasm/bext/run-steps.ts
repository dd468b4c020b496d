import type { HookCall, Limits } from "../../../../src/sandbox/sandbox.ts"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"
import { BUMP_ALLOCATOR, importsOf, loadBext } from "./bext-guest.ts"

/** An import and what it is called with. A text or bytes are two arguments: where they are in the memory, and how long. */
export type Step = readonly [name: string, ...args: (number | bigint | Fraction | string | Uint8Array)[]]

export interface Fraction {
  readonly f64: string
}

export interface StepOptions {
  readonly services?: RecordingServices
  readonly exchange?: RecordingExchange
  readonly limits?: Partial<Limits>
  /** Default on_request. */
  readonly hook?: "on_request" | "on_response" | "on_request_complete"
  /** What the hook returns. Default 0. */
  readonly returns?: number
  readonly call?: Partial<HookCall>
  /** In place of the one that takes the next free bytes: everything that has to do with `bext_alloc`. */
  readonly allocator?: string
}

export interface Outcome {
  /** Of each step with a result. */
  readonly results: readonly (bigint | undefined)[]
  /** The text of a buffer result; a number when it is a refusal, undefined for none. */
  text(step: number): string | number | undefined
  bytes(step: number): Uint8Array
  /** One page, as it was behind the last step. */
  readonly memory: Buffer
  readonly services: RecordingServices
  readonly exchange: RecordingExchange
}

const TEXTS = 1024
/** Where steps may have something written to. */
export const OUT = 16_384
const RESULTS = 24_576

/** Runs a guest whose hook calls imports one after the other. */
export async function runSteps(steps: readonly Step[], options: StepOptions = {}): Promise<Outcome> {
  const { services = new RecordingServices(), exchange = new RecordingExchange("/path"), hook = "on_request" } = options
  await using guest = await loadBext(guestOf(steps, options), { services, limits: options.limits ?? {} })
  const usual = hook === "on_request_complete" ? event(hook, [{}]) : { ...request(exchange), hook }
  const call: HookCall = { ...usual, ...options.call }
  await guest.call(call)
  const stored = services.storage(call.tenant)
  const memory = toBytes(stored.get("memory"))
  const results = steps.map(([name], i) => (hasResult(name) ? memory.readBigInt64LE(RESULTS + 8 * i) : undefined))
  const buffer = (step: number) => {
    const bits = BigInt.asUintN(64, results[step]!)
    const address = Number(bits >> 32n)
    return { address, bytes: memory.subarray(address, address + Number(bits & 0xffffffffn)) }
  }
  return {
    results,
    text(step) {
      if (results[step] === 0n) return undefined
      const { address, bytes } = buffer(step)
      return address === 0 ? Number(BigInt.asIntN(32, results[step]!)) : bytes.toString()
    },
    bytes: (step) => buffer(step).bytes,
    memory,
    services,
    exchange,
  }
}

/** The guest that `runSteps` runs. */
export function guestOf(steps: readonly Step[], { hook = "on_request", returns = 0, allocator }: StepOptions): string {
  const data: string[] = []
  let at = TEXTS
  const place = (value: string | Uint8Array) => {
    const bytes = Buffer.from(value as string)
    data.push(
      `(data (i32.const ${at}) "${Array.from(bytes, (byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}")`,
    )
    at += bytes.length
    return `(i32.const ${at - bytes.length}) (i32.const ${bytes.length})`
  }
  const calls = steps.map(([name, ...args], i) => {
    const types = /^\((.*?)\)/.exec(FUNCTIONS.get(name)!.type)![1]!.split(" ")
    let parameter = 0
    const pushed = args.map((arg) => {
      if (typeof arg === "string" || arg instanceof Uint8Array) {
        parameter += 2
        return place(arg)
      }
      const type = types[parameter++]
      return `(${type}.const ${typeof arg === "object" ? arg.f64 : arg})`
    })
    const call = `(call $${name} ${pushed.join(" ")})`
    if (!hasResult(name)) return call
    const wide = FUNCTIONS.get(name)!.type.endsWith("(i64)") ? call : `(i64.extend_i32_s ${call})`
    return `(i64.store (i32.const ${RESULTS + 8 * i}) ${wide})`
  })
  const dump = `(drop (call $storage_set ${place("memory")} (i32.const 0) (i32.const 65536)))`
  return `(module
    ${importsOf([...steps.map(([name]) => name), "storage_set"])}
    (memory (export "memory") 1)
    ${allocator ?? BUMP_ALLOCATOR}
    (func (export "${hook}") ${hook === "on_request_complete" ? "(param i32 i32)" : ""} (result i32)
      ${calls.join("\n")}
      ${dump}
      (i32.const ${returns}))
    ${data.join("\n")})`
}

function hasResult(name: string): boolean {
  return !FUNCTIONS.get(name)!.type.endsWith("()")
}

function toBytes(value: string | Uint8Array | undefined): Buffer {
  return Buffer.from((value ?? "") as string)
}
