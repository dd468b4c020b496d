import type { RequestContext } from "../message/request-context.ts"

const earlierPaths = new WeakMap<RequestContext, string[]>()

/** Notes the path a request had before a plugin rewrote it. */
export function rememberPath(context: RequestContext): void {
  const paths = earlierPaths.get(context)
  if (paths === undefined) earlierPaths.set(context, [context.path])
  else paths.push(context.path)
}

/** The paths a request had before the present one; undefined when it was never rewritten. */
export function pathsBefore(context: RequestContext): readonly string[] | undefined {
  return earlierPaths.get(context)
}
