/**
 * What the admin listener may ask of a running server, whether it is one process or a supervisor with several. There is no
 * code here. `ServerProcess` is one serving process; `Control` is the whole server: for one process a thin cover of it, for
 * several the supervisor, which asks each and puts the answers together. Everything returned is plain data that survives
 * a structured clone.
 */
import type { HookName } from "../hooks.ts"
import type { QuarantineStatus } from "../plugins/breaker.ts"
import type { LaneStatus } from "../plugins/lanes/lane-status.ts"
import type { PluginStatsSnapshot } from "../plugins/plugin-stats.ts"
import type { CallLimits, InstanceMode, IsolationLevel, Json, Tier } from "../sandbox/sandbox.ts"
import type { MetricFamily } from "../telemetry/metric-family.ts"

export type { QuarantineStatus }

/** The whole server. */
export interface Control {
  /** @throws nothing: a process that does not answer in time is in the result with state `unresponsive`. */
  status(): Promise<ServerStatus>
  /** The configuration that serves, defaults applied, secrets masked. */
  config(): Json
  /** Metrics of all processes, added up. */
  metrics(): Promise<readonly MetricFamily[]>
  /**
   * Reads the configuration and every plugin again and puts the result into service in all processes, or in none. Reloads
   * asked for while one is under way become one reload after it.
   * @param by - Who asked, for the log: "SIGHUP", "admin", "watch".
   * @throws {BextError} Why the old one goes on serving.
   */
  reload(by: string): Promise<ReloadReport>
  /**
   * Takes a plugin out of service in all processes until `release`, also across reloads and restarts; calls meet its failure policy.
   * @throws {BextError} `E_NOT_FOUND`: no such plugin.
   */
  quarantine(plugin: string, reason: string): Promise<void>
  /** Ends a quarantine, the operator's or the breaker's. @throws {BextError} `E_NOT_FOUND`: no such plugin. */
  release(plugin: string): Promise<void>
  /** The last lines of the log of all processes, oldest first; JSON texts without line ends. At most 1000. */
  logTail(lines: number): Promise<readonly string[]>
  /** Calls `listener` for every further line. @returns a function that ends it. */
  followLog(listener: (line: string) => void): () => void
}

export interface ServerStatus {
  readonly version: string
  /** Epoch milliseconds. */
  readonly startedAtMs: number
  /** Where the public listener is. */
  readonly url: string
  /** Absolute path; null when the configuration did not come from a file. */
  readonly configFile: string | null
  /** The last reload; null when there was none. */
  readonly lastReload: ReloadOutcome | null
  /** Several: one for each process, in the order of their slots. */
  readonly processes: readonly ProcessStatus[]
  /** Everything a request passes, in order. Of the process that leads. */
  readonly stack: readonly StackEntry[]
}

export type ReloadOutcome = {
  /** Epoch milliseconds. */
  readonly atMs: number
  readonly by: string
} & (
  | { readonly ok: true; readonly report: ReloadReport }
  | { readonly ok: false; readonly code: string; readonly message: string }
)

export interface ReloadReport {
  /** Number of the snapshot that serves now; the first is 1. */
  readonly snapshot: number
  readonly durationMs: number
  /** Plugins that were loaded anew, because they or their settings changed. */
  readonly loaded: readonly string[]
  /** Plugins that went on as they were, instances, module state and counters included. */
  readonly kept: readonly string[]
  /** Plugins that are gone. */
  readonly removed: readonly string[]
  /** Whether the change needed new processes (rolling replacement). */
  readonly replaced: boolean
}

export interface StackEntry {
  readonly name: string
  readonly priority: number
  readonly kind: "built-in" | "plugin"
  readonly hooks: readonly string[]
  readonly tenants: readonly string[] | null
}

export interface ProcessStatus {
  readonly pid: number
  readonly state: "starting" | "serving" | "draining" | "unresponsive"
  readonly leader: boolean
  /** Epoch milliseconds. */
  readonly startedAtMs: number
  /** How often a process of this slot ended without being asked to. */
  readonly crashes: number
  readonly snapshot: number
  /** Snapshots that still finish requests, the serving one excluded. */
  readonly retiring: number
  readonly connections: number
  readonly requestsInFlight: number
  readonly websockets: number
  readonly rssBytes: number
  readonly instances: number
  readonly guestMemoryBytes: number
  /** Mean delay of the event loop over the last second, milliseconds. */
  readonly eventLoopDelayMs: number
  readonly plugins: readonly PluginStatus[]
}

/** One plugin in one process. */
export interface PluginStatus {
  readonly name: string
  readonly version: string
  readonly tier: Tier
  readonly instance: InstanceMode
  readonly priority: number
  readonly onError: "closed" | "open"
  readonly hooks: readonly HookName[]
  /** What separates it from the host, in words, e.g. "QuickJS in WebAssembly, in the server's process". */
  readonly isolation: string
  /** Of a plugin that is a program; null: it is none. */
  readonly program: ProgramStatus | null
  /** Folder or file it was loaded from. */
  readonly path: string
  readonly lane: LaneStatus
  readonly quarantine: QuarantineStatus | null
  readonly limits: { readonly memoryBytes: number; readonly calls: Readonly<Partial<Record<HookName, CallLimits>>> }
  readonly permissions: Json
  readonly stats: PluginStatsSnapshot
  readonly memoryBytes: number
  readonly instances: number
  /** How often instances were given up to make room for others. */
  readonly evictions: number
  readonly generation: number
}

export interface ProgramStatus {
  readonly level: IsolationLevel
  /** Whether it runs in the process that leads alone. */
  readonly leaderAlone: boolean
  /** Processes of it that are ready for calls. */
  readonly ready: number
  /** CPU time of all there were, milliseconds. */
  readonly cpuMs: number
  /** How often one ended that should have gone on, by the code of the reason. */
  readonly restarts: Readonly<Record<string, number>>
}

export type { LaneStatus }
