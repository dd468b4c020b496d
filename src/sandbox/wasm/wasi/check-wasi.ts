import { PluginError } from "../../../errors.ts"
import type { ImportShape } from "../../metering/module-shape.ts"
import { showName } from "../show-name.ts"
import { WASI_MODULE, WASI_TYPES } from "./types.ts"

/**
 * Checks what a module imports from WASI preview 1; imports of other modules are passed over.
 * @throws {PluginError} `E_PLUGIN_LOAD_FAILED` naming the import: no function of preview 1, or one of another type.
 */
export function checkWasi(plugin: string, imports: readonly ImportShape[]): void {
  for (const { module, name, kind, type } of imports) {
    if (module !== WASI_MODULE) continue
    const fault = findFault(name, kind, type)
    if (fault !== null)
      throw new PluginError("E_PLUGIN_LOAD_FAILED", plugin, `import ${showName(`${module}.${name}`)} ${fault}`)
  }
}

function findFault(name: string, kind: ImportShape["kind"], type: string): string | null {
  const expected = WASI_TYPES.get(name)
  if (expected === undefined) return "is no function of WASI preview 1; build for wasm32-wasip1 (wasm32-wasi, wasip1)"
  if (kind !== "function") return `is a ${kind}, expected a function ${expected}`
  return type === expected ? null : `has the type ${type}, expected ${expected}`
}
