import { toWasm } from "../sandbox/metering/support.ts"

/** What the module below is made with. */
export interface WatPlugin {
  /** What it answers; ASCII. */
  readonly answer?: string
  /** More functions, as WebAssembly text. */
  readonly more?: string
}

/**
 * A module that speaks the bext ABI. The first letter of the query says what `on_request` does: `t` trap, `s` spin, `b` burn
 * 100,000 turns of a loop and answer, `c` continue, `l` log a line and answer; anything else: answer.
 */
export function watPlugin({ answer = "hello from wasm", more = "" }: WatPlugin = {}): Uint8Array<ArrayBuffer> {
  return toWasm(`(module
    (import "bext" "get_query" (func $get_query (result i64)))
    (import "bext" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
    (import "bext" "log" (func $log (param i32 i32 i32 i32)))
    (import "bext" "get_config" (func $get_config (param i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "info")
    (data (i32.const 32) ${JSON.stringify(answer)})
    (global $next (mut i32) (i32.const 4096))
    (func (export "bext_alloc") (param $size i32) (result i32)
      (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 60000))
        (then (global.set $next (i32.const 4096))))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size))))
    (func $letter (result i32) (local $query i64)
      (local.set $query (call $get_query))
      (if (i32.eqz (i32.wrap_i64 (local.get $query))) (then (return (i32.const 0))))
      (i32.load8_u (i32.wrap_i64 (i64.shr_u (local.get $query) (i64.const 32)))))
    (func $say (call $log (i32.const 16) (i32.const 4) (i32.const 32) (i32.const ${answer.length})))
    (func $burn (param $turns i32)
      (loop $again
        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
        (br_if $again (local.get $turns))))
    (func (export "on_request") (result i32) (local $letter i32)
      (local.set $letter (call $letter))
      (if (i32.eq (local.get $letter) (i32.const ${"t".charCodeAt(0)})) (then (unreachable)))
      (if (i32.eq (local.get $letter) (i32.const ${"s".charCodeAt(0)})) (then (loop $for_ever (br $for_ever))))
      (if (i32.eq (local.get $letter) (i32.const ${"b".charCodeAt(0)})) (then (call $burn (i32.const 100000))))
      (if (i32.eq (local.get $letter) (i32.const ${"c".charCodeAt(0)})) (then (return (i32.const 0))))
      (if (i32.eq (local.get $letter) (i32.const ${"l".charCodeAt(0)})) (then (call $say)))
      (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const ${answer.length})))
      (i32.const 1))
    ${more})`)
}

/** Its files, in `plugins/NAME`. @param manifest - More lines of plugin.toml, from the end of [manifest] on. */
export function wasmPlugin(
  name: string,
  module: Uint8Array,
  capabilities = '"middleware"',
  manifest = "",
): Record<string, string | Uint8Array> {
  const head = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n${manifest}\n`
  return {
    [`plugins/${name}/plugin.toml`]: `${head}[sandbox]\ntype = "wasm"\n`,
    [`plugins/${name}/plugin.wasm`]: module,
  }
}
