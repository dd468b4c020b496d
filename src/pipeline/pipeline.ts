import { Readable } from "node:stream"
import type { Handler } from "../handlers/handler.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import type { Middleware } from "./middleware.ts"
import type { Stack, StackList } from "./stack.ts"

export interface PipelineParts {
  readonly stack: Stack
  /** Throws when this request, on its final path, may not reach the app. */
  readonly authorise: (context: RequestContext) => void
  readonly handler: Handler
  /** Whether this request may have and asked for Server-Timing. */
  readonly wantsTimings: (context: RequestContext) => boolean
  readonly toErrorResponse: (error: unknown, context: RequestContext) => ResponseState
}

/**
 * One request through the stack: `on_request` ascending until somebody answers, the authorisation gate, the handler, then
 * `on_response` descending. Never throws; afterwards `context.response` is set. Returns nothing when nothing waited.
 */
export class Pipeline {
  readonly #parts: PipelineParts

  constructor(parts: PipelineParts) {
    this.#parts = parts
  }

  respond(context: RequestContext): void | Promise<void> {
    if (this.#parts.wantsTimings(context)) context.timings = []
    return this.#request(context, this.#parts.stack.list(context.tenantId), 0)
  }

  #request(context: RequestContext, list: StackList, from: number): void | Promise<void> {
    let index = from
    let current = list
    try {
      while (index < current.entries.length) {
        const entry = current.entries[index]!
        if (entry.onRequest !== undefined) {
          const tenant = context.tenantId
          const waiting = runHook(entry.onRequest, entry.name, context)
          if (waiting !== undefined) return this.#requestLater(waiting, context, current, index, tenant)
          if (context.response !== null) return this.#response(context, current, index)
          if (context.tenantId !== tenant) current = this.#parts.stack.switchTenant(current, index, context.tenantId)
        }
        index++
      }
      this.#parts.authorise(context)
    } catch (error) {
      return this.#failed(error, context, current, index)
    }
    return this.#handle(context, current)
  }

  async #requestLater(
    waiting: Promise<void>,
    context: RequestContext,
    list: StackList,
    index: number,
    tenant: string | null,
  ): Promise<void> {
    try {
      await waiting
    } catch (error) {
      return this.#failed(error, context, list, index)
    }
    if (context.response !== null) return this.#response(context, list, index)
    const next = context.tenantId === tenant ? list : this.#parts.stack.switchTenant(list, index, context.tenantId)
    return this.#request(context, next, index + 1)
  }

  #handle(context: RequestContext, list: StackList): void | Promise<void> {
    const last = list.entries.length - 1
    try {
      const response = this.#parts.handler.handle(context)
      if (response instanceof Promise) return this.#handleLater(response, context, list)
      context.response = response
    } catch (error) {
      context.response = this.#parts.toErrorResponse(error, context)
    }
    return this.#response(context, list, last)
  }

  async #handleLater(response: Promise<ResponseState>, context: RequestContext, list: StackList): Promise<void> {
    try {
      context.response = await response
    } catch (error) {
      context.response = this.#parts.toErrorResponse(error, context)
    }
    return this.#response(context, list, list.entries.length - 1)
  }

  /** A built-in that throws has answered; a plugin that throws has not run, so its own on_response is left out. */
  #failed(error: unknown, context: RequestContext, list: StackList, index: number): void | Promise<void> {
    this.#answerWithError(error, context)
    const ran = list.entries[index]?.kind === "plugin" ? index - 1 : index
    return this.#response(context, list, ran)
  }

  /** Runs `on_response` from the end: for entries up to `ran`, and for every entry that has no `on_request`. */
  #response(context: RequestContext, list: StackList, ran: number): void | Promise<void> {
    return this.#responseFrom(context, list, ran, list.entries.length - 1)
  }

  #responseFrom(context: RequestContext, list: StackList, ran: number, from: number): void | Promise<void> {
    for (let index = from; index >= 0; index--) {
      const entry = list.entries[index]!
      if (entry.onResponse === undefined || (index > ran && entry.onRequest !== undefined)) continue
      try {
        const waiting = runHook(entry.onResponse, entry.name, context)
        if (waiting !== undefined) return this.#responseLater(waiting, context, list, ran, index)
      } catch (error) {
        this.#answerWithError(error, context)
      }
    }
  }

  async #responseLater(
    waiting: Promise<void>,
    context: RequestContext,
    list: StackList,
    ran: number,
    index: number,
  ): Promise<void> {
    try {
      await waiting
    } catch (error) {
      this.#answerWithError(error, context)
    }
    return this.#responseFrom(context, list, ran, index - 1)
  }

  #answerWithError(error: unknown, context: RequestContext): void {
    if (context.response?.body instanceof Readable) context.response.body.destroy()
    context.response = this.#parts.toErrorResponse(error, context)
  }
}

type Hook = NonNullable<Middleware["onRequest"]>

function runHook(hook: Hook, name: string, context: RequestContext): void | Promise<void> {
  if (context.timings === null) return hook(context)
  const startedAtMs = performance.now()
  const record = () => {
    context.timings?.push({ name, durationMs: performance.now() - startedAtMs })
  }
  const waiting = hook(context)
  if (waiting === undefined) {
    record()
    return
  }
  return waiting.finally(record)
}
