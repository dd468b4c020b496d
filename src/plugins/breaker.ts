import { ERRORS, type ErrorCode } from "../errors.ts"
import { createClientPrefix } from "../message/client-prefix.ts"

/** Failures are looked at over this long; kept in two halves, so that nothing is forgotten all at once. */
const WINDOW_MS = 20_000
const MIN_CALLS = 50
const MIN_PREFIXES = 5
/** Failures of one client prefix that count in one window: whoever repeats one request is not everybody. */
const MAX_PER_PREFIX = 10
/** Client prefixes remembered per half window; with this many the verdict is long clear. */
const MAX_PREFIXES = 256

const FIRST_BACKOFF_MS = 1_000
const MAX_BACKOFF_MS = 5 * 60_000
/** A probe that was never answered is given up after this. */
const PROBE_MS = 60_000

const clientPrefix = createClientPrefix(64)

/** Why a plugin is out of service. */
export interface QuarantineStatus {
  readonly by: "breaker" | "operator"
  readonly reason: string
  /** Epoch milliseconds. */
  readonly sinceMs: number
  /** Epoch milliseconds of the next probe; null when only `release` ends it. */
  readonly probeAtMs: number | null
  /** The failure that was counted most, with its code. */
  readonly code: ErrorCode | null
}

export interface BreakerEvents {
  /** The plugin is taken out of service. */
  tripped(status: QuarantineStatus): void
  /** A probe succeeded. */
  recovered(): void
}

/**
 * Decides whether one plugin may be called. Out of service when at least half of 50 or more calls of a hook, from 5 or more
 * client prefixes, failed within the window; then one call at a time is let through as a probe, with exponential back-off,
 * until one succeeds. An operator's quarantine stays until it is released. Times are performance.now().
 */
export class Breaker {
  readonly #events: BreakerEvents
  readonly #windows = new Map<string, FailureWindow>()
  #held: QuarantineStatus | null = null
  #open: OpenState | null = null

  constructor(events: BreakerEvents) {
    this.#events = events
  }

  /** Null in service. */
  get status(): QuarantineStatus | null {
    return this.#held ?? (this.#open === null ? null : this.#open.status)
  }

  /** The operator's word: out of service, or not (null). */
  hold(status: QuarantineStatus | null): void {
    this.#held = status
  }

  /** Forgets every failure and is in service again. */
  reset(): void {
    this.#windows.clear()
    this.#open = null
  }

  /**
   * Asked before a call, of a plugin that is not in order; see `status`.
   * @param clientAddress - Null for calls without a client, which are never probes.
   * @returns the probe that the call is; its outcome has to be reported to it. Null when the plugin must not be called.
   */
  probe(clientAddress: string | null, nowMs: number): Probe | null {
    const open = this.#open
    if (this.#held !== null || open === null || clientAddress === null) return null
    const prefix = clientPrefix(clientAddress)
    if (!open.admits(prefix, nowMs)) return null
    const probe = new Probe(this, prefix)
    open.probing = probe
    open.probeStartedMs = nowMs
    return probe
  }

  succeeded(hook: string, nowMs: number): void {
    this.#window(hook).succeeded(nowMs)
  }

  /** @param code - Of a failure; those that are not the guest's doing do not count. */
  failed(hook: string, code: ErrorCode, clientAddress: string, nowMs: number): void {
    if (this.#open !== null || !isGuestsDoing(code)) return
    if (code === "E_GUEST_EXITED") {
      this.#trip("its instance is gone and cannot be rebuilt", code, nowMs)
      return
    }
    const window = this.#window(hook)
    window.failed(clientPrefix(clientAddress), code, nowMs)
    const verdict = window.verdict()
    if (verdict !== null) this.#trip(`${hook}: ${verdict.text}`, verdict.code, nowMs)
  }

  /** @internal For `Probe`. */
  settle(probe: Probe, outcome: "succeeded" | "failed" | "inconclusive", nowMs: number): void {
    const open = this.#open
    if (open === null || open.probing !== probe) return
    open.probing = null
    if (outcome === "failed") open.failedProbe(probe.prefix, nowMs)
    if (outcome !== "succeeded") return
    this.reset()
    this.#events.recovered()
  }

  #window(hook: string): FailureWindow {
    let window = this.#windows.get(hook)
    if (window === undefined) {
      window = new FailureWindow()
      this.#windows.set(hook, window)
    }
    return window
  }

  #trip(reason: string, code: ErrorCode, nowMs: number): void {
    this.#windows.clear()
    this.#open = new OpenState(reason, code, nowMs)
    this.#events.tripped(this.#open.status)
  }
}

/** The one call that finds out whether a plugin works again. */
export class Probe {
  readonly #breaker: Breaker
  readonly prefix: string

  constructor(breaker: Breaker, prefix: string) {
    this.#breaker = breaker
    this.prefix = prefix
  }

  succeeded(nowMs: number): void {
    this.#breaker.settle(this, "succeeded", nowMs)
  }

  /** @param code - Null when the call ended without saying anything about the plugin, as when its client went away. */
  failed(code: ErrorCode | null, nowMs: number): void {
    this.#breaker.settle(this, code !== null && isGuestsDoing(code) ? "failed" : "inconclusive", nowMs)
  }
}

/** What one hook did lately. */
class FailureWindow {
  #now = new HalfWindow(Number.NEGATIVE_INFINITY)
  #before = new HalfWindow(Number.NEGATIVE_INFINITY)

  succeeded(nowMs: number): void {
    this.#turn(nowMs)
    this.#now.successes++
  }

  failed(prefix: string, code: ErrorCode, nowMs: number): void {
    this.#turn(nowMs)
    this.#now.failed(prefix, code)
  }

  /** @returns why the plugin has to go out of service, or null. */
  verdict(): { text: string; code: ErrorCode } | null {
    const perPrefix = new Map(this.#before.failures)
    for (const [prefix, count] of this.#now.failures) perPrefix.set(prefix, (perPrefix.get(prefix) ?? 0) + count)
    if (perPrefix.size < MIN_PREFIXES) return null
    let failures = 0
    for (const count of perPrefix.values()) failures += Math.min(count, MAX_PER_PREFIX)
    const successes = this.#before.successes + this.#now.successes
    if (failures + successes < MIN_CALLS || failures < successes) return null
    const total = [...perPrefix.values()].reduce((sum, count) => sum + count, 0)
    const text = `${total} of ${total + successes} calls failed, for ${perPrefix.size} clients`
    return { text, code: this.#commonest() }
  }

  #turn(nowMs: number): void {
    if (nowMs - this.#now.startMs < WINDOW_MS / 2) return
    this.#before = nowMs - this.#now.startMs < WINDOW_MS ? this.#now : new HalfWindow(nowMs)
    this.#now = new HalfWindow(nowMs)
  }

  #commonest(): ErrorCode {
    const counts = new Map(this.#before.codes)
    for (const [code, count] of this.#now.codes) counts.set(code, (counts.get(code) ?? 0) + count)
    return [...counts].sort((a, b) => b[1] - a[1])[0]![0]
  }
}

class HalfWindow {
  readonly startMs: number
  successes = 0
  /** Client prefix → failures. */
  readonly failures = new Map<string, number>()
  readonly codes = new Map<ErrorCode, number>()

  constructor(startMs: number) {
    this.startMs = startMs
  }

  failed(prefix: string, code: ErrorCode): void {
    const count = this.failures.get(prefix)
    if (count === undefined && this.failures.size >= MAX_PREFIXES) return
    this.failures.set(prefix, (count ?? 0) + 1)
    this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
  }
}

/** Out of service by the breaker's own decision. */
class OpenState {
  probing: Probe | null = null
  probeStartedMs = 0
  readonly #reason: string
  readonly #code: ErrorCode
  readonly #sinceMs = Date.now()
  #backoffMs = FIRST_BACKOFF_MS
  #probeMs: number
  /** Epoch milliseconds. */
  #probeAtMs: number
  /** Whose probes failed: somebody else has to try first, or one crafted request could fail them all. */
  readonly #failedFor = new Set<string>()

  constructor(reason: string, code: ErrorCode, nowMs: number) {
    this.#reason = reason
    this.#code = code
    this.#probeMs = nowMs + this.#backoffMs
    this.#probeAtMs = Date.now() + this.#backoffMs
  }

  get status(): QuarantineStatus {
    return {
      by: "breaker",
      reason: this.#reason,
      sinceMs: this.#sinceMs,
      probeAtMs: this.#probeAtMs,
      code: this.#code,
    }
  }

  admits(prefix: string, nowMs: number): boolean {
    if (this.probing !== null && nowMs - this.probeStartedMs < PROBE_MS) return false
    const waitMs = this.#failedFor.has(prefix) ? this.#backoffMs : 0
    return nowMs >= this.#probeMs + waitMs
  }

  failedProbe(prefix: string, nowMs: number): void {
    if (this.#failedFor.size < MAX_PREFIXES) this.#failedFor.add(prefix)
    this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS)
    this.#probeMs = nowMs + this.#backoffMs
    this.#probeAtMs = Date.now() + this.#backoffMs
  }
}

/** Failures that the plugin is in for although its code did nothing wrong: what another call broke, and refusals for want of room. */
const INNOCENT: ReadonlySet<ErrorCode> = new Set(["E_INSTANCE_RESET", "E_LANE_FULL", "E_PLUGIN_QUARANTINED"])

function isGuestsDoing(code: ErrorCode): boolean {
  return ERRORS[code].blame === "guest" && !INNOCENT.has(code)
}
