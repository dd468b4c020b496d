/**
 * A guest can recurse until the stack is almost full and then call the host, whose own functions would be cut off in the
 * middle of what they do. So each of them first asks for room, while it has done nothing yet.
 */
import { FUNCTION_TYPE, I32, OP, VOID } from "../metering/instructions.ts"

/** What the host's functions need, with a wide margin. */
const ROOM_BYTES = 64 * 1024

const I64_LOAD = 0x29
const I64_STORE = 0x37

const { exports } = new WebAssembly.Instance(new WebAssembly.Module(encode()), { m: { f() {} } })
const check = exports.check as (use: number) => void

/** @throws {RangeError} when there is no room on the stack. */
export function requireStackRoom(): void {
  check(0)
}

/**
 * A function whose frame is that large, because of a branch that is never taken: V8 makes sure that there is room for the
 * whole frame before it makes one, and nothing of it is touched. The values are loaded before a call and used after it, so
 * that all of them are in the frame. The call leads out of the module and their sum is stored, or V8 would optimise all of
 * it away.
 * Source: WebAssembly Core 3.0 §5.5.
 */
function encode(): Uint8Array<ArrayBuffer> {
  const values = ROOM_BYTES / 8
  const loads = Array.from({ length: values }, (_, i) => [OP.i32Const, 0, I64_LOAD, 0, ...unsigned(i * 8)]).flat()
  const sums = new Array<number>(values - 1).fill(OP.i64Add)
  const use = [OP.i32Const, 0, ...loads, OP.call, 0, ...sums, I64_STORE, 0, 0]
  const body = [0, OP.localGet, 0, OP.if, VOID, ...use, OP.end, OP.end]
  const section = (id: number, content: readonly number[]) => [id, ...unsigned(content.length), ...content]
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [2, FUNCTION_TYPE, 0, 0, FUNCTION_TYPE, 1, I32, 0]),
    ...section(2, [1, 1, ...Buffer.from("m"), 1, ...Buffer.from("f"), 0, 0]),
    ...section(3, [1, 1]),
    ...section(5, [1, 0, 1]),
    ...section(7, [1, 5, ...Buffer.from("check"), 0, 1]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}
