import wabt from "wabt"
import type { Sandbox } from "../../../../src/sandbox/sandbox.ts"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"
import { createWasmTier } from "../../../../src/sandbox/wasm/tier.ts"
import { type WrittenModule, writeWasm } from "../write-wasm.ts"

const tier = await createWasmTier()
const parser = await wabt()

export function toBinary(wat: string): Uint8Array {
  return parser.parseWat("guest.wat", wat).toBinary({ write_debug_names: true }).buffer
}

/** Loads a module through the tier and makes it ready. */
export function loadBext(wat: string, options: WrittenModule = {}): Promise<Sandbox> {
  return writeWasm(tier, toBinary(wat), options)
}

/** The imports of those functions, each as `$name`. */
export function importsOf(names: Iterable<string>): string {
  return Array.from(new Set(names), (name) => {
    const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(FUNCTIONS.get(name)!.type)!
    const result = results === "" ? "" : `(result ${results})`
    return `(import "bext" "${name}" (func $${name} (param ${parameters}) ${result}))`
  }).join("\n")
}

/** An allocator that takes the next free bytes from 32768 on and grows the memory when there are none. */
export const BUMP_ALLOCATOR = `
  (global $free (mut i32) (i32.const 32768))
  (func $bext_alloc (export "bext_alloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))`
