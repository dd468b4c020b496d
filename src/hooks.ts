/**
 * The hook table: what each hook belongs to, how the answers of several plugins combine, what one call may use by
 * default, and what a failure does. Code that dispatches hooks reads this table and has no branches for single hooks.
 */
export type Capability = "middleware" | "transform" | "lifecycle" | "cache_backend"

/**
 * - `first`: the first answer wins, in ascending order.
 * - `chain`: each output is the next one's input (`on_response` runs it in descending order).
 * - `together`: everybody is called, answers are ignored.
 * - `one`: exactly one plugin is called and its answer counts.
 */
export type Rule = "first" | "chain" | "together" | "one"

/**
 * - `policy`: the plugin's `on_error` decides (closed: error response; open: as if the plugin were not there).
 * - `fail`: the operation fails, naming the plugin.
 * - `count`: counted and logged, nothing else.
 */
export type OnFailure = "policy" | "fail" | "count"

export interface HookRow {
  readonly capability: Capability
  readonly rule: Rule
  /**
   * Milliseconds on the guest's stack, summed over the call. Small for hooks that run while requests are served: they
   * share the serving thread.
   */
  readonly cpuMs: number
  /** Milliseconds from entry to answer. */
  readonly wallMs: number
  /** Metered instructions, wasm tier. */
  readonly fuel: number
  readonly onFailure: OnFailure
}

const million = 1_000_000

export const HOOKS = {
  on_request: {
    capability: "middleware",
    rule: "first",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 20 * million,
    onFailure: "policy",
  },
  on_response: {
    capability: "middleware",
    rule: "chain",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 20 * million,
    onFailure: "policy",
  },
  transform: {
    capability: "transform",
    rule: "chain",
    cpuMs: 10_000,
    wallMs: 10_000,
    fuel: 500 * million,
    onFailure: "fail",
  },
  on_server_start: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 10_000,
    wallMs: 10_000,
    fuel: 500 * million,
    onFailure: "fail",
  },
  on_server_stop: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 10_000,
    wallMs: 10_000,
    fuel: 100 * million,
    onFailure: "count",
  },
  on_request_complete: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 100 * million,
    onFailure: "count",
  },
  on_cache_write: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  on_cache_invalidate: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  on_reload: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 200 * million,
    onFailure: "count",
  },
  on_queue_message: {
    capability: "lifecycle",
    rule: "one",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 100 * million,
    onFailure: "count",
  },
  cleanup: {
    capability: "lifecycle",
    rule: "together",
    cpuMs: 50,
    wallMs: 10_000,
    fuel: 100 * million,
    onFailure: "count",
  },
  cache_get: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  cache_set: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  cache_delete: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  cache_invalidate_tag: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  cache_invalidate_path: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
  cache_is_healthy: {
    capability: "cache_backend",
    rule: "one",
    cpuMs: 50,
    wallMs: 1_000,
    fuel: 50 * million,
    onFailure: "count",
  },
} as const satisfies Record<string, HookRow>

export type HookName = keyof typeof HOOKS

export const HOOK_NAMES = Object.keys(HOOKS) as readonly HookName[]

/** `on_request` → `onRequest`: the spelling of JavaScript guests and JSON lines. */
export function toCamelCase(hook: HookName): string {
  return hook.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
