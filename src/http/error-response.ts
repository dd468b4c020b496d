import { STATUS_CODES } from "node:http"
import Negotiator from "negotiator"
import { BextError } from "../errors.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import { defaultErrorPage, type ErrorPages, fillErrorPage } from "./error-pages.ts"

/**
 * The response for a failure: problem+json (RFC 9457), or a page for whoever prefers HTML. It tells the client the code
 * and the request id; what went wrong in words stays in the log. Anything without a code is `E_INTERNAL`.
 */
export function toErrorResponse(
  error: unknown,
  context: Pick<RequestContext, "requestId" | "requestHeaders">,
  pages: ErrorPages,
): ResponseState {
  const known = error instanceof BextError
  const status = known ? error.status : 500
  const code = known ? error.code : "E_INTERNAL"
  const title = titleOf(status)
  const html = prefersHtml(context.requestHeaders.get("accept"))
  const headers = HeaderList.from([
    ["Content-Type", html ? "text/html; charset=utf-8" : "application/problem+json"],
    ["Cache-Control", "no-store"],
    ["X-Content-Type-Options", "nosniff"],
  ])
  if (known) for (const [name, value] of error.headers) headers.append(name, value)
  if (!html) return { status, headers, body: toProblem(status, title, code, context.requestId), failed: true }
  const template = pages.get(status)
  if (template !== undefined)
    return { status, headers, body: fillErrorPage(template, code, context.requestId), failed: true }
  headers.append("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
  return { status, headers, body: defaultErrorPage(status, title, code, context.requestId), failed: true }
}

/** The reason phrase. 499, which is not registered, is of a client that is most likely not there to read it. */
export function titleOf(status: number): string {
  return STATUS_CODES[status] ?? "Client Closed Request"
}

/** The problem document of a failure. Source: RFC 9457 §3. */
export function toProblem(status: number, title: string, code: string, requestId: string): string {
  return JSON.stringify({ type: "about:blank", title, status, code, request_id: requestId })
}

function prefersHtml(accept: string | undefined): boolean {
  if (accept === undefined || !/text\/(html|\*)/i.test(accept)) return false
  const choices = ["application/problem+json", "application/json", "text/html"]
  return new Negotiator({ headers: { accept } }).mediaType(choices) === "text/html"
}
