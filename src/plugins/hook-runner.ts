import type { Logger } from "pino"
import { BextError, type ErrorCode, PluginError } from "../errors.ts"
import { HOOKS, type HookName } from "../hooks.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { RequestTrace } from "../message/request-trace.ts"
import type { CallLimits, Exchange, HookCall, Json, Sandbox, Tier } from "../sandbox/sandbox.ts"
import { Breaker, type Probe } from "./breaker.ts"
import { FailureLog } from "./failure-log.ts"
import type { GuestAccess } from "./guest-access.ts"
import { GuestExchange } from "./guest-exchange.ts"
import { maskError } from "./guest-text.ts"
import type { HookStats, PluginStats } from "./plugin-stats.ts"
import type { Role } from "./role.ts"

export interface RunnerParts {
  readonly access: GuestAccess
  readonly tier: Tier
  readonly onError: "closed" | "open"
  readonly limits: Readonly<Record<HookName, CallLimits>>
  readonly role: Readonly<Role>
  /** Where calls and failures are counted; a plugin loaded anew goes on with its predecessor's. */
  readonly stats: PluginStats
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
  readonly stats: PluginStats
  readonly breaker: Breaker
  readonly #parts: RunnerParts
  readonly #failures: FailureLog
  #ended = false
  #probing: { readonly hook: HookName; readonly context: RequestContext; readonly probe: Probe } | null = null

  constructor(parts: RunnerParts) {
    this.#parts = parts
    this.stats = parts.stats
    this.#failures = new FailureLog(parts.access.plugin, parts.logger)
    this.breaker = createBreaker(parts)
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
    if (this.breaker.status !== null) {
      const probe = this.breaker.probe(context.clientAddress, performance.now())
      if (probe === null) return this.#refuse(hook)
      this.#probing = { hook, context, probe }
    }
    const waiting = this.#parts.services.prepare(context.tenantId)
    if (waiting === undefined) return this.#run(hook, context, decoded)
    return waiting.then(
      () => this.#run(hook, context, decoded),
      (error: unknown) => this.fail(hook, context, error),
    )
  }

  /**
   * Counts and logs a failure of a hook with a request.
   * @throws {BextError} The failure, when it closes the request; `E_CLIENT_LEFT`.
   */
  fail(hook: HookName, context: RequestContext, error: unknown): void {
    const probe = this.#probeOf(hook, context)
    // Nobody is left to answer, and a guest stopped for that reason did nothing wrong.
    if (context.signal.aborted) {
      probe?.failed(null, performance.now())
      throw context.signal.reason
    }
    const failure = this.#failed(hook, error, context.requestId)
    // Calls that outlive the plugin fail through no fault of its own.
    if (this.#ended) probe?.failed(null, performance.now())
    else if (probe === null) this.breaker.failed(hook, failure.code, context.clientAddress, performance.now())
    else probe.failed(failure.code, performance.now())
    if (HOOKS[hook].onFailure === "policy" && this.#parts.onError === "closed") throw failure
  }

  /** Runs `on_server_start` and makes the guest ready for calls. @throws {BextError} The failure. */
  async start(params: readonly Json[]): Promise<void> {
    const { sandbox, services } = this.#parts
    const stats = this.stats.hook("on_server_start")
    const startedAtMs = performance.now()
    stats.calls++
    const call = this.#call("on_server_start", params, null)
    try {
      await services.prepare(null)
      await sandbox.ready(call)
    } catch (error) {
      throw this.#failed("on_server_start", error, null)
    } finally {
      stats.latency.record(performance.now() - startedAtMs)
      this.#countFuel(call, null)
    }
  }

  /**
   * Runs a hook whose caller has to know how it went.
   * @returns Nothing when the guest did not wait.
   * @throws {BextError} The failure, counted and logged; `E_PLUGIN_QUARANTINED` when the plugin is out of service.
   */
  deliver(hook: HookName, params: readonly Json[], tenant: string | null): void | Promise<void> {
    if (this.breaker.status !== null) {
      const { by, reason } = this.breaker.status
      throw new PluginError("E_PLUGIN_QUARANTINED", this.#parts.access.plugin, `${hook} not called, ${by}: ${reason}`)
    }
    const waiting = this.#parts.services.prepare(tenant)
    if (waiting === undefined) return this.#deliver(hook, params, tenant)
    return waiting.then(
      () => this.#deliver(hook, params, tenant),
      (error: unknown) => {
        throw this.#failed(hook, error, null)
      },
    )
  }

  /** Runs a hook whose answer nobody waits for. Never rejects. @param trace - Of the request that it is told of. */
  async notify(
    hook: HookName,
    params: readonly Json[],
    tenant: string | null,
    requestId: string | null,
    trace: RequestTrace | null,
  ): Promise<void> {
    const { sandbox, services } = this.#parts
    const stats = this.stats.hook(hook)
    if (this.breaker.status !== null && hook !== "cleanup") {
      this.stats.refusedCalls++
      return
    }
    const startedAtMs = performance.now()
    stats.calls++
    const call = this.#call(hook, params, tenant)
    let code: ErrorCode | null = null
    try {
      await services.prepare(tenant)
      await sandbox.call(call)
    } catch (error) {
      code = this.#failed(hook, error, requestId).code
    }
    const endedAtMs = performance.now()
    stats.latency.record(endedAtMs - startedAtMs)
    this.#countFuel(call, null)
    if (trace !== null) this.#trace(trace, call, startedAtMs, endedAtMs, code)
  }

  /** The plugin is about to be unloaded: writes what was counted but not logged yet. */
  end(): void {
    this.#ended = true
    this.#failures.flush()
  }

  #deliver(hook: HookName, params: readonly Json[], tenant: string | null): void | Promise<void> {
    const stats = this.stats.hook(hook)
    const startedAtMs = performance.now()
    const call = this.#call(hook, params, tenant)
    stats.calls++
    let result: Json | undefined | Promise<Json | undefined>
    try {
      result = this.#parts.sandbox.call(call)
    } catch (error) {
      recordTime(stats, startedAtMs)
      this.#countFuel(call, null)
      throw this.#failed(hook, error, null)
    }
    if (!(result instanceof Promise)) {
      recordTime(stats, startedAtMs)
      this.#countFuel(call, null)
      return
    }
    stats.busyMs += performance.now() - startedAtMs
    return this.#delivered(call, startedAtMs, result)
  }

  async #delivered(call: HookCall, startedAtMs: number, waiting: Promise<unknown>): Promise<void> {
    try {
      await waiting
    } catch (error) {
      throw this.#failed(call.hook, error, null)
    } finally {
      this.stats.hook(call.hook).latency.record(performance.now() - startedAtMs)
      this.#countFuel(call, null)
    }
  }

  #run(hook: "on_request" | "on_response", context: RequestContext, decoded: Uint8Array | null): void | Promise<void> {
    const { access, sandbox, limits, role } = this.#parts
    const exchange = new GuestExchange(access, context, hook === "on_request" ? "request" : "response", decoded)
    const stats = this.stats.hook(hook)
    const startedAtMs = performance.now()
    const call = new RequestCall(hook, exchange, context, limits[hook], role.leader, startedAtMs)
    stats.calls++
    let result: Json | undefined | Promise<Json | undefined>
    try {
      result = sandbox.call(call)
    } catch (error) {
      const nowMs = recordTime(stats, startedAtMs)
      this.#countFuel(call, context.timings)
      if (context.trace) this.#trace(context.trace, call, startedAtMs, nowMs, codeOf(error, context))
      exchange.close()
      return this.fail(hook, context, error)
    }
    if (result instanceof Promise) {
      stats.busyMs += performance.now() - startedAtMs
      return this.#finish(call, context, exchange, startedAtMs, result)
    }
    const nowMs = recordTime(stats, startedAtMs, call.leftMs)
    this.#countFuel(call, context.timings)
    if (context.trace) this.#trace(context.trace, call, startedAtMs, nowMs, codeOfResult(result))
    return this.#settle(hook, context, exchange, result, nowMs)
  }

  async #finish(
    call: RequestCall,
    context: RequestContext,
    exchange: GuestExchange,
    startedAtMs: number,
    waiting: Promise<Json | undefined>,
  ): Promise<void> {
    const { hook } = call
    let result: Json | undefined
    let code: ErrorCode | null = null
    try {
      result = await waiting
      code = codeOfResult(result)
    } catch (error) {
      code = codeOf(error, context)
      exchange.close()
      return this.fail(hook, context, error)
    } finally {
      const nowMs = performance.now()
      this.stats.hook(hook).latency.record(nowMs - startedAtMs)
      this.#countFuel(call, context.timings)
      if (context.trace) this.#trace(context.trace, call, startedAtMs, nowMs, code)
    }
    return this.#settle(hook, context, exchange, result, performance.now())
  }

  #settle(
    hook: HookName,
    context: RequestContext,
    exchange: GuestExchange,
    result: Json | undefined,
    nowMs: number,
  ): void {
    if (result === undefined) {
      exchange.commit()
      const probe = this.#probeOf(hook, context)
      if (probe === null) this.breaker.succeeded(hook, nowMs)
      else probe.succeeded(nowMs)
      return
    }
    exchange.close()
    const what = `${hook} answered with a value instead of through its exchange`
    this.fail(hook, context, new PluginError("E_GUEST_RESULT_INVALID", this.#parts.access.plugin, what))
  }

  /** What a call used, once it is over; nothing in tiers that do not count. */
  #countFuel({ hook, fuelUsed = 0 }: HookCall, timings: RequestContext["timings"]): void {
    if (fuelUsed === 0) return
    this.stats.hook(hook).fuel += fuelUsed
    timings?.push({ name: this.#parts.access.plugin, durationMs: 0, fuel: fuelUsed })
  }

  #trace(trace: RequestTrace, call: HookCall, startedAtMs: number, endedAtMs: number, errorCode: ErrorCode | null) {
    const { access, tier } = this.#parts
    const fuel = tier === "wasm" ? (call.fuelUsed ?? 0) : null
    trace.called({ plugin: access.plugin, hook: call.hook, tier, startedAtMs, endedAtMs, fuel, errorCode })
  }

  /** The plugin is out of service. @throws {PluginError} `E_PLUGIN_QUARANTINED`, when that closes the request. */
  #refuse(hook: HookName): void {
    this.stats.refusedCalls++
    if (this.#parts.onError === "open") return
    const { by, reason } = this.breaker.status!
    throw new PluginError("E_PLUGIN_QUARANTINED", this.#parts.access.plugin, `${hook} not called, ${by}: ${reason}`)
  }

  /** The probe that this call is, taken: nobody else reports its outcome. */
  #probeOf(hook: HookName, context: RequestContext): Probe | null {
    const probing = this.#probing
    if (probing === null || probing.context !== context || probing.hook !== hook) return null
    this.#probing = null
    return probing.probe
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
    const { limits, role } = this.#parts
    return { hook, exchange: null, params, tenant, limits: limits[hook], leader: role.leader, signal: null }
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
  readonly nowMs: number
  leftMs: number | undefined = undefined
  fuelUsed = 0
  readonly #context: RequestContext

  constructor(
    hook: HookName,
    exchange: Exchange,
    context: RequestContext,
    limits: CallLimits,
    leader: boolean,
    nowMs: number,
  ) {
    this.hook = hook
    this.exchange = exchange
    this.limits = limits
    this.leader = leader
    this.tenant = context.tenantId
    this.nowMs = nowMs
    this.#context = context
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }
}

/** What a trace says of a failure: nothing, when the guest was stopped because nobody is left to answer. */
function codeOf(error: unknown, context: RequestContext): ErrorCode | null {
  if (context.signal.aborted) return null
  return error instanceof BextError ? error.code : "E_INTERNAL"
}

function codeOfResult(result: Json | undefined): ErrorCode | null {
  return result === undefined ? null : "E_GUEST_RESULT_INVALID"
}

/** @returns the time now, performance.now(). */
function recordTime(stats: HookStats, startedAtMs: number, nowMs: number = performance.now()): number {
  stats.busyMs += nowMs - startedAtMs
  stats.latency.record(nowMs - startedAtMs)
  return nowMs
}

function createBreaker({ access: { plugin }, logger }: RunnerParts): Breaker {
  return new Breaker({
    tripped({ reason, code }) {
      logger.error({ plugin, code }, `${plugin} is in quarantine: ${reason}; calls meet its failure policy meanwhile`)
    },
    recovered: () => logger.info({ plugin }, `${plugin} is back in service: a probe succeeded`),
  })
}
