import type { RequestContext } from "../message/request-context.ts"
import type { RequestCompleteEvent } from "../plugins/request-complete.ts"

/** User agents of crawlers say so in one of these words. */
const BOT = /bot|crawl|spider|slurp|preview|fetcher|monitor/i

/** What `on_request_complete` tells of a finished request. */
export function toRequestCompleteEvent(
  context: RequestContext,
  result: { readonly status: number; readonly durationMs: number },
): RequestCompleteEvent {
  return {
    request_id: context.requestId,
    method: context.method,
    path: context.path,
    status: result.status,
    cache_status: null,
    render_time_us: Math.round(result.durationMs * 1000),
    duration_ms: result.durationMs,
    tenant_id: context.tenantId,
    site_id: context.siteId,
    encoding: context.response?.headers.get("content-encoding") ?? null,
    is_bot: BOT.test(context.requestHeaders.get("user-agent")?.slice(0, 512) ?? ""),
  }
}
