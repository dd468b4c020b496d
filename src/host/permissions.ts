import type { Permissions } from "../config/manifest-schema.ts"
import { PluginError } from "../errors.ts"
import { compileGlob } from "./glob.ts"
import { covers, parseUrlPattern, type UrlPattern } from "./url-pattern.ts"

/** `[plugins.NAME.grant]` as the configuration's door gives it: every field may be absent. */
export type Grant = { readonly [Field in keyof Permissions]?: Permissions[Field] | undefined }

/** What a plugin asks for and was not granted. */
export interface GrantBlock {
  /** The fields, as they stand in `[plugins.NAME.grant]` once everything asked for is granted. */
  readonly fields: Readonly<Partial<Permissions>>
  /** The whole block to paste into bext.config.toml. */
  readonly toml: string
}

export interface EffectivePermissions {
  readonly permissions: Permissions
  readonly missing: GrantBlock | null
}

/** Fetches a minute that need no grant of their own, once a URL is granted. */
const FREE_FETCHES = 30

/**
 * The intersection of what a manifest asks for, what the operator grants and the ceilings.
 *
 * Nothing is granted by default. What the operator refused in so many words (`identity = false`, `queues = []`) is not
 * missing: the plugin runs without it. A URL that was granted in a narrower form is narrower, not missing.
 * @param granted - `[plugins.NAME.grant]`; "all": whatever is asked for (development); undefined: no such table.
 * @throws {PluginError} `E_PLUGIN_MANIFEST_INVALID`: a URL pattern on either side cannot be parsed.
 */
export function effectivePermissions(
  plugin: string,
  requested: Permissions,
  granted: Grant | "all" | undefined,
  ceilings: { readonly max_fetch_per_minute?: number | undefined },
): EffectivePermissions {
  const asked = parseAll(plugin, requested.allowed_urls)
  const grant = granted === "all" ? requested : (granted ?? {})
  const urls = intersectUrls(asked, parseAll(plugin, grant.allowed_urls ?? []))
  const permissions: Permissions = {
    allowed_urls: urls.effective,
    max_fetch_per_minute: Math.min(
      requested.max_fetch_per_minute,
      grant.max_fetch_per_minute ?? FREE_FETCHES,
      ceilings.max_fetch_per_minute ?? Number.POSITIVE_INFINITY,
    ),
    queues: intersect(requested.queues, grant.queues),
    secrets: intersect(requested.secrets, grant.secrets),
    sensitive_headers: intersect(requested.sensitive_headers, grant.sensitive_headers),
    set_cookies: requested.set_cookies.filter((glob) => grant.set_cookies?.some((by) => coversGlob(by, glob)) ?? false),
    identity: requested.identity && grant.identity === true,
    rewrite_path: requested.rewrite_path && grant.rewrite_path === true,
    rewrite_method: requested.rewrite_method && grant.rewrite_method === true,
    purge: requested.purge && grant.purge === true,
  }
  const missing = findMissing(requested, grant, permissions, urls.missing)
  return { permissions, missing: missing === null ? null : toBlock(plugin, missing, grant) }
}

function parseAll(plugin: string, patterns: readonly string[]): UrlPattern[] {
  return patterns.map((text) => {
    try {
      return parseUrlPattern(text)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      throw new PluginError("E_PLUGIN_MANIFEST_INVALID", plugin, `permissions.allowed_urls: ${error.message}`)
    }
  })
}

/** The narrower of every pair in which one pattern covers the other. */
function intersectUrls(asked: readonly UrlPattern[], granted: readonly UrlPattern[]) {
  const effective = new Set<string>()
  const missing: string[] = []
  for (const request of asked) {
    if (granted.some((grant) => covers(grant, request))) {
      effective.add(request.text)
      continue
    }
    const narrower = granted.filter((grant) => covers(request, grant))
    for (const grant of narrower) effective.add(grant.text)
    if (narrower.length === 0) missing.push(request.text)
  }
  return { effective: [...effective], missing }
}

function intersect<T>(requested: readonly T[], granted: readonly T[] | undefined): T[] {
  return requested.filter((item) => granted?.includes(item) ?? false)
}

function coversGlob(granted: string, requested: string): boolean {
  if (granted === requested || granted === "**") return true
  return !requested.includes("*") && compileGlob(granted)(requested)
}

/** @returns the fields to add to the grant, null when there is nothing to add. */
function findMissing(
  requested: Permissions,
  grant: Grant,
  effective: Permissions,
  urls: readonly string[],
): Partial<Permissions> | null {
  const missing: Partial<Permissions> = {}
  if (urls.length > 0 && !refused(grant.allowed_urls)) missing.allowed_urls = [...urls]
  for (const field of ["queues", "sensitive_headers", "set_cookies"] as const) {
    if (!refused(grant[field])) addMissing(missing, field, without(requested[field], effective[field]))
  }
  // The operator grants secrets by mapping them, so an empty list says nothing.
  addMissing(missing, "secrets", without(requested.secrets, effective.secrets))
  for (const field of ["identity", "rewrite_path", "rewrite_method", "purge"] as const) {
    if (requested[field] && grant[field] === undefined) missing[field] = true
  }
  const fetches = requested.allowed_urls.length > 0 && !refused(grant.allowed_urls)
  if (fetches && requested.max_fetch_per_minute > FREE_FETCHES && grant.max_fetch_per_minute === undefined) {
    missing.max_fetch_per_minute = requested.max_fetch_per_minute
  }
  return Object.keys(missing).length === 0 ? null : missing
}

function refused(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length === 0
}

function without(requested: readonly string[], effective: readonly string[]): string[] {
  return requested.filter((item) => !effective.includes(item))
}

function addMissing(
  missing: Partial<Permissions>,
  field: "queues" | "sensitive_headers" | "set_cookies" | "secrets",
  items: readonly string[],
): void {
  if (items.length > 0) Object.assign(missing, { [field]: items })
}

function toBlock(plugin: string, missing: Partial<Permissions>, grant: Grant): GrantBlock {
  const fields: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(grant)) {
    if (value !== undefined && !(name === "secrets" && refused(grant.secrets))) fields[name] = value
  }
  for (const [name, value] of Object.entries(missing)) {
    const before = fields[name]
    fields[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value
  }
  const lines = Object.entries(fields).map(([name, value]) => `${name} = ${toToml(value)}`)
  return { fields: fields as Partial<Permissions>, toml: [`[plugins.${plugin}.grant]`, ...lines].join("\n") }
}

/** Numbers, booleans, texts and lists of texts: JSON spells them as TOML does, except for DEL. */
function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(", ")}]`
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f")
}
