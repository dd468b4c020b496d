/**
 * What a module needs and offers, read from its binary: what the host decides by before any of it runs. Types are written
 * as in the WebAssembly text format's parts: functions `(i32 i32) -> (i64)`, globals `mut i32` or `i32`.
 * Source: WebAssembly Core 3.0 §5.5.5 and §5.5.10.
 */
export interface ModuleShape {
  readonly imports: readonly ImportShape[]
  /** By name. */
  readonly exports: ReadonlyMap<string, ExternShape>
}

export interface ExternShape {
  readonly kind: "function" | "table" | "memory" | "global"
  /** "" for tables and memories. */
  readonly type: string
}

export interface ImportShape extends ExternShape {
  readonly module: string
  readonly name: string
}
