import type { ModuleShape } from "../../metering/module-shape.ts"
import type { Abi } from "../abi.ts"
import { HttpWasmBinding } from "./binding.ts"
import { checkModule } from "./check-module.ts"
import { GUEST_TYPES, HTTP_HANDLER_MODULE } from "./types.ts"

/** The http-wasm handler ABI. What of it bext does how is in docs/wasm-http.md. Source: http-wasm.io, HTTP Handler ABI. */
export const HTTP_WASM_ABI: Abi = {
  name: "http-wasm",
  check: checkModule,
  bind: (guest, shape) => new HttpWasmBinding(guest, shape),
}

/** Whether a module speaks it, rightly or wrongly. */
export function isHttpWasm({ imports, exports }: ModuleShape): boolean {
  return (
    imports.some(({ module }) => module === HTTP_HANDLER_MODULE) ||
    [...GUEST_TYPES.keys()].some((name) => exports.has(name))
  )
}
