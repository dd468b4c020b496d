import type { ModuleShape } from "../metering/module-shape.ts"
import type { Abi } from "./abi.ts"
import { BEXT_ABI } from "./bext/abi.ts"

export const ABIS: Readonly<Record<Abi["name"], Abi>> = { bext: BEXT_ABI, "http-wasm": BEXT_ABI }

/** The ABI a module speaks, by what it imports and exports. */
export function abiOf({ imports, exports }: ModuleShape): Abi {
  const speaksHttp = imports.some(({ module }) => module === "http_handler") || exports.has("handle_request")
  return ABIS[speaksHttp ? "http-wasm" : "bext"]
}
