import type { Handler } from "../../src/handlers/handler.ts"
import { toErrorResponse } from "../../src/http/error-response.ts"
import type { RequestContext } from "../../src/message/request-context.ts"

/** Answers like the pipeline: with the handler's response or that of its failure. */
export function respondWith(handler: Handler, failures: unknown[] = []) {
  const fail = (context: RequestContext, error: unknown) => {
    failures.push(error)
    context.response = toErrorResponse(error, context, new Map())
  }
  return (context: RequestContext): void | Promise<void> => {
    try {
      const response = handler.handle(context)
      if (!(response instanceof Promise)) {
        context.response = response
        return
      }
      return response.then(
        (value) => {
          context.response = value
        },
        (error) => fail(context, error),
      )
    } catch (error) {
      fail(context, error)
    }
  }
}
