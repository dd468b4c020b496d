import { nearest } from "../../../config/nearest.ts"
import { PluginError } from "../../../errors.ts"
import type { ExternShape, ImportShape, ModuleShape } from "../../metering/module-shape.ts"
import type { CheckedModule } from "../abi.ts"
import { showName } from "../show-name.ts"
import { checkWasi } from "../wasi/check-wasi.ts"
import { WASI_MODULE } from "../wasi/types.ts"
import { GUEST_TYPES, HTTP_HANDLER_MODULE, HTTP_HANDLER_TYPES } from "./types.ts"

/** Functions that initialise a module: of a library, of a program whose `main` registers what handles requests. */
const INITIALISERS = ["_initialize", "_start"]
/** As `Abi.check`. */
export function checkModule(plugin: string, shape: ModuleShape): CheckedModule {
  const fault = findImportFault(shape) ?? findExportFault(shape)
  if (fault !== undefined) throw new PluginError("E_PLUGIN_LOAD_FAILED", plugin, fault)
  checkWasi(plugin, shape.imports)
  return { hooks: new Set(["on_request", "on_response"]), waiting: [] }
}

function findImportFault({ imports }: ModuleShape): string | undefined {
  for (const entry of imports) {
    const fault = importFault(entry)
    if (fault !== undefined) return `import ${showName(`${entry.module}.${entry.name}`)} ${fault}`
  }
  return undefined
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

function functionFault(name: string, shape: ExternShape | undefined, type: string): string | undefined {
  if (shape === undefined) return `the module does not export ${name}, a function ${type}`
  if (shape.kind !== "function") return `export ${name} is a ${shape.kind}, expected a function ${type}`
  return shape.type === type ? undefined : `export ${name} has the type ${shape.type}, expected ${type}`
}
