import { EXTERNREF, F32, F64, FUNCREF, I32, I64, V128 } from "./instructions.ts"
import type { Reader } from "./reader.ts"

/** A vector of value types in the text format. */
export function readTypeNames(reader: Reader): string {
  const names: string[] = []
  for (let count = reader.u32(); count > 0; count--) names.push(typeName(reader.valueType()))
  return names.join(" ")
}

/** A value type in the text format. */
export function typeName(type: number): string {
  return TYPE_NAMES.get(type)!
}

const TYPE_NAMES = new Map([
  [I32, "i32"],
  [I64, "i64"],
  [F32, "f32"],
  [F64, "f64"],
  [V128, "v128"],
  [FUNCREF, "funcref"],
  [EXTERNREF, "externref"],
])
