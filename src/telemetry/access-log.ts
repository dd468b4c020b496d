import type { RequestContext } from "../message/request-context.ts"

export interface AccessResult {
  readonly status: number
  readonly bytes: number
  readonly durationMs: number
  readonly aborted: boolean
}

/** The part of a pino logger that the access log uses. */
export interface AccessLogger {
  info(fields: object, message: string): void
  isLevelEnabled(level: string): boolean
}

/** Longest path and user id in a line, in UTF-16 units. */
const MAX_FIELD = 2048

/**
 * Writes one line per finished request. The query is left out: it is where tokens travel. Everything a client or guest
 * chose is a JSON string value, so that it can never begin a line or a field of its own.
 */
export function createAccessLog(logger: AccessLogger): (context: RequestContext, result: AccessResult) => void {
  if (!logger.isLevelEnabled("info")) return () => {}
  return (context, { status, bytes, durationMs, aborted }) => {
    const line: Record<string, unknown> = {
      method: context.method,
      path: cut(context.path),
      status,
      bytes,
      duration_ms: Math.round(durationMs * 1000) / 1000,
      client: context.clientAddress,
      request_id: context.requestId,
    }
    if (context.tenantId !== null) line.tenant = cut(context.tenantId)
    if (context.user !== null) line.user = cut(context.user.id)
    if (aborted) line.aborted = true
    logger.info(line, "request")
  }
}

function cut(text: string): string {
  return text.length > MAX_FIELD ? `${text.slice(0, MAX_FIELD)}…` : text
}
