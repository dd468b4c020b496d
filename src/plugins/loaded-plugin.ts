import type { Logger } from "pino"
import type { Manifest, Permissions } from "../config/manifest-schema.ts"
import { BextError, PluginError } from "../errors.ts"
import { HOOKS, type HookName } from "../hooks.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { CallLimits, Exchange, HookCall, Json, Sandbox, Tier } from "../sandbox/sandbox.ts"
import { type ByteBudget, bodyState, bufferResponse } from "./buffer-response.ts"
import { FailureLog } from "./failure-log.ts"
import type { GuestAccess } from "./guest-access.ts"
import { GuestExchange } from "./guest-exchange.ts"
import { maskError } from "./guest-text.ts"
import { pathsBefore } from "./path-history.ts"
import type { MatchTarget, PluginMatch } from "./plugin-match.ts"
import { type HookStats, PluginStats } from "./plugin-stats.ts"

/** What a plugin was loaded with; everything is decided, nothing is looked up again. */
export interface PluginParts {
  readonly name: string
  readonly tier: Tier
  readonly manifest: Manifest
  readonly priority: number
  readonly onError: "closed" | "open"
  readonly required: boolean
  readonly match: PluginMatch
  readonly permissions: Permissions
  readonly access: GuestAccess
  readonly onLargeBody: "fail" | "skip"
  readonly limits: Readonly<Record<HookName, CallLimits>>
  readonly leader: boolean
  readonly config: Json
  readonly sandbox: Sandbox
  readonly services: PluginServices
  /** What buffered response bodies are taken from. */
  readonly bodies: ByteBudget
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
 * One plugin in service; a Middleware of the priority stack when its guest has the hooks.
 * Failures of the guest are counted and logged here; what a request sees of them is the hook table's and `on_error`'s word.
 */
export class LoadedPlugin implements AsyncDisposable {
  readonly kind = "plugin"
  readonly stats = new PluginStats()
  readonly onRequest?: (context: RequestContext) => void | Promise<void>
  readonly onResponse?: (context: RequestContext) => void | Promise<void>
  readonly #parts: PluginParts
  readonly #failures: FailureLog

  constructor(parts: PluginParts) {
    this.#parts = parts
    this.#failures = new FailureLog(parts.name, parts.logger)
    const { hooks } = parts.sandbox
    if (hooks.has("on_request")) this.onRequest = (context) => this.#onRequest(context)
    if (hooks.has("on_response")) this.onResponse = (context) => this.#onResponse(context)
  }

  get name(): string {
    return this.#parts.name
  }

  get priority(): number {
    return this.#parts.priority
  }

  get tenants(): ReadonlySet<string> | undefined {
    return this.#parts.match.tenants
  }

  get tier(): Tier {
    return this.#parts.tier
  }

  get manifest(): Manifest {
    return this.#parts.manifest
  }

  /** What it asked for and was granted. */
  get permissions(): Permissions {
    return this.#parts.permissions
  }

  get required(): boolean {
    return this.#parts.required
  }

  get hooks(): ReadonlySet<HookName> {
    return this.#parts.sandbox.hooks
  }

  get generation(): number {
    return this.#parts.sandbox.generation
  }

  get memoryBytes(): number {
    return this.#parts.sandbox.memoryBytes
  }

  matches(target: MatchTarget): boolean {
    return this.#parts.match.matches(target)
  }

  /** Runs `on_server_start` when the guest has it; without it the guest was ready when it was loaded. @throws {PluginError} */
  async start(): Promise<void> {
    const { sandbox, config } = this.#parts
    if (!sandbox.hooks.has("on_server_start")) return
    const stats = this.stats.hook("on_server_start")
    const startedAtMs = performance.now()
    try {
      await this.#prepared(null)
      await sandbox.ready(this.#call("on_server_start", [config], null))
      stats.calls++
      stats.latency.record(performance.now() - startedAtMs)
    } catch (error) {
      throw this.#failed("on_server_start", error, null)
    }
  }

  /** Calls a hook whose answer nobody waits for. Failures are counted and logged; never rejects. */
  async notify(
    hook: HookName,
    params: readonly Json[],
    tenant: string | null,
    requestId: string | null,
  ): Promise<void> {
    if (!this.hooks.has(hook)) return
    const stats = this.stats.hook(hook)
    const startedAtMs = performance.now()
    stats.calls++
    try {
      await this.#prepared(tenant)
      await this.#parts.sandbox.call(this.#call(hook, params, tenant))
    } catch (error) {
      this.#failed(hook, error, requestId)
    }
    stats.latency.record(performance.now() - startedAtMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failures.flush()
    await this.#parts.sandbox[Symbol.asyncDispose]()
    await this.#parts.services[Symbol.asyncDispose]()
  }

  #onRequest(context: RequestContext): void | Promise<void> {
    const { match, access, services } = this.#parts
    if (!match.matches(context)) return
    const reads = access.body === "request" || access.body === "both"
    if (reads && context.requestBody.present) {
      const { bytes } = context.requestBody
      const length = bytes?.length ?? declaredLength(context.requestHeaders)
      if (length > access.maxBodyBytes) return this.#largeRequest()
      if (bytes === undefined) return this.#bufferRequest(context)
    }
    const waiting = services.prepare(context.tenantId)
    if (waiting !== undefined) return waiting.then(() => this.#run("on_request", context, null))
    return this.#run("on_request", context, null)
  }

  async #bufferRequest(context: RequestContext): Promise<void> {
    try {
      await context.requestBody.buffer(this.#parts.access.maxBodyBytes)
    } catch (error) {
      if (error instanceof BextError && error.code === "E_BODY_TOO_LARGE") return this.#largeRequest()
      throw error
    }
    await this.#prepared(context.tenantId)
    return this.#run("on_request", context, null)
  }

  /** The client's doing, not the plugin's: `on_error` has no say. */
  #largeRequest(): void {
    const { name, access, onLargeBody } = this.#parts
    if (onLargeBody === "fail") {
      throw new BextError("E_BODY_TOO_LARGE", `${name}: request body is over max_body (${access.maxBodyBytes} bytes)`)
    }
    this.stats.skippedBodies++
  }

  #onResponse(context: RequestContext): void | Promise<void> {
    const { access, services } = this.#parts
    if (context.response === null || !this.#matchesResponse(context)) return
    if (access.body === "response" || access.body === "both") {
      const state = bodyState(context.response)
      if (state === "waits") return this.#bufferResponse(context)
      const { body } = context.response
      if (state === "ready" && body !== null && sizeOf(body) > access.maxBodyBytes) {
        return this.#largeResponse(context, `response body is over max_body (${access.maxBodyBytes} bytes)`)
      }
    }
    const waiting = services.prepare(context.tenantId)
    if (waiting !== undefined) return waiting.then(() => this.#run("on_response", context, null))
    return this.#run("on_response", context, null)
  }

  /** A request belongs to a plugin by any of the paths it had: who saw it come in also sees it go out. */
  #matchesResponse(context: RequestContext): boolean {
    const { match } = this.#parts
    if (match.matches(context)) return true
    const earlier = pathsBefore(context)
    return earlier?.some((path) => match.matches(context, path)) ?? false
  }

  async #bufferResponse(context: RequestContext): Promise<void> {
    const { access, limits, bodies } = this.#parts
    const bounds = { maxBytes: access.maxBodyBytes, maxMs: limits.on_response.wallMs }
    let takenBytes = 0
    const take = (bytes: number) => {
      bodies.take(bytes)
      takenBytes += bytes
    }
    try {
      const decoded = await bufferResponse(context.response!, bounds, { take }, context.signal)
      if (typeof decoded === "string") return this.#largeResponse(context, decoded)
      await this.#prepared(context.tenantId)
      await this.#run("on_response", context, decoded)
    } finally {
      bodies.giveBack(takenBytes)
    }
  }

  #largeResponse(context: RequestContext, what: string): void {
    const { name, onLargeBody } = this.#parts
    if (onLargeBody === "fail")
      this.#settleFailure("on_response", context, new PluginError("E_RESPONSE_BODY", name, what))
    else this.stats.skippedBodies++
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
      this.#record(stats, startedAtMs)
      exchange.close()
      return this.#settleFailure(hook, context, error)
    }
    if (result instanceof Promise) {
      stats.busyMs += performance.now() - startedAtMs
      return this.#finish(hook, context, exchange, stats, startedAtMs, result)
    }
    this.#record(stats, startedAtMs)
    return this.#settle(hook, context, exchange, result)
  }

  async #finish(
    hook: HookName,
    context: RequestContext,
    exchange: GuestExchange,
    stats: HookStats,
    startedAtMs: number,
    waiting: Promise<Json | undefined>,
  ): Promise<void> {
    let result: Json | undefined
    try {
      result = await waiting
    } catch (error) {
      stats.latency.record(performance.now() - startedAtMs)
      exchange.close()
      return this.#settleFailure(hook, context, error)
    }
    stats.latency.record(performance.now() - startedAtMs)
    return this.#settle(hook, context, exchange, result)
  }

  #record(stats: HookStats, startedAtMs: number): void {
    const durationMs = performance.now() - startedAtMs
    stats.busyMs += durationMs
    stats.latency.record(durationMs)
  }

  #settle(hook: HookName, context: RequestContext, exchange: GuestExchange, result: Json | undefined): void {
    if (result === undefined) {
      exchange.commit()
      return
    }
    exchange.close()
    const what = `${hook} answered with a value instead of through its exchange`
    this.#settleFailure(hook, context, new PluginError("E_GUEST_RESULT_INVALID", this.name, what))
  }

  #settleFailure(hook: HookName, context: RequestContext, error: unknown): void {
    // Nobody is left to answer, and a guest stopped for that reason did nothing wrong.
    if (context.signal.aborted) throw error
    const failure = this.#failed(hook, error, context.requestId)
    const open = HOOKS[hook].onFailure === "count" || this.#parts.onError === "open"
    if (!open) throw failure
  }

  #failed(hook: HookName, error: unknown, requestId: string | null): BextError {
    const failure = error instanceof BextError ? error : this.#unexpected(hook, error)
    maskError(failure, (text) => this.#parts.services.mask(text))
    this.stats.failed(hook, failure)
    this.#failures.report(hook, failure, requestId)
    return failure
  }

  #unexpected(hook: HookName, cause: unknown): PluginError {
    return new PluginError("E_INTERNAL", this.name, `${hook} failed inside the host`, { cause })
  }

  #prepared(tenant: string | null): void | Promise<void> {
    return this.#parts.services.prepare(tenant)
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

/** What Content-Length says of a body without content coding, 0 when it says nothing; not a byte of it has to be read. */
function declaredLength(headers: HeaderList): number {
  const length = headers.get("content-length")
  return length === undefined || headers.has("content-encoding") ? 0 : Number(length)
}

function sizeOf(body: unknown): number {
  if (typeof body === "string") return Buffer.byteLength(body)
  return body instanceof Uint8Array ? body.length : 0
}
