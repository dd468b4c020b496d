import type { RequestContext } from "../message/request-context.ts"

type WithPath = Pick<RequestContext, "path">

const earlierPaths = new WeakMap<WithPath, string[]>()

/** Notes the path a request had before a plugin rewrote it. */
export function rememberPath(context: WithPath): void {
  const paths = earlierPaths.get(context)
  if (paths === undefined) earlierPaths.set(context, [context.path])
  else paths.push(context.path)
}

/** The paths a request had before the present one; undefined when it was never rewritten. */
export function pathsBefore(context: WithPath): readonly string[] | undefined {
  return earlierPaths.get(context)
}
