import type { Manifest, Permissions } from "../config/manifest-schema.ts"
import { BextError, PluginError } from "../errors.ts"
import type { HookName } from "../hooks.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { RequestTrace } from "../message/request-trace.ts"
import type { CallLimits, InstanceMode, Isolation, JailStatus, Json, Tier } from "../sandbox/sandbox.ts"
import type { Breaker } from "./breaker.ts"
import { type ByteBudget, bodyState, bufferResponse } from "./buffer-response.ts"
import type { FileStamps } from "./file-stamps.ts"
import { HookRunner, type RunnerParts } from "./hook-runner.ts"
import type { LaneStatus } from "./lanes/lane-status.ts"
import type { LeaderGuest } from "./leader-guest.ts"
import type { MatchTarget, PluginMatch } from "./plugin-match.ts"
import type { PluginStats } from "./plugin-stats.ts"
import type { Quarantines } from "./quarantine.ts"
import type { ReceivedMessage } from "./queue-consumer.ts"
import { targetsBefore } from "./target-history.ts"

/** What a plugin was loaded with; everything is decided, nothing is looked up again. */
export interface PluginParts extends RunnerParts {
  readonly name: string
  readonly tier: Tier
  readonly instance: InstanceMode
  readonly manifest: Manifest
  /** Folder it was loaded from, or the file when it has no manifest. Absolute. */
  readonly path: string
  /** See `PluginSource`. */
  readonly fingerprint: string
  /** What the guest is made of. */
  readonly files: FileStamps
  readonly priority: number
  readonly required: boolean
  readonly match: PluginMatch
  readonly permissions: Permissions
  readonly onLargeBody: "fail" | "skip"
  /** The plugin's settings. */
  readonly config: Json
  /** Guest memory, bytes. */
  readonly memoryBytes: number
  readonly laneStatus: () => LaneStatus
  /** What keeps its guest apart from this machine, where that is up to the machine. */
  readonly isolation?: Isolation | undefined
  /** Its sandbox, when it runs in the process that leads alone. */
  readonly leaderGuest?: LeaderGuest | undefined
  /** What buffered response bodies are taken from. */
  readonly bodies: ByteBudget
  readonly quarantines: Quarantines
}

/**
 * One plugin in service; a Middleware of the priority stack when its guest has the hooks. Decides which requests the guest
 * is called for, and has the bodies at hand that it reads.
 */
export class LoadedPlugin implements AsyncDisposable {
  readonly kind = "plugin"
  readonly onRequest?: (context: RequestContext) => void | Promise<void>
  readonly onResponse?: (context: RequestContext) => void | Promise<void>
  readonly #parts: PluginParts
  readonly #runner: HookRunner
  readonly #forgetQuarantines: () => void

  constructor(parts: PluginParts) {
    this.#parts = parts
    this.#runner = new HookRunner(parts)
    this.#forgetQuarantines = parts.quarantines.attach(parts.name, this.#runner.breaker)
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

  get instance(): InstanceMode {
    return this.#parts.instance
  }

  get path(): string {
    return this.#parts.path
  }

  get fingerprint(): string {
    return this.#parts.fingerprint
  }

  get files(): FileStamps {
    return this.#parts.files
  }

  get onError(): "closed" | "open" {
    return this.#parts.onError
  }

  get limits(): { readonly memoryBytes: number; readonly calls: Readonly<Record<HookName, CallLimits>> } {
    return { memoryBytes: this.#parts.memoryBytes, calls: this.#parts.limits }
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

  get stats(): PluginStats {
    return this.#runner.stats
  }

  get breaker(): Breaker {
    return this.#runner.breaker
  }

  get lane(): LaneStatus {
    return this.#parts.laneStatus()
  }

  get isolation(): Isolation | null {
    return this.#parts.isolation ?? null
  }

  /** Its processes; null: it has none, in this process or at all. */
  get jails(): JailStatus | null {
    return this.#parts.sandbox.jails ?? null
  }

  /** Null: it runs in every process. */
  get leaderGuest(): LeaderGuest | null {
    return this.#parts.leaderGuest ?? null
  }

  get generation(): number {
    return this.#parts.sandbox.generation
  }

  /** Whether nothing of any call is left, not even behind its answer. */
  get idle(): boolean {
    return this.#parts.sandbox.idle
  }

  /** Milliseconds its guest was on the stack since it was loaded. */
  get busyMs(): number {
    return this.#parts.sandbox.busyMs
  }

  get instances(): number {
    return this.#parts.sandbox.instances
  }

  get evictions(): number {
    return this.#parts.sandbox.evictions
  }

  get memoryBytes(): number {
    return this.#parts.sandbox.memoryBytes
  }

  matches(target: MatchTarget): boolean {
    return this.#parts.match.matches(target)
  }

  /** Runs `on_server_start`; a guest without it was ready when it was loaded. @throws {BextError} */
  async start(): Promise<void> {
    if (this.hooks.has("on_server_start")) await this.#runner.start([this.#parts.config])
  }

  /** Runs a hook whose answer nobody waits for, if the guest has it. Failures are counted and logged; never rejects. */
  async notify(
    hook: HookName,
    params: readonly Json[],
    tenant: string | null,
    requestId: string | null,
    trace: RequestTrace | null = null,
  ): Promise<void> {
    if (this.hooks.has(hook)) await this.#runner.notify(hook, params, tenant, requestId, trace)
  }

  /** Whether an operator or the breaker took it out of service. */
  get quarantined(): boolean {
    return this.breaker.status !== null
  }

  /**
   * Hands over one message of a queue.
   * @returns Nothing when the guest did not wait.
   * @throws {BextError} Why the message is not handled.
   */
  receive(message: ReceivedMessage): void | Promise<void> {
    return this.#runner.deliver("on_queue_message", [message], message.tenantId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forgetQuarantines()
    this.#runner.end()
    await this.#parts.sandbox[Symbol.asyncDispose]()
    await this.#parts.services[Symbol.asyncDispose]()
  }

  #onRequest(context: RequestContext): void | Promise<void> {
    const { match, access } = this.#parts
    if (!match.matches(context)) return
    const reads = access.body === "request" || access.body === "both"
    if (reads && context.requestBody.present) {
      const { bytes } = context.requestBody
      const length = bytes?.length ?? declaredLength(context.requestHeaders)
      if (length > access.maxBodyBytes) return this.#largeRequest()
      if (bytes === undefined) return this.#bufferRequest(context)
    }
    return this.#runner.exchange("on_request", context, null)
  }

  async #bufferRequest(context: RequestContext): Promise<void> {
    try {
      await context.requestBody.buffer(this.#parts.access.maxBodyBytes)
    } catch (error) {
      if (error instanceof BextError && error.code === "E_BODY_TOO_LARGE") return this.#largeRequest()
      throw error
    }
    return this.#runner.exchange("on_request", context, null)
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
    const { access } = this.#parts
    if (context.response === null || !this.#matchesResponse(context)) return
    if (access.body === "response" || access.body === "both") {
      const state = bodyState(context.response)
      if (state === "waits") return this.#bufferResponse(context)
      if (state === "ready" && sizeOf(context.response.body) > access.maxBodyBytes) {
        return this.#largeResponse(context, `response body is over max_body (${access.maxBodyBytes} bytes)`)
      }
    }
    return this.#runner.exchange("on_response", context, null)
  }

  /** A request belongs to a plugin by any of the targets it had: who saw it come in also sees it go out. */
  #matchesResponse(context: RequestContext): boolean {
    const { match } = this.#parts
    if (match.matches(context)) return true
    const earlier = targetsBefore(context)
    return earlier?.some((target) => match.matches(context, target)) ?? false
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
      if (typeof decoded === "string") this.#largeResponse(context, decoded)
      else await this.#runner.exchange("on_response", context, decoded)
    } finally {
      bodies.giveBack(takenBytes)
    }
  }

  #largeResponse(context: RequestContext, what: string): void {
    const { name, onLargeBody } = this.#parts
    if (onLargeBody === "skip") {
      this.stats.skippedBodies++
      return
    }
    this.#runner.fail("on_response", context, new PluginError("E_RESPONSE_BODY", name, what))
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
