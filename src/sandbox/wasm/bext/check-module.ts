import { nearest } from "../../../config/nearest.ts"
import { PluginError } from "../../../errors.ts"
import { HOOK_NAMES, type HookName } from "../../../hooks.ts"
import type { ImportShape, ModuleShape } from "../../metering/module-shape.ts"
import type { CheckedModule, WaitingImport } from "../abi.ts"
import { findImportFault, functionFault } from "../shape-faults.ts"
import { showName } from "../show-name.ts"
import { checkWasi } from "../wasi/check-wasi.ts"
import { WASI_MODULE } from "../wasi/types.ts"
import { BEXT_MODULE, FUNCTIONS } from "./functions.ts"
import { HOOK_EXPORTS } from "./hook-exports.ts"

/** Exports that are compared with the names of hooks; a module may have thousands. */
const MAX_COMPARED = 200

/** As `Abi.check`. */
export function checkModule(plugin: string, shape: ModuleShape): CheckedModule {
  const fault = findImportFault(shape.imports, importFault) ?? findExportFault(shape)
  if (fault !== undefined) throw new PluginError("E_PLUGIN_LOAD_FAILED", plugin, fault)
  checkWasi(plugin, shape.imports)
  return {
    hooks: new Set(HOOK_NAMES.filter((hook) => shape.exports.has(hook))),
    waiting: shape.imports.flatMap(({ module, name }) => toWaiting(module, name)),
  }
}

function toWaiting(module: string, name: string): WaitingImport[] {
  const needs = module === BEXT_MODULE ? FUNCTIONS.get(name)!.waits : undefined
  return needs === undefined ? [] : [{ module, name, needs }]
}

function importFault({ module, name, kind, type }: ImportShape): string | undefined {
  if (module === WASI_MODULE) return undefined
  if (kind === "memory") return 'is a memory; the module has to have its own, exported as "memory"'
  if (/^bext_?v?\d+$/.test(module)) return `is of another version of the bext ABI; this host has "${BEXT_MODULE}"`
  if (module !== BEXT_MODULE) {
    const meant = FUNCTIONS.has(name) ? `; did you mean ${BEXT_MODULE}.${name}?` : ""
    return `is of an unknown module; there are "${BEXT_MODULE}" and "${WASI_MODULE}"${meant}`
  }
  const known = FUNCTIONS.get(name)
  if (known === undefined) {
    const meant = nearest(name, FUNCTIONS.keys())
    return `is no function of the bext ABI${meant === undefined ? "" : `; did you mean ${meant}?`}`
  }
  if (kind !== "function") return `is a ${kind}, expected a function ${known.type}`
  return type === known.type ? undefined : `has the type ${type}, expected ${known.type}`
}

function findExportFault({ exports }: ModuleShape): string | undefined {
  if (exports.get("memory")?.kind !== "memory") {
    return 'the module exports no memory named "memory"; export it when linking'
  }
  const required = functionFault("bext_alloc", exports.get("bext_alloc"), "(i32) -> (i32)")
  if (required !== undefined) return required
  const initialise = exports.get("_initialize")
  const fault = initialise && functionFault("_initialize", initialise, "() -> ()")
  if (fault !== undefined) return fault
  return findHookFault(exports)
}

function findHookFault(exports: ModuleShape["exports"]): string | undefined {
  let hooks = 0
  let compared = 0
  for (const [name, shape] of exports) {
    if (isHook(name)) {
      hooks++
      const fault = functionFault(name, shape, HOOK_EXPORTS[name].type)
      if (fault !== undefined) return fault
    } else if (shape.kind === "function" && compared++ < MAX_COMPARED) {
      const meant = meantHook(name, exports)
      if (meant !== undefined) return `export ${showName(name)} is no hook; if it is meant to be one, name it ${meant}`
    }
  }
  if (hooks > 0) return undefined
  const command = exports.has("_start") ? "; it exports _start: build a library (reactor), not a command" : ""
  return `the module exports no hook; expected at least one of ${HOOK_NAMES.join(", ")}${command}`
}

/** The hook whose name somebody missed: in another spelling, or by a typo while that hook is not there. */
function meantHook(name: string, exports: ModuleShape["exports"]): HookName | undefined {
  const meant = nearest(name, HOOK_NAMES) as HookName | undefined
  if (meant === undefined) return undefined
  const sameLetters = name.toLowerCase().replace(/[-_]/g, "") === meant.replaceAll("_", "")
  return sameLetters || !exports.has(meant) ? meant : undefined
}

function isHook(name: string): name is HookName {
  return Object.hasOwn(HOOK_EXPORTS, name)
}
