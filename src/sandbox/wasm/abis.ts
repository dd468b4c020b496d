import type { ModuleShape } from "../metering/module-shape.ts"
import type { Abi } from "./abi.ts"
import { BEXT_ABI } from "./bext/abi.ts"
import { HTTP_WASM_ABI, isHttpWasm } from "./http-wasm/abi.ts"

export const ABIS: Readonly<Record<Abi["name"], Abi>> = { bext: BEXT_ABI, "http-wasm": HTTP_WASM_ABI }

/** The ABI a module speaks, by what it imports and exports. */
export function abiOf(shape: ModuleShape): Abi {
  return isHttpWasm(shape) ? HTTP_WASM_ABI : BEXT_ABI
}
