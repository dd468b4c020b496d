/**
 * What a serving thread and its lane say to each other. Everything is plain data that `postMessage` copies. Both ends are
 * bext: what a guest may choose in it was checked where the guest said it.
 */
import type { PlainError } from "../../errors.ts"
import type { HookName } from "../../hooks.ts"
import type { ServiceOptions } from "../../host/create-services.ts"
import type { GuestFetchRequest, GuestFetchResponse, LogLevel } from "../../host/services.ts"
import type {
  CallLimits,
  ExchangeChanges,
  ExchangeData,
  GuestCopy,
  GuestState,
  Json,
  Tier,
} from "../../sandbox/sandbox.ts"
import type { GuestAccess } from "../guest-access.ts"

/** `workerData` of the lane's thread. */
export interface LaneThreadData {
  /** Folder of the state. */
  readonly stateDir: string
  /** What `openThread` of each tier gave that there was when the thread began. */
  readonly tiers: ReadonlyMap<Tier, unknown>
}

/** What the guest may ask for and see, as the plugin was loaded with. */
export interface LaneRights extends ServiceOptions {
  /** `headers`: the identity headers its `HeaderAccess` knows. */
  readonly access: Omit<GuestAccess, "headers"> & { readonly headers: readonly string[] }
}

export interface LaneCall {
  readonly hook: HookName
  readonly exchange: ExchangeData | null
  readonly params: readonly Json[]
  readonly tenant: string | null
  readonly limits: CallLimits
  readonly leader: boolean
  /** When it came to the serving thread, on the clock of `sharedNowMs`. */
  readonly startedMs: number
}

/** Guests and calls have numbers that the serving thread gives; they are never given twice to one lane. */
export type ToLane =
  /** A tier that came later, ahead of its first guest. */
  | { readonly type: "tier"; readonly tier: Tier; readonly part: unknown }
  | {
      readonly type: "open"
      readonly guest: number
      readonly copy: GuestCopy
      readonly state: GuestState
      readonly rights: LaneRights
    }
  | { readonly type: "call"; readonly guest: number; readonly id: number; readonly call: LaneCall }
  /** Nobody waits for the call any more. */
  | { readonly type: "abort"; readonly id: number }
  /** Asks for the guest's state, if it is idle, and ends it then. */
  | { readonly type: "take"; readonly guest: number }
  | { readonly type: "close"; readonly guest: number }
  | { readonly type: "fetched"; readonly id: number; readonly response: GuestFetchResponse | PlainError }
  /** The last message: save what is to be saved, and end. */
  | { readonly type: "end" }

export type FromLane =
  /** The first message: the thread has started. */
  | { readonly type: "up" }
  /** The call waits for something; the next one may run. */
  | { readonly type: "waits"; readonly guest: number; readonly id: number }
  | {
      readonly type: "answer"
      readonly guest: number
      readonly id: number
      readonly usage: LaneUsage
      /** By this call. */
      readonly fuelUsed: number
      readonly result: Json | undefined
      readonly changes: ExchangeChanges | null
      readonly error: PlainError | null
    }
  /** Null: it is not idle, and stays. */
  | { readonly type: "state"; readonly guest: number; readonly state: GuestState | null }
  | { readonly type: "fetch"; readonly guest: number; readonly id: number; readonly request: GuestFetchRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "words"; readonly guest: number; readonly words: LaneWords }
  /** For the operator: what the lane itself has to report. */
  | { readonly type: "trouble"; readonly message: string }

/** What a guest said since the last time, in order. */
export interface LaneWords {
  readonly lines: (readonly [LogLevel, string])[]
  readonly samples: (readonly [string, number, Readonly<Record<string, string>>])[]
  /** Header fields it wanted to read that are hidden from it. */
  readonly hidden: string[]
}

/** What a guest has used of the lane so far. */
export interface LaneUsage {
  readonly busyMs: number
  readonly entries: number
  readonly generation: number
  readonly memoryBytes: number
  readonly instances: number
  readonly evictions: number
}

export const NO_USAGE: LaneUsage = { busyMs: 0, entries: 0, generation: 0, memoryBytes: 0, instances: 0, evictions: 0 }

/** Milliseconds on a monotonic clock that all threads of the process share. */
export function sharedNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Bytes that own their memory: of a part of a larger buffer, `postMessage` would copy the whole. */
export function ownBytes<T extends Uint8Array | null>(bytes: T): T {
  if (bytes === null || bytes.byteLength === bytes.buffer.byteLength) return bytes
  return Uint8Array.prototype.slice.call(bytes) as T
}
