import type { RequestContext, ResponseState } from "../message/request-context.ts"

/** What answers a request once the stack has let it through. */
export interface Handler {
  /**
   * @returns At once when nothing had to be waited for.
   * @throws {BextError} The failure to answer with.
   */
  handle(context: RequestContext): ResponseState | Promise<ResponseState>
  /** Ends what the handler keeps open; requests in flight finish first. */
  close?(): Promise<void>
}
