/**
 * What the WASM tier and an ABI know of each other. An ABI is how a module and the host speak: which functions the module
 * imports and exports, and what they mean. There is no code here.
 */
import type { HookName } from "../../hooks.ts"
import type { GuestServices, GuestStorage } from "../../host/services.ts"
import type { ModuleShape } from "../metering/module-shape.ts"
import type { Exchange, HookCall, Json, Limits } from "../sandbox.ts"

export interface Abi {
  readonly name: "bext" | "http-wasm"
  /**
   * Checks imports and exports of a module that speaks it.
   * @param plugin - The plugin's name, for messages.
   * @throws {PluginError} `E_PLUGIN_LOAD_FAILED` naming the import or export, what is wrong with it and what is expected.
   */
  check(plugin: string, shape: ModuleShape): CheckedModule
  /**
   * Makes the functions for one instance. Nothing of the guest exists yet, its memory included.
   * @param shape - Of the module: functions it does not import need not be made. Absent: all are.
   */
  bind(guest: Guest, shape: ModuleShape): Binding
}

export interface CheckedModule {
  readonly hooks: ReadonlySet<HookName>
  /** Imports that may wait, as "module.name". Whether they are granted is the tier's to ask. */
  readonly waiting: readonly WaitingImport[]
}

export interface WaitingImport {
  readonly module: string
  readonly name: string
  /** What the operator must have granted so that the guest may wait there; null: nothing. */
  readonly needs: "fetch" | "queue" | null
}

export interface Binding {
  /**
   * Functions by module and name, at least those the module imports. One that waits returns a promise, from `guest.wait`;
   * the tier makes a suspending function of it when the entry of the module allows that.
   */
  readonly imports: Readonly<Record<string, Readonly<Record<string, ImportedFunction>>>>
  /** The instance exists: the binding looks up what it will call. Nothing may be called yet. */
  attach(exports: WebAssembly.Exports): void
  /**
   * Initialises the guest, once, before the image (WASI reactors: `_initialize`). Absent: there is nothing to do.
   */
  initialise?(): void
  /**
   * Writes what the hook is given into the guest and names the export to run. Guest code (its allocator) may run here.
   * @returns null when the guest has nothing to do with this call.
   * @throws {PluginError} `E_LIMIT_MESSAGE`.
   */
  enter(call: HookCall): Entry | null
  /**
   * The export returned `result`.
   * @returns what `Sandbox.call` returns.
   * @throws {PluginError} when the result says that the hook failed (see docs/wasm-abi.md), or has a wrong shape.
   */
  leave(call: HookCall, result: number | bigint | undefined): Json | undefined
  /** A call is over, in whatever way; what was kept for it is dropped. */
  over(): void
}

export interface Entry {
  readonly exportName: string
  readonly args: readonly (number | bigint)[]
}

/** What it gets is told by its import's type, checked at load. */
// biome-ignore lint/suspicious/noConfusingVoidType: functions without a result
export type ImportedFunction = (...args: never[]) => number | bigint | void | Promise<number | bigint | undefined>

/** One instance, as an ABI sees it. */
export interface Guest {
  /** The plugin's name. */
  readonly name: string
  readonly services: GuestServices
  readonly limits: Limits
  readonly memory: GuestMemory
  /**
   * The call that runs now; while the guest is loaded there is none.
   * @throws {PluginError} `E_GUEST_RESULT_INVALID` outside any call.
   */
  readonly call: HookCall
  /** Null outside any call. */
  readonly current: HookCall | null
  /** @throws {PluginError} `E_PERMISSION` when the call has no request. */
  readonly exchange: Exchange
  /** Storage of the running call's tenant. */
  readonly storage: GuestStorage
  /** Milliseconds of the guest's monotonic clock, whole. */
  readonly clockMs: number
  /**
   * Counts what the host does for the guest as fuel and asks the budget now and then. Every imported function calls it
   * first: 20 units, and one for each 8 bytes that it works through.
   * @throws when the budget is spent; nothing of the guest runs afterwards.
   */
  charge(units: number): void
  /**
   * Makes the guest wait.
   * @param landed - Runs when the promise is fulfilled, as if the guest had called it: it may write into the guest.
   * @param failed - The same for a rejection with a PluginError; any other rejection ends the call.
   * @param stop - Cancels the host's side when the guest is not there any more to hear of it.
   */
  wait<T>(
    promise: Promise<T>,
    landed: (value: T) => number | bigint | undefined,
    failed: (refusal: Error & { readonly code: string }) => number | bigint | undefined,
    stop?: () => void,
  ): Promise<number | bigint | undefined>
}

/**
 * The guest's linear memory. Addresses and lengths are the guest's: i32 as V8 gives them, negative for 2^31 and more, and
 * read as unsigned. Whatever lies outside ends the call with `E_GUEST_TRAPPED`, as an access by the guest itself would.
 */
export interface GuestMemory {
  /** Bytes now; the guest may grow it. */
  readonly byteLength: number
  /** All of it as it is now, for short values on the hot path: gone or moved as soon as the guest runs. Never passed on. */
  readonly u8: Uint8Array
  /** UTF-8. @throws also {PluginError} `E_GUEST_RESULT_INVALID` for invalid UTF-8, `E_LIMIT_MESSAGE` over the limit. */
  text(address: number, length: number): string
  /** A copy. @throws also `E_LIMIT_MESSAGE`. */
  bytes(address: number, length: number): Uint8Array
  /**
   * The bytes themselves: gone or moved as soon as the guest runs, its allocator included. Never passed on.
   * @throws also `E_LIMIT_MESSAGE`.
   */
  view(address: number, length: number): Uint8Array
  /** Writes all of them, or nothing. */
  write(address: number, bytes: Uint8Array): void
  /** Little-endian. */
  writeU32(address: number, value: number): void
  writeU64(address: number, value: bigint): void
  readU32(address: number): number
}
