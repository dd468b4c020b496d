import { toWasm } from "../metering/support.ts"

/** Counts its calls in the status of its answer: 210 and the number of calls, which begins again at 80. */
export const COUNTING_MODULE = toWasm(`(module
  (import "bext" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (func (export "bext_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "on_request") (result i32)
    (global.set $calls (i32.rem_u (i32.add (global.get $calls) (i32.const 1)) (i32.const 80)))
    (drop (call $respond (i32.add (i32.const 210) (global.get $calls))
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (i32.const 1)))`)
