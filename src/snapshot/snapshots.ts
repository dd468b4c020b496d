import type { Logger } from "pino"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { LoadedPlugin } from "../plugins/loaded-plugin.ts"
import type { PreparedSnapshot } from "../processes/server-process.ts"
import type { AccessResult } from "../telemetry/access-log.ts"
import { createSnapshot, type ProcessParts } from "./create-snapshot.ts"
import { changedProcessFields } from "./process-fields.ts"
import { Snapshot } from "./snapshot.ts"

/** Milliseconds of the serving thread. */
const SLOW_START_MS = 100

/** The snapshot that serves, those that still finish requests, and at most one that is being prepared. */
export class Snapshots implements AsyncDisposable {
  readonly #parts: ProcessParts
  readonly #retiring = new Map<Snapshot, Promise<void>>()
  #current: Snapshot
  /** From the beginning of `prepare` to `commit` or the end of `abort`. */
  #preparing: Promise<PreparedSnapshot | null> | null = null
  #closed: Promise<void> | null = null

  /** @throws {BextError} as `createSnapshot`. */
  static async open(config: Config, parts: ProcessParts): Promise<Snapshots> {
    return new Snapshots(parts, await createSnapshot(config, 1, parts))
  }

  private constructor(parts: ProcessParts, first: Snapshot) {
    this.#parts = parts
    this.#current = first
  }

  get current(): Snapshot {
    return this.#current
  }

  /** Snapshots that still finish requests, the serving one excluded. */
  get retiring(): number {
    return this.#retiring.size
  }

  /** Every plugin that is in memory, those of retiring snapshots included. */
  get plugins(): ReadonlySet<LoadedPlugin> {
    return new Set([this.#current, ...this.#retiring.keys()].flatMap((snapshot) => snapshot.plugins.plugins))
  }

  get requestsInFlight(): number {
    let sum = this.#current.requestsInFlight
    for (const snapshot of this.#retiring.keys()) sum += snapshot.requestsInFlight
    return sum
  }

  respond(context: RequestContext): void | Promise<void> {
    return this.#current.respond(context)
  }

  complete(context: RequestContext, result: AccessResult): void {
    const { snapshot } = context
    const owner = snapshot instanceof Snapshot ? snapshot : this.#current
    owner.complete(context, result)
  }

  /** A websocket belongs to no snapshot; what is to be reported at its end goes to the one that serves then. */
  upgraded(context: RequestContext): void {
    const durationMs = performance.now() - context.startedAtMs
    context.trace?.end({ status: 101, durationMs, aborted: false })
    if (context.snapshot instanceof Snapshot) context.snapshot.leave(context)
  }

  /** See `ServerProcess.prepare`. @throws {BextError} `E_RELOAD_NEEDS_RESTART`, and as `createSnapshot`. */
  async prepare(config: Config): Promise<PreparedSnapshot> {
    if (this.#closed !== null) throw new BextError("E_OVERLOADED", "the server is shutting down")
    if (this.#preparing !== null) throw new Error("a snapshot is being prepared already")
    const fields = changedProcessFields(this.#current.config, config)
    if (fields.length > 0) {
      throw new BextError("E_RELOAD_NEEDS_RESTART", `only new processes can change ${fields.join(", ")}`)
    }
    const building = createSnapshot(config, this.#current.number + 1, this.#parts, this.#current)
    const preparation = building.then((next) => this.#prepared(next))
    this.#preparing = preparation.catch(() => null)
    try {
      return await preparation
    } catch (error) {
      this.#preparing = null
      throw error
    }
  }

  /** The server ends: no request is in flight any more. Plugins are told, then everything is gone. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const preparation = await this.#preparing
    await preparation?.abort()
    await Promise.all(this.#retiring.values())
    await this.#current.stop()
  }

  #prepared(next: Snapshot): PreparedSnapshot {
    let due = true
    const report = difference(this.#current, next)
    warnOfSlowStarts(next, report.loaded, this.#parts.logger)
    return {
      ...report,
      commit: () => {
        if (!due) return
        due = false
        this.#preparing = null
        this.#commit(next)
      },
      abort: async () => {
        if (!due) return
        due = false
        const gone = next.abandon()
        this.#preparing = gone.then(
          () => null,
          () => null,
        )
        await gone.finally(() => {
          this.#preparing = null
        })
      },
    }
  }

  #commit(next: Snapshot): void {
    const old = this.#current
    this.#current = next
    this.#retiring.set(old, this.#retire(old))
    void next.plugins.reloaded()
  }

  /** Never rejects. */
  async #retire(snapshot: Snapshot): Promise<void> {
    try {
      await snapshot.retire(snapshot.config.server.grace)
    } catch (error) {
      this.#parts.logger.error({ err: error }, `snapshot ${snapshot.number} could not be cleaned up`)
    } finally {
      this.#retiring.delete(snapshot)
    }
  }
}

function difference(old: Snapshot, next: Snapshot): Omit<PreparedSnapshot, "commit" | "abort"> {
  const before = new Map(old.plugins.plugins.map((plugin) => [plugin.name, plugin]))
  const plugins = next.plugins.plugins
  const names = new Set(plugins.map(({ name }) => name))
  return {
    snapshot: next.number,
    loaded: plugins.filter((plugin) => before.get(plugin.name) !== plugin).map(({ name }) => name),
    kept: plugins.filter((plugin) => before.get(plugin.name) === plugin).map(({ name }) => name),
    removed: [...before.keys()].filter((name) => !names.has(name)),
  }
}

/** Whoever waits for a plugin at the start of a server knows why; requests that wait because of a reload do not. */
function warnOfSlowStarts(next: Snapshot, loaded: readonly string[], logger: Logger): void {
  for (const { name, busyMs } of next.plugins.plugins) {
    if (busyMs < SLOW_START_MS || !loaded.includes(name)) continue
    logger.warn(
      { plugin: name, busyMs: Math.round(busyMs) },
      `${name} held up requests while it was loaded and started`,
    )
  }
}
