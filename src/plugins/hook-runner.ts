import type { Logger } from "pino"
import { BextError, PluginError } from "../errors.ts"
import { HOOKS, type HookName } from "../hooks.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { CallLimits, Exchange, HookCall, Json, Sandbox } from "../sandbox/sandbox.ts"
import { FailureLog } from "./failure-log.ts"
import type { GuestAccess } from "./guest-access.ts"
import { GuestExchange } from "./guest-exchange.ts"
import { maskError } from "./guest-text.ts"
import { type HookStats, PluginStats } from "./plugin-stats.ts"

export interface RunnerParts {
  readonly access: GuestAccess
  readonly onError: "closed" | "open"
  readonly limits: Readonly<Record<HookName, CallLimits>>
  /** True in exactly one process. */
  readonly leader: boolean
  readonly sandbox: Sandbox
  readonly services: PluginServices
  readonly logger: Logger
}

/** What the plugin host itself needs of a plugin's services. */
export interface PluginServices extends AsyncDisposable {
  /** Makes the tenant's storage resident. Returns nothing when it already is. */
  prepare(tenant: string | null): void | Promise<void>
  /** Replaces the values of the plugin's secrets. */
  mask(text: string): string
}

const NO_PARAMS: readonly Json[] = []

/**
 * Calls one guest. Every call is timed; every failure is counted and logged, and means what the hook table and `on_error`
 * say. What a call changed takes effect when it succeeded, and only then.
 */
export class HookRunner {
  readonly stats = new PluginStats()
  readonly #parts: RunnerParts
  readonly #failures: FailureLog

  constructor(parts: RunnerParts) {
    this.#parts = parts
    this.#failures = new FailureLog(parts.access.plugin, parts.logger)
  }

  /**
   * Runs `on_request` or `on_response`.
   * @param decoded - The response body without its content coding, where it has one.
   * @returns Nothing when the guest did not wait.
   * @throws {BextError} The failure, when it closes the request.
   */
  exchange(
    hook: "on_request" | "on_response",
    context: RequestContext,
    decoded: Uint8Array | null,
  ): void | Promise<void> {
    const waiting = this.#parts.services.prepare(context.tenantId)
    if (waiting === undefined) return this.#run(hook, context, decoded)
    return waiting.then(
      () => this.#run(hook, context, decoded),
      (error: unknown) => this.fail(hook, context, error),
    )
  }

  /** Counts and logs a failure of a hook with a request. @throws {BextError} The failure, when it closes the request. */
  fail(hook: HookName, context: RequestContext, error: unknown): void {
    // Nobody is left to answer, and a guest stopped for that reason did nothing wrong.
    if (context.signal.aborted) throw error
    const failure = this.#failed(hook, error, context.requestId)
    if (HOOKS[hook].onFailure === "policy" && this.#parts.onError === "closed") throw failure
  }

  /** Runs `on_server_start` and makes the guest ready for calls. @throws {BextError} The failure. */
  async start(params: readonly Json[]): Promise<void> {
    const { sandbox, services } = this.#parts
    const stats = this.stats.hook("on_server_start")
    const startedAtMs = performance.now()
    stats.calls++
    try {
      await services.prepare(null)
      await sandbox.ready(this.#call("on_server_start", params, null))
    } catch (error) {
      throw this.#failed("on_server_start", error, null)
    } finally {
      stats.latency.record(performance.now() - startedAtMs)
    }
  }

  /** Runs a hook whose answer nobody waits for. Never rejects. */
  async notify(
    hook: HookName,
    params: readonly Json[],
    tenant: string | null,
    requestId: string | null,
  ): Promise<void> {
    const { sandbox, services } = this.#parts
    const stats = this.stats.hook(hook)
    const startedAtMs = performance.now()
    stats.calls++
    try {
      await services.prepare(tenant)
      await sandbox.call(this.#call(hook, params, tenant))
    } catch (error) {
      this.#failed(hook, error, requestId)
    }
    stats.latency.record(performance.now() - startedAtMs)
  }

  /** Writes what was counted but not logged yet. */
  flush(): void {
    this.#failures.flush()
  }

  #run(hook: "on_request" | "on_response", context: RequestContext, decoded: Uint8Array | null): void | Promise<void> {
    const { access, sandbox, limits, leader } = this.#parts
    const exchange = new GuestExchange(access, context, hook === "on_request" ? "request" : "response", decoded)
    const stats = this.stats.hook(hook)
    const startedAtMs = performance.now()
    stats.calls++
    let result: Json | undefined | Promise<Json | undefined>
    try {
      result = sandbox.call(new RequestCall(hook, exchange, context, limits[hook], leader))
    } catch (error) {
      recordTime(stats, startedAtMs)
      exchange.close()
      return this.fail(hook, context, error)
    }
    if (result instanceof Promise) {
      stats.busyMs += performance.now() - startedAtMs
      return this.#finish(hook, context, exchange, startedAtMs, result)
    }
    recordTime(stats, startedAtMs)
    return this.#settle(hook, context, exchange, result)
  }

  async #finish(
    hook: HookName,
    context: RequestContext,
    exchange: GuestExchange,
    startedAtMs: number,
    waiting: Promise<Json | undefined>,
  ): Promise<void> {
    let result: Json | undefined
    try {
      result = await waiting
    } catch (error) {
      exchange.close()
      return this.fail(hook, context, error)
    } finally {
      this.stats.hook(hook).latency.record(performance.now() - startedAtMs)
    }
    return this.#settle(hook, context, exchange, result)
  }

  #settle(hook: HookName, context: RequestContext, exchange: GuestExchange, result: Json | undefined): void {
    if (result === undefined) {
      exchange.commit()
      return
    }
    exchange.close()
    const what = `${hook} answered with a value instead of through its exchange`
    this.fail(hook, context, new PluginError("E_GUEST_RESULT_INVALID", this.#parts.access.plugin, what))
  }

  #failed(hook: HookName, error: unknown, requestId: string | null): BextError {
    const { access, services } = this.#parts
    const what = `${hook} failed inside the host`
    const failure =
      error instanceof BextError ? error : new PluginError("E_INTERNAL", access.plugin, what, { cause: error })
    maskError(failure, (text) => services.mask(text))
    this.stats.failed(hook, failure)
    this.#failures.report(hook, failure, requestId)
    return failure
  }

  #call(hook: HookName, params: readonly Json[], tenant: string | null): HookCall {
    const { limits, leader } = this.#parts
    return { hook, exchange: null, params, tenant, limits: limits[hook], leader, signal: null }
  }
}

/** One call with a request. The signal is made when the tier asks for it, which calls that never wait do not. */
class RequestCall implements HookCall {
  readonly hook: HookName
  readonly exchange: Exchange
  readonly params = NO_PARAMS
  readonly limits: CallLimits
  readonly leader: boolean
  readonly tenant: string | null
  readonly #context: RequestContext

  constructor(hook: HookName, exchange: Exchange, context: RequestContext, limits: CallLimits, leader: boolean) {
    this.hook = hook
    this.exchange = exchange
    this.limits = limits
    this.leader = leader
    this.tenant = context.tenantId
    this.#context = context
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }
}

function recordTime(stats: HookStats, startedAtMs: number): void {
  const durationMs = performance.now() - startedAtMs
  stats.busyMs += durationMs
  stats.latency.record(durationMs)
}
