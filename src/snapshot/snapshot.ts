import type { StackEntry } from "../admin/control.ts"
import type { Config } from "../config/schema.ts"
import type { ErrorPages } from "../http/error-pages.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { Pipeline } from "../pipeline/pipeline.ts"
import { toRequestCompleteEvent } from "../pipeline/request-complete.ts"
import type { Stack } from "../pipeline/stack.ts"
import type { PluginSet } from "../plugins/plugin-set.ts"
import type { AccessResult } from "../telemetry/access-log.ts"
import type { Tracer } from "../telemetry/tracer.ts"
import type { BuiltIns } from "./built-ins.ts"

export interface SnapshotParts {
  /** The first is 1. */
  readonly number: number
  readonly config: Config
  readonly errorPages: ErrorPages
  readonly builtIns: BuiltIns
  readonly plugins: PluginSet
  readonly stack: Stack
  readonly pipeline: Pipeline
  readonly accessLog: (context: RequestContext, result: AccessResult) => void
  /** Null: no request is traced. */
  readonly tracer: Tracer | null
  /** Lets go of what its routes lead to, and of the tracer. */
  readonly release: () => Promise<void>
}

/** One configuration in service with everything made from it. Immutable; a request stays with the one it began with. */
export class Snapshot {
  readonly #parts: SnapshotParts
  #inFlight = 0
  #onDrained: (() => void) | null = null

  constructor(parts: SnapshotParts) {
    this.#parts = parts
  }

  get number(): number {
    return this.#parts.number
  }

  get config(): Config {
    return this.#parts.config
  }

  get errorPages(): ErrorPages {
    return this.#parts.errorPages
  }

  get builtIns(): BuiltIns {
    return this.#parts.builtIns
  }

  get plugins(): PluginSet {
    return this.#parts.plugins
  }

  /** Everything a request passes, in order. */
  get stack(): readonly StackEntry[] {
    return this.#parts.stack.all.map(({ name, priority, kind, tenants, onRequest, onResponse }) => ({
      name,
      priority,
      kind,
      hooks: [...(onRequest === undefined ? [] : ["on_request"]), ...(onResponse === undefined ? [] : ["on_response"])],
      tenants: tenants === undefined ? null : [...tenants],
    }))
  }

  get requestsInFlight(): number {
    return this.#inFlight
  }

  /** Answers a request; `complete` follows once. */
  respond(context: RequestContext): void | Promise<void> {
    this.#inFlight++
    context.snapshot = this
    this.#parts.tracer?.begin(context)
    return this.#parts.pipeline.respond(context)
  }

  complete(context: RequestContext, result: AccessResult): void {
    const { plugins, accessLog } = this.#parts
    accessLog(context, result)
    context.trace?.end(result)
    if (plugins.wantsRequestComplete) {
      plugins.requestComplete(toRequestCompleteEvent(context, result), context.hostname, context.trace)
    }
    // The server answers a few paths itself; those never were in flight here.
    if (context.snapshot === this) this.leave(context)
  }

  /** A request that is in flight here needs nothing of this snapshot any more. */
  leave(context: RequestContext): void {
    context.snapshot = null
    if (--this.#inFlight === 0) this.#onDrained?.()
  }

  /** The server goes on without this snapshot: ends what no other one uses, when nothing of it is at work or the time is over. */
  async retire(graceMs: number): Promise<void> {
    const graceEndsMs = performance.now() + graceMs
    await this.#drained(graceMs)
    await this.#parts.plugins.release(graceEndsMs)
    await this.#parts.release()
  }

  /** It never served. */
  async abandon(): Promise<void> {
    await this.#parts.plugins.release()
    await this.#parts.release()
  }

  /** The server ends with this snapshot. */
  async stop(): Promise<void> {
    await this.#parts.plugins.stop()
    await this.#parts.release()
  }

  #drained(graceMs: number): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, graceMs)
      this.#onDrained = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
