import type { RequestContext } from "../message/request-context.ts"

/**
 * One place in the priority stack, built-in or plugin. `onRequest` runs in ascending priority until one of them sets
 * `context.response`; `onResponse` then runs in descending order for everything that ran, and for everything that has
 * no `onRequest`. Both return nothing at all, not a promise, when they did not wait.
 * A thrown BextError becomes the error response of its code.
 */
export interface Middleware {
  readonly name: string
  readonly priority: number
  readonly kind: "built-in" | "plugin"
  /** Runs for these tenants only; undefined = for every request. Needs a priority above 400. */
  readonly tenants?: ReadonlySet<string> | undefined
  onRequest?(this: void, context: RequestContext): void | Promise<void>
  onResponse?(this: void, context: RequestContext): void | Promise<void>
}
