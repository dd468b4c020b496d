import assert from "node:assert/strict"
import { type Exported, MeteredInstance } from "./support.ts"

/**
 * Calls every exported function of a module and of its metered form with the same arguments, in the same order, and asserts
 * that results, traps, memory, globals and tables agree after each call.
 */
export function assertSameBehaviour(
  original: Uint8Array,
  argumentLists: readonly (readonly unknown[])[],
  { imports = () => ({}), names, beforeCall = () => {}, slice = 1e9 }: Options = {},
): MeteredInstance {
  const plain = new WebAssembly.Instance(new WebAssembly.Module(original), imports())
  const metered = new MeteredInstance(original, { imports: imports(), budget: 1e12, slice })
  const meteredExports: WebAssembly.Exports = metered.instance.exports
  assert.deepEqual(
    Object.keys(plain.exports),
    Object.keys(meteredExports).filter((name) => !name.startsWith("__fuel")),
  )
  const functions = Object.entries(plain.exports).filter(
    (entry): entry is [string, WebAssembly.ExportedFunction] =>
      typeof entry[1] === "function" && (names?.includes(entry[0]) ?? true),
  )
  for (const args of argumentLists)
    for (const [name, plainFunction] of functions) {
      beforeCall(plain.exports)
      beforeCall(meteredExports)
      const expected = outcome(plainFunction as Exported, args)
      const actual = outcome(meteredExports[name] as Exported, args)
      const call = `${name}(${args.map(String).join(", ")})`
      assert.deepEqual(actual, expected, call)
      assertSameState(plain.exports, meteredExports, call)
    }
  return metered
}

interface Options {
  readonly imports?: () => WebAssembly.Imports
  /** Only these exports are called. */
  readonly names?: readonly string[]
  readonly beforeCall?: (exports: WebAssembly.Exports) => void
  /** Units that the host grants at a time; small ones stop the guest often, for it to go on. */
  readonly slice?: number
}

/**
 * The same for a module of which nobody knows whether its functions return: each is called with one list of arguments,
 * while the metered form stays within `budget`.
 * @returns how many calls were compared.
 */
export function assertSameWhileItReturns(
  original: Uint8Array,
  metered: MeteredInstance,
  { imports, args, budget }: { imports: WebAssembly.Imports; args: readonly unknown[]; budget: number },
): number {
  const plain = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(original)), imports)
  const meteredExports: WebAssembly.Exports = metered.instance.exports
  let compared = 0
  for (const [name, plainFunction] of Object.entries(plain.exports)) {
    if (typeof plainFunction !== "function") continue
    metered.begin(budget)
    const actual = outcome(meteredExports[name] as Exported, args)
    // The original would not return, or not at the same depth of recursion.
    if (metered.refused || isStackOverflow(actual)) break
    assert.deepEqual(actual, outcome(plainFunction as Exported, args), name)
    assertSameState(plain.exports, meteredExports, name)
    compared++
  }
  return compared
}

function isStackOverflow(result: unknown): boolean {
  return (
    typeof result === "object" && result !== null && "thrown" in result && /^RangeError/.test(String(result.thrown))
  )
}

/** What a call gives back, in a form that compares: NaN payloads and the sign of zero are kept by `deepEqual`. */
function outcome(callee: Exported, args: readonly unknown[]): unknown {
  try {
    return { result: describe(callee(...args)) }
  } catch (error) {
    assert(error instanceof Error)
    return { thrown: `${error.name}: ${error.message}` }
  }
}

/** Functions of two instances are never the same object. */
function describe(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(describe)
  return typeof value === "function" ? "function" : value
}

function assertSameState(plain: WebAssembly.Exports, metered: WebAssembly.Exports, after: string): void {
  for (const [name, value] of Object.entries(plain)) {
    const other = metered[name]
    if (value instanceof WebAssembly.Memory) {
      assert(other instanceof WebAssembly.Memory)
      const bytes = Buffer.from(value.buffer)
      assert(bytes.equals(Buffer.from(other.buffer)), `memory differs after ${after}`)
    } else if (value instanceof WebAssembly.Global) {
      assert(other instanceof WebAssembly.Global)
      assert.deepEqual(readGlobal(other), readGlobal(value), `global ${name} after ${after}`)
    } else if (value instanceof WebAssembly.Table) {
      assert(other instanceof WebAssembly.Table)
      assert.deepEqual(entries(other), entries(value), `table ${name} after ${after}`)
    }
  }
}

function readGlobal(global: WebAssembly.Global): unknown {
  try {
    return describe(global.value)
  } catch (error) {
    assert(error instanceof TypeError && /s128/.test(error.message), String(error))
    return "a vector"
  }
}

function entries(table: WebAssembly.Table): unknown[] {
  return Array.from({ length: table.length }, (_, index) => describe(table.get(index)))
}
