/**
 * The boundary between a serving process and who drives it: the process itself when there is only one, otherwise the
 * supervisor over IPC. There is no code here. `createServer` makes one.
 */
import type { ProcessStatus, StackEntry } from "../admin/control.ts"
import type { Config } from "../config/schema.ts"
import type { MetricFamily } from "../telemetry/metric-family.ts"

export interface ServerProcess extends AsyncDisposable {
  /**
   * Opens the port.
   * @returns Where it listens; `port` is the real one when the configuration says 0.
   * @throws {BextError} `E_PORT_IN_USE`, `E_CONFIG_INVALID`.
   */
  listen(): Promise<{ url: string; address: string; port: number }>
  /** `crashes` is 0: a process does not know those of its slot. */
  status(): ProcessStatus
  stack(): readonly StackEntry[]
  metrics(): readonly MetricFamily[]
  /**
   * Builds the next snapshot beside the serving one: plugins that changed are loaded and started, what did not change is
   * kept. Nothing of it serves yet. One at a time.
   * @throws {BextError} Why it cannot serve; nothing is left behind then.
   */
  prepare(config: Config): Promise<PreparedSnapshot>
  /** Takes a plugin out of service, or back in; written to the state, so that every process and every restart sees it. */
  quarantine(plugin: string, reason: string): Promise<void>
  release(plugin: string): Promise<void>
  /**
   * Decides what `ctx.leader` says from now on. At first it is false.
   * @returns what resolves, for a process that leads no more, when the plugins that only the leader runs have ended here.
   */
  setLeader(leader: boolean): Promise<void>
  /** A listener of another process of this server (admin): guests' fetches never reach it. */
  addOwnListener(address: string, port: number): void
  /** Drains: answers what is in flight, at most `server.grace`, then stops the plugins and closes the state. */
  close(): Promise<void>
}

export interface PreparedSnapshot {
  /** Number it will have. */
  readonly snapshot: number
  readonly loaded: readonly string[]
  readonly kept: readonly string[]
  readonly removed: readonly string[]
  /** Puts it into service: the next request is the first to see it. The old one retires and is cleaned up when it has drained or `server.grace` is over. */
  commit(): void
  /** Throws it away. */
  abort(): Promise<void>
}

/**
 * Fields of the configuration that a snapshot cannot change: they belong to the process or its sockets. A change needs
 * new processes.
 */
export type ProcessField =
  | "server"
  | "log"
  | "state"
  | "admin"
  | "sandbox.max_instances"
  | "sandbox.max_guest_memory_mb"
