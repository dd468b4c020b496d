import type { Manifest } from "../config/manifest-schema.ts"
import { PluginError } from "../errors.ts"
import { type Capability, HOOK_NAMES, HOOKS, type HookName, toCamelCase } from "../hooks.ts"

/** The capabilities that a set of hooks stands for. */
export function capabilitiesOf(hooks: ReadonlySet<HookName>): Capability[] {
  return [...new Set([...hooks].map((hook) => HOOKS[hook].capability))]
}

/**
 * Compares what the manifest declares with what the guest exports.
 * @throws {PluginError} `E_PLUGIN_HOOK_MISMATCH`, with all differences and what to change.
 */
export function checkHooks(manifest: Manifest, hooks: ReadonlySet<HookName>): void {
  const declared = manifest.manifest.capabilities
  const exported = capabilitiesOf(hooks)
  const faults: string[] = []
  const write = manifest.sandbox.type === "wasm" ? (hook: HookName) => hook : toCamelCase
  // Most likely a misspelt name or `export default` of one function: a guard that silently guards nothing.
  if (hooks.size === 0 && declared.length === 0) {
    const [request, response] = [write("on_request"), write("on_response")]
    faults.push(`exports no hook; middleware exports a function called ${request} or ${response}`)
  }
  for (const capability of exported) {
    if (declared.includes(capability)) continue
    const which = [...hooks].filter((hook) => HOOKS[hook].capability === capability).map(write)
    faults.push(`exports ${which.join(", ")} without the capability: add "${capability}" to manifest.capabilities`)
  }
  for (const capability of declared) {
    if (exported.includes(capability)) continue
    const possible = HOOK_NAMES.filter((hook) => HOOKS[hook].capability === capability).map(write)
    faults.push(`declares "${capability}" but exports none of ${possible.join(", ")}`)
  }
  faults.push(...bodyFaults(manifest, hooks, write))
  if (faults.length > 0) throw new PluginError("E_PLUGIN_HOOK_MISMATCH", manifest.manifest.name, faults.join("; "))
}

/** A body is buffered for the hook of its side; without that hook nobody could read it. */
function bodyFaults({ sandbox }: Manifest, hooks: ReadonlySet<HookName>, write: (hook: HookName) => string): string[] {
  const faults: string[] = []
  for (const side of ["request", "response"] as const) {
    const hook = side === "request" ? "on_request" : "on_response"
    if (sandbox.body !== side && sandbox.body !== "both") continue
    if (!hooks.has(hook)) faults.push(`reads the ${side} body (body = "${sandbox.body}") but exports no ${write(hook)}`)
  }
  return faults
}
