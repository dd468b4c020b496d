import { type Capability, HOOK_NAMES, HOOKS, type HookName } from "../../hooks.ts"

/** What a program that speaks version 0 is called for. */
export function hooksOf(capabilities: readonly Capability[]): ReadonlySet<HookName> {
  return new Set(HOOK_NAMES.filter((hook) => capabilities.includes(HOOKS[hook].capability)))
}
