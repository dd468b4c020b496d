import type { Logger } from "pino"
import type { Control, ProcessStatus, ReloadReport, ServerStatus, StackEntry } from "../admin/control.ts"
import { toPublicConfig } from "../admin/public-config.ts"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"
import { type LogTail, mergeLogLines } from "../telemetry/log-tail.ts"
import { MetricLedger, mergeFamilies } from "../telemetry/merge-families.ts"
import type { MetricFamily } from "../telemetry/metric-family.ts"
import type { Child } from "./child.ts"
import { type ConfigSource, toConfig } from "./config-source.ts"
import type { Method, Requests } from "./messages.ts"
import { ReloadDriver } from "./reload-driver.ts"
import type { Slot } from "./slot.ts"
import type { Applied, Supervisor } from "./supervisor.ts"

export interface SupervisorControlOptions {
  readonly source: ConfigSource
  readonly supervisor: Supervisor
  readonly version: string
  readonly logger: Logger
  /** The supervisor's own lines. */
  readonly logTail: LogTail
  /** Fields that a snapshot cannot change and that differ. */
  readonly changedProcessFields: (old: Config, next: Config) => readonly string[]
  /** Called after each reload that changed something, with what serves now. */
  readonly reloaded: (config: Config) => void
}

/** The whole server when it is several processes: asks each and puts the answers together. */
export class SupervisorControl implements Control {
  readonly #options: SupervisorControlOptions
  readonly #reloads: ReloadDriver
  readonly #startedAtMs = Date.now()
  readonly #ledger = new MetricLedger()
  readonly #followers = new Set<(line: string) => void>()

  constructor(options: SupervisorControlOptions) {
    const { source, logger } = options
    this.#options = options
    this.#reloads = new ReloadDriver({ source, logger, apply: (next) => this.#apply(next) })
    options.logTail.follow((line) => this.logLine(line))
  }

  async status(): Promise<ServerStatus> {
    const { version, source, supervisor } = this.#options
    const [processes, stack] = await Promise.all([this.#processes(), this.#stack()])
    return {
      version,
      startedAtMs: this.#startedAtMs,
      url: supervisor.accepted.bound.url,
      configFile: source.kind === "file" ? source.file : null,
      lastReload: this.#reloads.last,
      processes,
      stack,
    }
  }

  config(): Json {
    return toPublicConfig(this.#options.supervisor.accepted.config)
  }

  async metrics(): Promise<readonly MetricFamily[]> {
    const { serving, draining } = this.#options.supervisor
    const children = [...serving, ...draining]
    const answers = await ask(children, "metrics", null)
    for (const { child, result } of answers) this.#ledger.observe(child.pid, result)
    const answered = new Set(answers.map(({ child }) => child.pid))
    const alive = new Set(children.map(({ pid }) => pid))
    return mergeFamilies([...answers.map(({ result }) => result), this.#ledger.absent(answered, alive)])
  }

  reload(by: string): Promise<ReloadReport> {
    return this.#reloads.reload(by)
  }

  /** Each process is told, although one would do: the others would learn it from the state a moment later. */
  async quarantine(plugin: string, reason: string): Promise<void> {
    await this.#tell("quarantine", { plugin, reason })
  }

  async release(plugin: string): Promise<void> {
    await this.#tell("release", { plugin })
  }

  async logTail(lines: number): Promise<readonly string[]> {
    const { supervisor, logTail } = this.#options
    const answers = await ask([...supervisor.serving, ...supervisor.draining], "log_tail", { lines })
    return mergeLogLines([logTail.lines(lines), ...answers.map(({ result }) => result)], lines)
  }

  followLog(listener: (line: string) => void): () => void {
    // A function of its own, so that one listener may follow twice.
    const follower = (line: string) => listener(line)
    this.#followers.add(follower)
    if (this.#followers.size === 1) this.#options.supervisor.followLog(true)
    return () => {
      if (this.#followers.delete(follower) && this.#followers.size === 0) this.#options.supervisor.followLog(false)
    }
  }

  /** A line of the supervisor or of one of its processes. */
  logLine(line: string): void {
    for (const follower of this.#followers) follower(line)
  }

  async #apply(source: ConfigSource): Promise<Omit<ReloadReport, "durationMs">> {
    const { supervisor, changedProcessFields } = this.#options
    const fields = changedProcessFields(supervisor.accepted.config, toConfig(source))
    // Where nothing serves, only a process that starts can show whether it would.
    const inPlace = fields.length === 0 && supervisor.serving.length > 0
    const applied = await (inPlace ? supervisor.reload(source) : supervisor.replace(source))
    this.#options.reloaded(supervisor.accepted.config)
    return toReport(applied)
  }

  async #processes(): Promise<ProcessStatus[]> {
    const { supervisor } = this.#options
    const serving = supervisor.slots.map((slot) => this.#slotStatus(slot))
    const draining = Array.from(supervisor.draining, (child) => this.#childStatus(child, 0))
    return Promise.all([...serving, ...draining])
  }

  #slotStatus(slot: Slot): ProcessStatus | Promise<ProcessStatus> {
    if (slot.child !== null) return this.#childStatus(slot.child, slot.crashes)
    return {
      ...NOTHING,
      pid: slot.starting?.pid ?? 0,
      startedAtMs: slot.starting?.startedAtMs ?? Date.now(),
      crashes: slot.crashes,
    }
  }

  async #childStatus(child: Child, crashes: number): Promise<ProcessStatus> {
    const { pid, startedAtMs } = child
    const leader = this.#options.supervisor.leader === child
    try {
      const status = await child.request("status", null)
      return { ...status, state: child.state, leader, crashes }
    } catch (error) {
      // A process without a free file descriptor answers, but cannot look at itself.
      const isSilent = error instanceof BextError && error.code === "E_PROCESS_FAILED"
      return { ...NOTHING, pid, startedAtMs, state: isSilent ? "unresponsive" : child.state, leader, crashes }
    }
  }

  /** Of the process that leads; of another while it does not answer. */
  async #stack(): Promise<readonly StackEntry[]> {
    const { serving, leader } = this.#options.supervisor
    const answers = await ask(serving, "stack", null)
    return (answers.find(({ child }) => child === leader) ?? answers[0])?.result ?? []
  }

  async #tell<M extends "quarantine" | "release">(method: M, params: Requests[M]["params"]): Promise<void> {
    const { serving } = this.#options.supervisor
    if (serving.length === 0) throw new BextError("E_PROCESS_FAILED", "no serving process is there to be told")
    const results = await Promise.allSettled(serving.map((child) => child.request(method, params)))
    const failures = results.filter((result) => result.status === "rejected")
    if (failures.length === results.length) throw failures[0]!.reason
  }
}

/** What is said of a process that says nothing. */
const NOTHING: ProcessStatus = {
  pid: 0,
  state: "starting",
  leader: false,
  startedAtMs: 0,
  crashes: 0,
  snapshot: 0,
  retiring: 0,
  connections: 0,
  requestsInFlight: 0,
  websockets: 0,
  rssBytes: 0,
  instances: 0,
  guestMemoryBytes: 0,
  eventLoopDelayMs: 0,
  plugins: [],
}

interface Answer<M extends Method> {
  readonly child: Child
  readonly result: Requests[M]["result"]
}

/** The answers of those that answer. */
async function ask<M extends Method>(
  children: readonly Child[],
  method: M,
  params: Requests[M]["params"],
): Promise<Answer<M>[]> {
  const results = await Promise.allSettled(
    children.map(async (child) => ({ child, result: await child.request(method, params) })),
  )
  return results.filter((result) => result.status === "fulfilled").map(({ value }) => value)
}

/** Processes differ when one of them started later than the others. */
function toReport({ prepared, replaced }: Applied): Omit<ReloadReport, "durationMs"> {
  const loaded = new Set(prepared.flatMap((report) => report.loaded))
  const kept = new Set(prepared.flatMap((report) => report.kept))
  const removed = new Set(prepared.flatMap((report) => report.removed))
  return {
    snapshot: Math.max(1, ...prepared.map(({ snapshot }) => snapshot)),
    loaded: [...loaded],
    kept: [...kept].filter((name) => !loaded.has(name)),
    removed: [...removed],
    replaced,
  }
}
