/**
 * A suspending entry answers by a promise even when nothing waited. A trampoline tells at once: it calls the function and
 * hands the result to the host before the promise knows of it.
 */
import { FUNCTION_TYPE, I32, I64 } from "../metering/instructions.ts"

/** Calls the function; `done` gets its result, then the promise is fulfilled. */
export type Run = (...args: (number | bigint)[]) => Promise<void>

/** @param type - Its type, as `ModuleShape` writes it; of i32, i64, f32 and f64. */
export function suspendingEntry(
  fn: WebAssembly.ExportValue,
  type: string,
  done: (result?: number | bigint) => void,
): Run {
  const known = modules.get(type)
  const module = known ?? new WebAssembly.Module(encode(type))
  if (known === undefined) modules.set(type, module)
  const { exports } = new WebAssembly.Instance(module, { t: { fn, done } })
  return WebAssembly.promising(exports.run!) as Run
}

const modules = new Map<string, WebAssembly.Module>()

const VALUE_TYPES: Readonly<Record<string, number>> = { i32: I32, i64: I64, f32: 0x7d, f64: 0x7c }

/** Source: WebAssembly Core 3.0 §5.5. Function 0 is `fn`, 1 is `done`, 2 is `run`. */
function encode(type: string): Uint8Array<ArrayBuffer> {
  const [parameters, results] = type
    .split("->")
    .map((part) => part.match(/[if]\d\d/g)?.map((name) => VALUE_TYPES[name]!) ?? [])
  const functionType = (from: readonly number[], to: readonly number[]) => [
    FUNCTION_TYPE,
    from.length,
    ...from,
    to.length,
    ...to,
  ]
  const getParameters = parameters!.flatMap((_, i) => [0x20, i])
  const body = [0, ...getParameters, 0x10, 0, 0x10, 1, 0x0b]
  const name = (text: string) => [text.length, ...Buffer.from(text)]
  const section = (id: number, content: readonly number[]) => [id, content.length, ...content]
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [
      3,
      ...functionType(parameters!, results!),
      ...functionType(results!, []),
      ...functionType(parameters!, []),
    ]),
    ...section(2, [2, ...name("t"), ...name("fn"), 0, 0, ...name("t"), ...name("done"), 0, 1]),
    ...section(3, [1, 2]),
    ...section(7, [1, ...name("run"), 0, 2]),
    ...section(10, [1, body.length, ...body]),
  ])
}
