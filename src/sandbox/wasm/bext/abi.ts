import type { Abi } from "../abi.ts"
import { BextBinding } from "./binding.ts"
import { checkModule } from "./check-module.ts"

/** The bext ABI, version 1. Source: docs/wasm-abi.md. */
export const BEXT_ABI: Abi = {
  name: "bext",
  check: checkModule,
  bind: (guest, shape) => new BextBinding(guest, shape),
}
