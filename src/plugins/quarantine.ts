import { createHash } from "node:crypto"
import type { KeyValueStore, Stored } from "../state/state.ts"
import type { Breaker } from "./breaker.ts"

/** Where the operator's decisions are kept: a partition that no plugin's name, owner and tenant hash to. */
const PARTITION = createHash("sha256").update("bext quarantine").digest("hex").slice(0, 32)
/** How long a release is told to processes that were busy. */
const RELEASE_KEPT_MS = 60 * 60_000
const MAX_REASON = 500

/** What one key (a plugin's name) says. */
type Decision =
  | { readonly state: "quarantined"; readonly reason: string; readonly atMs: number }
  | { readonly state: "released"; readonly atMs: number }

/** Where a loaded plugin hears what the operator decides on it. */
export interface Quarantines {
  /** From here on `breaker` knows what the operator decides on `plugin`. @returns a function that ends it. */
  attach(plugin: string, breaker: Breaker): () => void
}

/**
 * The operator's quarantines: kept in the state, so that every process, every snapshot and every restart obeys them. A
 * release also ends what the breakers decided.
 */
export class QuarantineBook implements Quarantines, AsyncDisposable {
  readonly #state: KeyValueStore
  readonly #decisions: Map<string, Decision>
  readonly #breakers = new Map<string, Set<Breaker>>()
  readonly #unwatch: () => void

  /** @throws {BextError} `E_STATE_UNAVAILABLE`. */
  static async open(state: KeyValueStore): Promise<QuarantineBook> {
    return new QuarantineBook(state, toDecisions(await state.load(PARTITION)))
  }

  private constructor(state: KeyValueStore, decisions: Map<string, Decision>) {
    this.#state = state
    this.#decisions = decisions
    this.#unwatch = state.watch({
      changed: (partition, key) => {
        if (partition === PARTITION) void this.#readAgain(key)
      },
      reset: () => void this.#readAllAgain(),
    })
  }

  attach(plugin: string, breaker: Breaker): () => void {
    const breakers = this.#breakers.get(plugin) ?? new Set()
    this.#breakers.set(plugin, breakers.add(breaker))
    const decision = this.#decisions.get(plugin)
    if (decision?.state === "quarantined") breaker.hold(toStatus(decision))
    return () => {
      breakers.delete(breaker)
      if (breakers.size === 0) this.#breakers.delete(plugin)
    }
  }

  /** Resolves when it is on disk. @throws {BextError} `E_STATE_UNAVAILABLE`. */
  async quarantine(plugin: string, reason: string): Promise<void> {
    await this.#decide(plugin, { state: "quarantined", reason: reason.slice(0, MAX_REASON), atMs: Date.now() }, 0)
  }

  /** As `quarantine`. */
  async release(plugin: string): Promise<void> {
    const atMs = Date.now()
    await this.#decide(plugin, { state: "released", atMs }, atMs + RELEASE_KEPT_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch()
  }

  async #decide(plugin: string, decision: Decision, expiresAtMs: number): Promise<void> {
    await this.#state.write(PARTITION, new Map([[plugin, { value: JSON.stringify(decision), expiresAtMs }]]))
    await this.#state.flush()
    this.#apply(plugin, decision)
  }

  async #readAgain(plugin: string): Promise<void> {
    const stored = await this.#state.read(PARTITION, plugin)
    const decision = stored === undefined ? undefined : toDecision(stored)
    if (decision !== undefined) this.#apply(plugin, decision)
  }

  async #readAllAgain(): Promise<void> {
    for (const [plugin, decision] of toDecisions(await this.#state.load(PARTITION))) this.#apply(plugin, decision)
  }

  #apply(plugin: string, decision: Decision): void {
    const known = this.#decisions.get(plugin)
    if (known?.state === decision.state && known.atMs === decision.atMs) return
    this.#decisions.set(plugin, decision)
    for (const breaker of this.#breakers.get(plugin) ?? []) {
      breaker.hold(decision.state === "quarantined" ? toStatus(decision) : null)
      if (decision.state === "released") breaker.reset()
    }
  }
}

function toStatus({ reason, atMs }: Decision & { state: "quarantined" }) {
  return { by: "operator", reason, sinceMs: atMs, probeAtMs: null, code: null } as const
}

function toDecisions(entries: ReadonlyMap<string, Stored>): Map<string, Decision> {
  const decisions = new Map<string, Decision>()
  for (const [plugin, stored] of entries) {
    const decision = toDecision(stored)
    if (decision !== undefined) decisions.set(plugin, decision)
  }
  return decisions
}

/** Written by this file alone; what cannot be read counts as nothing. */
function toDecision({ value }: Stored): Decision | undefined {
  try {
    return JSON.parse(String(value)) as Decision
  } catch {
    return undefined
  }
}
