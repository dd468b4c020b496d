import type { RequestContext } from "../message/request-context.ts"

type Target = Pick<RequestContext, "method" | "path">

const earlierTargets = new WeakMap<Target, Target[]>()

/** Notes the method and the path a request had before a plugin changed one of them. */
export function rememberTarget(context: Target): void {
  const target = { method: context.method, path: context.path }
  const targets = earlierTargets.get(context)
  if (targets === undefined) earlierTargets.set(context, [target])
  else targets.push(target)
}

/** What a request had before its present method and path; undefined when neither was ever changed. */
export function targetsBefore(context: Target): readonly Target[] | undefined {
  return earlierTargets.get(context)
}
