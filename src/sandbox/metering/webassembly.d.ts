/**
 * The part of the WebAssembly JavaScript API that the sandboxes use: Node has it, its type packages do not.
 * Source: WebAssembly JavaScript Interface, https://webassembly.github.io/spec/js-api/
 */
declare namespace WebAssembly {
  type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "externref" | "anyfunc"
  type ExportValue = ExportedFunction | Memory | Table | Global
  type ExportedFunction = (...args: never[]) => unknown
  type Exports = Record<string, ExportValue>
  type Imports = Record<string, Record<string, unknown>>

  function validate(bytes: Uint8Array): boolean

  class Module {
    constructor(bytes: Uint8Array)
    static imports(module: Module): { module: string; name: string; kind: string }[]
    static exports(module: Module): { name: string; kind: string }[]
    static customSections(module: Module, name: string): ArrayBuffer[]
  }

  class Instance {
    constructor(module: Module, imports?: Imports)
    readonly exports: Exports
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum?: number })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }

  class Table {
    constructor(descriptor: { element: "anyfunc" | "externref"; initial: number; maximum?: number }, value?: unknown)
    readonly length: number
    get(index: number): unknown
    set(index: number, value?: unknown): void
    grow(count: number, value?: unknown): number
  }

  class Global {
    constructor(descriptor: { value: ValueType; mutable?: boolean }, value?: unknown)
    value: unknown
    valueOf(): unknown
  }

  /** Source: WebAssembly JavaScript Promise Integration. */
  class Suspending {
    constructor(fn: (...args: never[]) => unknown)
  }
  function promising(fn: ExportValue): (...args: never[]) => Promise<unknown>

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}
}
