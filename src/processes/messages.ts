/**
 * What the supervisor and a serving process say to each other over Node's IPC channel, as structured clones. There is no
 * code here. Both ends are bext; what guests or clients chose is only ever inside `bus` messages and status texts.
 */
import type { ProcessStatus, StackEntry } from "../admin/control.ts"
import type { LocatedProblem } from "../config/config-error.ts"
import type { ErrorCode } from "../errors.ts"
import type { BusMessage } from "../state/state.ts"
import type { MetricFamily } from "../telemetry/metric-family.ts"
import type { ConfigSource } from "./config-source.ts"

/** Asked by the supervisor, answered once by the process. */
export interface Requests {
  /** Loads everything and takes connections. Comes first, and once. */
  start: { params: StartParams; result: null }
  status: { params: null; result: ProcessStatus }
  stack: { params: null; result: readonly StackEntry[] }
  metrics: { params: null; result: readonly MetricFamily[] }
  log_tail: { params: { readonly lines: number }; result: readonly string[] }
  prepare: { params: { readonly source: ConfigSource }; result: PreparedReport }
  commit: { params: null; result: null }
  /** Also when nothing is prepared. */
  abort: { params: null; result: null }
  quarantine: { params: { readonly plugin: string; readonly reason: string }; result: null }
  release: { params: { readonly plugin: string }; result: null }
  set_leader: { params: { readonly leader: boolean }; result: null }
  own_listener: { params: { readonly address: string; readonly port: number }; result: null }
  /** Whether the connection with this number arrived; a process that is out of file descriptors never sees it. */
  arrived: { params: { readonly connection: number }; result: boolean }
  /** Drains and ends. */
  close: { params: null; result: null }
}

export interface StartParams {
  readonly source: ConfigSource
  readonly leader: boolean
  /** Where the supervisor listens. */
  readonly address: string
  readonly port: number
  readonly ownListeners: readonly { readonly address: string; readonly port: number }[]
}

export interface PreparedReport {
  readonly snapshot: number
  readonly loaded: readonly string[]
  readonly kept: readonly string[]
  readonly removed: readonly string[]
}

export type Method = keyof Requests

export type ToProcess =
  | { readonly type: "request"; readonly id: number; readonly method: Method; readonly params: unknown }
  /** Comes with a socket, unless the process had no file descriptor left for it. */
  | { readonly type: "connection"; readonly id: number }
  | { readonly type: "follow_log"; readonly on: boolean }
  | BusPost

export type FromProcess =
  | { readonly type: "result"; readonly id: number; readonly result: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: ErrorMessage }
  /** Answers `connection`, before anything is read from it. False: it may go to another process. */
  | { readonly type: "connection_taken"; readonly id: number; readonly taken: boolean }
  | { readonly type: "log_line"; readonly line: string }
  | BusPost

export interface BusPost {
  readonly type: "bus"
  readonly topic: string
  readonly message: BusMessage
}

/** An error as plain data. */
export type ErrorMessage =
  | {
      readonly kind: "config"
      readonly code: ErrorCode
      readonly file: string
      readonly problems: readonly LocatedProblem[]
    }
  /** `what` without the code. */
  | { readonly kind: "bext"; readonly code: ErrorCode; readonly what: string }
  /** A defect of bext, as Node prints it. */
  | { readonly kind: "defect"; readonly text: string }
