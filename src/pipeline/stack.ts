import type { Middleware } from "./middleware.ts"

/** The order in which one request meets the middlewares. */
export interface StackList {
  readonly entries: readonly Layer[]
  /** How many leading entries every tenant shares (priority 400 and below). */
  readonly shared: number
}

const TENANT_RESOLVER_PRIORITY = 400

/**
 * All middlewares of one snapshot in ascending priority; ties keep the order given. Entries that belong to certain tenants
 * are looked up, not filtered per request, so that a thousand tenants' plugins cost a request nothing.
 */
export class Stack {
  readonly all: readonly Layer[]
  readonly #common: StackList
  readonly #perTenant = new Map<string, StackList>()

  /** @throws {RangeError} when an entry for tenants has a priority of 400 or less: the tenant is not known yet there. */
  constructor(middlewares: readonly Middleware[]) {
    this.all = middlewares.map((one) => new Layer(one)).toSorted((a, b) => a.priority - b.priority)
    this.#common = this.#listOf(this.all.filter((entry) => entry.tenants === undefined))
    for (const tenant of this.#tenants()) this.#perTenant.set(tenant, this.#listFor(tenant))
  }

  /** The list for one tenant; null and tenants without entries of their own share one. */
  list(tenant: string | null): StackList {
    return (tenant === null ? undefined : this.#perTenant.get(tenant)) ?? this.#common
  }

  /**
   * The list to go on with when the entry at `index` changed the tenant: what ran stays, what follows is the new tenant's.
   */
  switchTenant(current: StackList, index: number, tenant: string | null): StackList {
    const next = this.list(tenant)
    if (next === current || index < current.shared) return next
    const rank = this.all.indexOf(current.entries[index]!)
    const rest = next.entries.filter((entry) => this.all.indexOf(entry) > rank)
    return { entries: [...current.entries.slice(0, index + 1), ...rest], shared: current.shared }
  }

  #tenants(): Set<string> {
    const names = new Set<string>()
    for (const { tenants, name, priority } of this.all) {
      if (tenants === undefined) continue
      if (priority <= TENANT_RESOLVER_PRIORITY) {
        throw new RangeError(`${name}: match on tenants needs a priority above ${TENANT_RESOLVER_PRIORITY}`)
      }
      for (const tenant of tenants) names.add(tenant)
    }
    return names
  }

  #listFor(tenant: string): StackList {
    return this.#listOf(this.all.filter((entry) => entry.tenants === undefined || entry.tenants.has(tenant)))
  }

  #listOf(entries: readonly Layer[]): StackList {
    return { entries, shared: entries.filter((entry) => entry.priority <= TENANT_RESOLVER_PRIORITY).length }
  }
}

/** A middleware in its place. They are objects of many shapes; what each request reads of all of them is in ones of one shape. */
export class Layer {
  readonly name: string
  readonly priority: number
  readonly kind: Middleware["kind"]
  readonly tenants: ReadonlySet<string> | undefined
  readonly onRequest: Middleware["onRequest"]
  readonly onResponse: Middleware["onResponse"]

  constructor({ name, priority, kind, tenants, onRequest, onResponse }: Middleware) {
    this.name = name
    this.priority = priority
    this.kind = kind
    this.tenants = tenants
    this.onRequest = onRequest
    this.onResponse = onResponse
  }
}
