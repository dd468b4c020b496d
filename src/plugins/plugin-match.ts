import type { PluginConfig } from "../config/schema.ts"
import { compileGlob } from "../host/glob.ts"

/** What `match` looks at. A RequestContext is one. */
export interface MatchTarget {
  readonly method: string
  readonly path: string
  readonly hostname: string
  readonly tenantId: string | null
}

/** Which requests a plugin is for: those that fit any row of its `match`. */
export class PluginMatch {
  readonly #rows: readonly Row[]
  /** The tenants whose requests can match; undefined when others' can too. */
  readonly tenants: ReadonlySet<string> | undefined
  /** Whether a tenant is named and requests of others can match too. */
  readonly severalTenants: boolean

  constructor(rows: PluginConfig["match"]) {
    this.#rows = rows.map(compileRow)
    const named = this.#rows.map((row) => row.tenants)
    if (rows.length > 0 && named.every((tenants) => tenants !== null)) {
      this.tenants = new Set(named.flatMap((tenants) => [...tenants!]))
    }
    const count = new Set(named.flatMap((tenants) => [...(tenants ?? [])])).size
    this.severalTenants = count > 1 || (count === 1 && this.tenants === undefined)
  }

  /** @param asked - What is asked for, when it is not what `target` asks for now. */
  matches(target: MatchTarget, asked: Pick<MatchTarget, "method" | "path"> = target): boolean {
    if (this.#rows.length === 0) return true
    for (const row of this.#rows) if (fits(row, target, asked)) return true
    return false
  }
}

interface Row {
  readonly path: ((path: string) => boolean) | null
  readonly methods: ReadonlySet<string> | null
  readonly hosts: readonly ((host: string) => boolean)[] | null
  readonly tenants: ReadonlySet<string> | null
}

function compileRow(row: PluginConfig["match"][number]): Row {
  return {
    path: row.path === undefined ? null : compileGlob(row.path),
    methods: row.methods === undefined ? null : toMethods(row.methods),
    hosts: row.hosts?.map((host) => compileGlob(host, { separator: "." })) ?? null,
    tenants: row.tenants === undefined ? null : new Set(row.tenants),
  }
}

/** HEAD is GET without the content (RFC 9110 §9.3.2): a plugin that guards GET guards HEAD. */
function toMethods(names: readonly string[]): Set<string> {
  const methods = new Set(names)
  if (methods.has("GET")) methods.add("HEAD")
  return methods
}

function fits(row: Row, target: MatchTarget, asked: Pick<MatchTarget, "method" | "path">): boolean {
  if (row.tenants !== null && (target.tenantId === null || !row.tenants.has(target.tenantId))) return false
  if (row.methods !== null && !row.methods.has(asked.method)) return false
  if (row.hosts !== null && !fitsHost(row.hosts, target.hostname)) return false
  return row.path === null || row.path(asked.path)
}

/** "example.com." is the same host as "example.com" (RFC 1034 §3.1). */
function fitsHost(hosts: readonly ((host: string) => boolean)[], hostname: string): boolean {
  const host = hostname.endsWith(".") ? hostname.slice(0, -1) : hostname
  return hosts.some((matches) => matches(host))
}
