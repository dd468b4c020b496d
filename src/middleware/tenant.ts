import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"

export type TenantConfig = NonNullable<Config["middleware"]["tenant"]>
export type TenantRow = Config["tenants"][number]

/** One way to find the tenant: its id if this request names one, valid or not. */
type Way = (context: RequestContext) => string | undefined

/** Ids become storage partitions, cache keys and log fields; those in the configuration have the same form. */
const TENANT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/**
 * Finds out which tenant a request is for, by the configured ways in their order: the first that names a tenant that
 * exists decides, whatever the later ones would say. With `[[tenants]]` only those exist; without any, every valid id does.
 * A tenant found by path is taken off it: the app of tenant `acme` sees `/acme/x` as `/x`.
 * @throws {BextError} `E_CONFIG_INVALID`.
 */
export function createTenantResolver(config: TenantConfig, deps: { tenants: readonly TenantRow[] }): Middleware {
  const byId = new Map(deps.tenants.map((tenant) => [tenant.id, tenant]))
  const ways = config.by.map((by) => toWay(by, deps.tenants))
  const exists = (id: string) => (byId.size > 0 ? byId.has(id) : TENANT_ID.test(id))

  return {
    name: "tenant",
    priority: 400,
    kind: "built-in",
    onRequest(context) {
      context.tenantId = null
      context.siteId = null
      for (let i = 0; i < ways.length; i++) {
        const id = ways[i]!(context)
        if (id === undefined || !exists(id)) continue
        context.tenantId = id
        context.siteId = byId.get(id)?.site ?? null
        if (config.by[i] === "path") context.path = context.path.slice(id.length + 1) || "/"
        return
      }
      if (config.unknown === "reject") throw new BextError("E_TENANT_UNKNOWN", "no tenant for this request")
    },
  }
}

function toWay(by: string, tenants: readonly TenantRow[]): Way {
  const [kind, name = ""] = by.split(/:(.*)/s) as [string, string?]
  switch (kind) {
    case "host":
      return byHost(tenants)
    case "subdomain":
      return bySubdomain(name.toLowerCase())
    case "path":
      if (tenants.length === 0) {
        throw new BextError(
          "E_CONFIG_INVALID",
          'middleware.tenant: by = "path" needs [[tenants]], or any first segment would be one',
        )
      }
      return (context) => /^\/([^/]+)/.exec(context.path)?.[1]
    case "header":
      return (context) => context.requestHeaders.get(name)
    default:
      return byClaim(name)
  }
}

/** Exact hosts first, then globs such as `*.example.com` in the order of the file. */
function byHost(tenants: readonly TenantRow[]): Way {
  const exact = new Map<string, string>()
  const patterns: { matches: (host: string) => boolean; id: string }[] = []
  for (const { id, hosts } of tenants) {
    for (const host of hosts) {
      if (host.includes("*")) {
        patterns.push({ matches: compileGlob(host, { separator: "." }), id })
        continue
      }
      exact.set(host, id)
    }
  }
  return (context) => {
    const host = toHost(context)
    return exact.get(host) ?? patterns.find((pattern) => pattern.matches(host))?.id
  }
}

function bySubdomain(domain: string): Way {
  const suffix = `.${domain}`
  return (context) => {
    const host = toHost(context)
    const label = host.slice(0, -suffix.length)
    return host.endsWith(suffix) && !label.includes(".") ? label : undefined
  }
}

function byClaim(name: string): Way {
  return ({ user }) => {
    if (user === null || !Object.hasOwn(user.claims, name)) return undefined
    const claim = user.claims[name]
    return typeof claim === "string" || typeof claim === "number" ? String(claim) : undefined
  }
}

/** `example.com.` is the same host as `example.com` (RFC 1034 §3.1). */
function toHost({ hostname }: RequestContext): string {
  const host = hostname.toLowerCase()
  return host.endsWith(".") ? host.slice(0, -1) : host
}
