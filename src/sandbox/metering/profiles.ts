import { DEFAULT_MODULE_LIMITS, type ModuleLimits } from "./limits.ts"

/** How a module is metered. There are two ways: for a binary the host chose, and for one it did not. */
export type Profile = TrustedProfile | UntrustedProfile

interface Caps {
  /** Most 64 KiB pages the module's memory may have; a larger or missing declared maximum becomes this. */
  readonly maxMemoryPages: number
  /** Most entries each of the module's tables may have. */
  readonly maxTableEntries: number
  /** Also export the module's own mutable globals, so that the host can save and restore them. */
  readonly exportGlobals: boolean
}

/**
 * For one pinned binary. Only loops are charged, with a 32-bit counter: cheap, not exact. Recursion is bounded by the
 * stack alone, so never use it for a guest's module.
 */
export interface TrustedProfile extends Caps {
  readonly trust: "trusted"
  /** Units charged for one turn of a loop, at most: keeps a huge loop body from spending a slice per turn. */
  readonly maxLoopCharge: number
  /**
   * Loops in bodies of more bytes than this are not charged; there must be exactly one such body. For an interpreter's
   * main function, which asks the host by itself when to stop.
   */
  readonly unmeteredAboveBytes: number
  /** Replaces the initial size of an imported memory; null keeps the module's own. */
  readonly initialMemoryPages: number | null
  /** Names of the module's own exports to keep: V8 makes an object for each in every instance. Null keeps all. */
  readonly keepExports: ReadonlySet<string> | null
}

/** For modules of plugins: all code is charged, every circle of branches or calls has a check, 64-bit counter. */
export interface UntrustedProfile extends Caps {
  readonly trust: "untrusted"
  readonly limits: ModuleLimits
}

/** The QuickJS binary. Its bytecode interpreter, the one body over 20,000 bytes, polls the interrupt handler instead. */
export const QUICKJS_PROFILE: TrustedProfile = {
  trust: "trusted",
  maxLoopCharge: 16,
  unmeteredAboveBytes: 20_000,
  initialMemoryPages: null,
  keepExports: null,
  maxMemoryPages: 1024,
  maxTableEntries: 10_000,
  exportGlobals: true,
}

/** Modules of plugins, with the default limits; a manifest's memory limit replaces `maxMemoryPages`. */
export const GUEST_PROFILE: UntrustedProfile = {
  trust: "untrusted",
  limits: DEFAULT_MODULE_LIMITS,
  maxMemoryPages: 1024,
  maxTableEntries: 10_000,
  exportGlobals: true,
}
