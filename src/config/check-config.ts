import { accessSync, constants, statSync } from "node:fs"
import { getSystemErrorMessage } from "node:util"
import { HOOKS, type HookName } from "../hooks.ts"
import type { Problem } from "./config-error.ts"
import { PROGRAM_LIMITS } from "./manifest-schema.ts"
import { nearest } from "./nearest.ts"
import type { Config, PluginConfig } from "./schema.ts"
import { cookieNameOf } from "./session-cookie-name.ts"
import type { Path } from "./toml-positions.ts"

/** The rules that need more than one field, or the file system. The paths in `config` are absolute already. */
export function checkConfig(config: Config): Problem[] {
  return [
    ...checkFiles(config),
    ...checkIdentityHeaders(config),
    ...checkRoutes(config),
    ...checkMiddleware(config),
    ...checkTenants(config),
    ...Object.entries(config.plugins).flatMap(([name, plugin]) => checkPluginEntry(config, name, plugin)),
  ]
}

function checkFiles({ app, routes, middleware, errors, plugins }: Config): Problem[] {
  return [
    ...readable(["app", "static"], app.static, "folder"),
    ...routes.flatMap((route, index) => readable(["routes", index, "static"], route.static, "folder")),
    ...readable(["middleware", "auth", "key_file"], middleware.auth?.key_file, "file"),
    ...readable(["middleware", "auth", "jwks_file"], middleware.auth?.jwks_file, "file"),
    ...Object.entries(errors).flatMap(([status, file]) => readable(["errors", status], file, "file")),
    ...Object.entries(plugins).flatMap(([name, { enabled, path }]) =>
      enabled ? readable(["plugins", name, "path"], path, "file or folder") : [],
    ),
  ]
}

function readable(path: Path, file: string | undefined, kind: "file" | "folder" | "file or folder"): Problem[] {
  if (file === undefined) return []
  try {
    const isFolder = statSync(file).isDirectory()
    accessSync(file, isFolder ? constants.R_OK | constants.X_OK : constants.R_OK)
    if (kind === "folder" && !isFolder) return [{ path, what: `expected a folder, ${file} is a file` }]
    if (kind === "file" && isFolder) return [{ path, what: `expected a file, ${file} is a folder` }]
    return []
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return [{ path, what: `there is no ${kind} ${file}`, fixes: ["create it, or name another"] }]
    const reason = errno === undefined ? "not readable" : getSystemErrorMessage(errno)
    return [{ path, what: `cannot read ${file}: ${reason}` }]
  }
}

/** Fields without which the server cannot tell where a request is for, or where it ends. */
const FRAMING = new Set(["host", "content-length", "transfer-encoding"])

function checkIdentityHeaders({ server }: Config): Problem[] {
  return server.identity_headers.flatMap((name, index) =>
    FRAMING.has(name.toLowerCase())
      ? [
          {
            path: ["server", "identity_headers", index],
            what: `${name} belongs to HTTP itself; no request could be served`,
          },
        ]
      : [],
  )
}

function checkRoutes({ routes }: Config): Problem[] {
  return duplicates(
    routes.map((route, index) => ({ name: route.path, path: ["routes", index, "path"] })),
    "the first route that matches wins, so this one is never used",
  )
}

function checkMiddleware({ middleware, tenants, plugins }: Config): Problem[] {
  const problems: Problem[] = []
  const { cors, auth, session, tenant } = middleware
  const anybody = cors?.origins.find((origin) => origin === "*" || origin === "null")
  if (cors?.credentials && anybody !== undefined) {
    problems.push({
      path: ["middleware", "cors", "credentials"],
      what: `credentials = true with the origin "${anybody}" would let every site act as the logged-in user`,
      fixes: ["name the origins, or remove credentials"],
    })
  }
  if (cors?.private_network && cors.origins.includes("*")) {
    problems.push({
      path: ["middleware", "cors", "private_network"],
      what: 'private_network = true with the origin "*" would let every site into the private network',
      fixes: ["name the origins, or remove private_network"],
    })
  }
  if (session !== undefined && cookieNameOf(session) === auth?.cookie) {
    problems.push({
      path: ["middleware", "auth", "cookie"],
      what: `${auth.cookie} is the cookie of [middleware.session]; a token needs another`,
    })
  }
  const claimed = tenant?.by.findIndex((way) => way.startsWith("claim:")) ?? -1
  if (claimed !== -1 && auth === undefined && session === undefined) {
    problems.push({
      path: ["middleware", "tenant", "by", claimed],
      what: "a claim needs [middleware.auth] or [middleware.session], which are missing",
    })
  }
  if (auth?.algorithms.length === 0 && session === undefined && !hasPlugins(plugins)) {
    problems.push({
      path: ["middleware", "auth"],
      what: "nothing here can tell who the user is, so nobody could pass the gate",
      fixes: ["add algorithms and a key for tokens, or [middleware.session]"],
    })
  }
  problems.push(...checkRateKeys(middleware))
  for (const [index, way] of (tenant?.by ?? []).entries()) {
    const isKnown =
      way === "host" ? tenants.some(({ hosts }) => hosts.length > 0) : way !== "path" || tenants.length > 0
    if (isKnown) continue
    problems.push({
      path: ["middleware", "tenant", "by", index],
      what: `finding tenants by ${way} needs [[tenants]] ${way === "host" ? "with hosts" : "with an id"}; there are none`,
      fixes: ['other ways: by = ["subdomain:example.com"], ["header:x-tenant"] or ["claim:org"]'],
    })
  }
  return problems
}

/** One of them may be allowed to say who the user is. */
function hasPlugins(plugins: Config["plugins"]): boolean {
  return Object.values(plugins).some(({ enabled }) => enabled)
}

/** A rule that finds no user or tenant counts by client, which is not what was asked for. */
function checkRateKeys({ rate_limit, auth, session, tenant }: Config["middleware"]): Problem[] {
  if (rate_limit === undefined) return []
  const base = ["middleware", "rate_limit"]
  const rows = [
    { by: rate_limit.by, path: [...base, "by"] },
    ...rate_limit.rules.map(({ by }, index) => ({ by, path: [...base, "rules", index, "by"] })),
  ]
  return rows.flatMap(({ by, path }) => {
    if (by === "tenant") {
      return tenant === undefined
        ? [{ path, what: "counting by tenant needs [middleware.tenant], which is missing" }]
        : []
    }
    if ((by !== "user" && !by.startsWith("claim:")) || auth !== undefined || session !== undefined) return []
    return [{ path, what: "a user or a claim needs [middleware.auth] or [middleware.session], which are missing" }]
  })
}

function checkTenants({ tenants }: Config): Problem[] {
  return [
    ...duplicates(
      tenants.map(({ id }, index) => ({ name: id, path: ["tenants", index, "id"] })),
      "every tenant needs an id of its own",
    ),
    ...duplicates(
      tenants.flatMap(({ hosts }, index) =>
        hosts.map((name, position) => ({ name, path: ["tenants", index, "hosts", position] })),
      ),
      "a host belongs to one tenant",
    ),
  ]
}

function duplicates(fields: readonly { name: string; path: Path }[], why: string): Problem[] {
  const first = new Map<string, Path>()
  return fields.flatMap(({ name, path }) => {
    if (first.has(name)) return [{ path, what: `${JSON.stringify(name)} is there twice`, fixes: [why] }]
    first.set(name, path)
    return []
  })
}

/** Built-ins end at the tenant resolver: a plugin before it cannot know the tenant. */
const TENANT_PRIORITY = 400

function checkPluginEntry({ middleware, tenants }: Config, name: string, plugin: PluginConfig): Problem[] {
  const base = ["plugins", name]
  const problems: Problem[] = []
  const { limits, sandbox, fuel, match, priority } = plugin
  if (limits.max_time_secs !== undefined && limits.max_time_ms !== undefined) {
    const path = [...base, "limits", "max_time_ms"]
    problems.push({ path, what: "the same limit twice: max_time_secs is set as well", fixes: ["keep one of them"] })
  }
  if (sandbox !== undefined && sandbox !== "wasm") problems.push(...fuelOnOtherTier(name, fuel, sandbox))
  if (sandbox !== undefined) problems.push(...programOnOtherTier(name, plugin, sandbox))
  const tenantRow = match.findIndex((row) => row.tenants !== undefined)
  if (tenantRow !== -1) {
    const path = [...base, "match", tenantRow, "tenants"]
    if (priority !== undefined && priority <= TENANT_PRIORITY) {
      const what = `matching tenants needs a priority above ${TENANT_PRIORITY}, where the tenant is resolved; it is ${priority}`
      problems.push({ path: [...base, "priority"], what })
    }
    problems.push(...unknownTenants(base, match, tenants))
    if (middleware.tenant === undefined) {
      problems.push({ path, what: "matching tenants needs [middleware.tenant], which is missing" })
    }
  }
  return problems
}

/** Where tenants are listed, no others exist. */
function unknownTenants(base: Path, match: PluginConfig["match"], tenants: Config["tenants"]): Problem[] {
  if (tenants.length === 0) return []
  const ids = tenants.map(({ id }) => id)
  return match.flatMap((row, index) =>
    (row.tenants ?? []).flatMap((tenant, position) => {
      if (ids.includes(tenant)) return []
      const meant = nearest(tenant, ids)
      const path = [...base, "match", index, "tenants", position]
      const what = `[[tenants]] has no ${JSON.stringify(tenant)}`
      return [{ path, what, fixes: [meant === undefined ? `it has: ${ids.join(", ")}` : `did you mean "${meant}"?`] }]
    }),
  )
}

/** Fuel meters wasm instructions; anywhere else it would be ignored, which is worse than an error. */
export function fuelOnOtherTier(name: string, fuel: PluginConfig["fuel"], tier: string): Problem[] {
  return Object.keys(fuel).map((hook) => ({
    path: ["plugins", name, "fuel", hook],
    what: `fuel is for the wasm tier; this plugin runs in ${tier}`,
    fixes: [`limit its time instead: [plugins.${name}.limits] max_cpu_ms = ${HOOKS[hook as HookName].cpuMs}`],
    at: "key",
  }))
}

/** As fuel: what only a program has. And what only others have. */
export function programOnOtherTier(name: string, plugin: PluginConfig, tier: string): Problem[] {
  const base = ["plugins", name]
  if (tier === "nsjail") {
    if (plugin.lane !== "worker") return []
    const what = "a program runs in processes of its own, and never in a thread of this server"
    return [
      { path: [...base, "lane"], what, fixes: ["remove the line; jails = 2 lets two of them run at the same time"] },
    ]
  }
  const paths = [
    ...(["min_isolation", "jails", "interpreter"] as const).filter((key) => plugin[key] !== undefined),
    ...(plugin.read_only_paths.length > 0 ? ["read_only_paths"] : []),
    ...PROGRAM_LIMITS.filter((key) => plugin.limits[key] !== undefined).map((key) => ["limits", key]),
  ].map((path) => [...base, path].flat())
  return paths.map((path) => {
    const what = `${path.at(-1)} is for programs (nsjail); this plugin runs in ${tier}`
    return { path, what, fixes: ["remove it"], at: "key" }
  })
}
