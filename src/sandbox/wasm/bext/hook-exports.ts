import type { HookName } from "../../../hooks.ts"
import type { Json } from "../../sandbox.ts"

/** How a module exports a hook. */
export interface HookExport {
  /** As in `ModuleShape`. */
  readonly type: string
  /** The texts it is given, each as address and length. */
  readonly texts: (params: readonly Json[]) => readonly string[]
  /** What it returns: a number, or a buffer that is text or JSON. */
  readonly result: "number" | "text" | "json"
}

const exchange: HookExport = { type: "() -> (i32)", texts: () => [], result: "number" }
const event: HookExport = { type: "(i32 i32) -> (i32)", texts: ([event = null]) => [json(event)], result: "number" }
const cache: HookExport = { type: "(i32 i32) -> (i64)", texts: (params) => [json(params)], result: "json" }

export const HOOK_EXPORTS: Readonly<Record<HookName, HookExport>> = {
  on_request: exchange,
  on_response: exchange,
  transform: {
    type: "(i32 i32 i32 i32 i32 i32) -> (i64)",
    texts: ([source = "", path = "", env = null]) => [String(source), String(path), json(env)],
    result: "text",
  },
  on_server_start: event,
  on_server_stop: event,
  on_request_complete: event,
  on_cache_write: {
    type: "(i32 i32 i32 i32) -> (i32)",
    texts: ([key = "", tags = []]) => [String(key), json(tags)],
    result: "number",
  },
  on_cache_invalidate: { ...event, texts: (params) => [json(params)] },
  on_reload: event,
  on_queue_message: event,
  cleanup: event,
  cache_get: cache,
  cache_set: cache,
  cache_delete: cache,
  cache_invalidate_tag: cache,
  cache_invalidate_path: cache,
  cache_is_healthy: cache,
}

function json(value: Json): string {
  return JSON.stringify(value)
}
