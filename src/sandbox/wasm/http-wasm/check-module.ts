import { nearest } from "../../../config/nearest.ts"
import { PluginError } from "../../../errors.ts"
import type { ImportShape, ModuleShape } from "../../metering/module-shape.ts"
import type { CheckedModule } from "../abi.ts"
import { findImportFault, functionFault } from "../shape-faults.ts"
import { checkWasi } from "../wasi/check-wasi.ts"
import { WASI_MODULE } from "../wasi/types.ts"
import { GUEST_TYPES, HTTP_HANDLER_MODULE, HTTP_HANDLER_TYPES } from "./types.ts"

/** Functions that initialise a module: of a library, of a program whose `main` registers what handles requests. */
const INITIALISERS = ["_initialize", "_start"]

/** As `Abi.check`. */
export function checkModule(plugin: string, shape: ModuleShape): CheckedModule {
  const fault = findImportFault(shape.imports, importFault) ?? findExportFault(shape)
  if (fault !== undefined) throw new PluginError("E_PLUGIN_LOAD_FAILED", plugin, fault)
  checkWasi(plugin, shape.imports)
  return { hooks: new Set(["on_request", "on_response"]), waiting: [] }
}

function importFault({ module, name, kind, type }: ImportShape): string | undefined {
  if (module === WASI_MODULE) return undefined
  if (module !== HTTP_HANDLER_MODULE) {
    return `is of another module; a module of the http-wasm ABI has "${HTTP_HANDLER_MODULE}" and "${WASI_MODULE}"`
  }
  const expected = HTTP_HANDLER_TYPES.get(name)
  if (expected === undefined) {
    const meant = nearest(name, HTTP_HANDLER_TYPES.keys())
    return `is no function of the http-wasm ABI${meant === undefined ? "" : `; did you mean ${meant}?`}`
  }
  if (kind !== "function") return `is a ${kind}, expected a function ${expected}`
  return type === expected ? undefined : `has the type ${type}, expected ${expected}`
}

function findExportFault({ exports }: ModuleShape): string | undefined {
  if (exports.get("memory")?.kind !== "memory") return 'the module exports no memory named "memory"'
  for (const [name, type] of GUEST_TYPES) {
    const fault = functionFault(name, exports.get(name), type)
    if (fault !== undefined) return fault
  }
  for (const name of INITIALISERS) {
    const shape = exports.get(name)
    const fault = shape && functionFault(name, shape, "() -> ()")
    if (fault !== undefined) return fault
  }
  return undefined
}
