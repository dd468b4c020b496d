import { PluginError } from "../../errors.ts"
import { HOOK_NAMES, type HookName } from "../../hooks.ts"
import type { GuestServices } from "../../host/services.ts"
import { InstanceAccount, type InstanceCeiling, newAccount } from "../limits/instance-account.ts"
import { sharedClock } from "../limits/shared-clock.ts"
import type { GuestCopy, GuestSource, HookCall, InstanceMode, Limits, Sandbox, SandboxTier } from "../sandbox.ts"
import { type Base, bootBase } from "./base.ts"
import { compileQuickjs } from "./binary.ts"
import { Call } from "./call.ts"
import { GuestError, placeOf } from "./failures.ts"
import { CopiedGuests, type QuickjsCopy } from "./guest-copy.ts"
import { emptyImage } from "./image.ts"
import { type GuestSetup, Instance } from "./instance.ts"
import { libraryOf } from "./library.ts"
import { LibraryImages } from "./library-images.ts"
import type { Machine } from "./machine.ts"
import { MachinePool } from "./machine-pool.ts"
import { loadGuestModules } from "./modules.ts"
import { OP_CODES } from "./ops.ts"
import { noRoom, QuickjsSandbox } from "./quickjs-sandbox.ts"

/** What evaluating a guest's top level may take. It blocks the thread, so it is short. */
const LOAD_LIMITS = { cpuMs: 1000, wallMs: 5000, fuel: 0 }

/** What a lane needs to make the same tier. */
interface TierParts {
  readonly base: Base
  readonly ceiling: InstanceCeiling
  /** What this thread's clock said at an instant, and the clock both threads share. */
  readonly clock: { readonly ownMs: number; readonly sharedMs: number }
  /** The operations this thread's code knows, by which the prelude in the base calls them. */
  readonly operations: string
}

/**
 * The default tier: Bellard's QuickJS as WebAssembly, in this thread.
 * @param account - What the instances of all guests of this thread are counted on.
 * @throws {Error} when the installed engine is not the pinned one.
 */
export async function createQuickjsTier(account = new InstanceAccount()): Promise<SandboxTier> {
  return createTier(bootBase(compileQuickjs()), account, 0)
}

/**
 * The same tier in a lane: nothing is compiled or booted again, and every address means the same.
 * @param parts - What `openThread` of the tier in the serving thread gave.
 * @param toAccount - Gives the account of the lane, which has that ceiling.
 * @throws {Error} when the files of bext have changed since the process began: this thread has other code then.
 */
export function createQuickjsLaneTier(parts: unknown, toAccount = newAccount): SandboxTier {
  const { base, ceiling, clock, operations } = parts as TierParts
  if (operations !== OPERATION_NAMES) throw new Error("bext was updated on disk; restart it")
  const offsetMs = clock.ownMs + (sharedClock() - clock.sharedMs) - performance.now()
  return createTier(base, toAccount(ceiling), offsetMs)
}

function createTier(base: Base, account: InstanceAccount, clockOffsetMs: number): SandboxTier {
  const pool = new MachinePool(base, account)
  const libraries = new LibraryImages(base, pool)
  const copied = new CopiedGuests(base, pool, clockOffsetMs)
  return {
    tier: "quickjs",
    load: (source, services, limits, instance) =>
      load({ base, pool, clockOffsetMs }, libraries, source, services, limits, instance),
    moving: {
      openThread(): TierParts {
        const clock = { ownMs: performance.now() + clockOffsetMs, sharedMs: sharedClock() }
        return { base, ceiling: account.divide(), clock, operations: OPERATION_NAMES }
      },
      revive(copy: GuestCopy, services: GuestServices) {
        const { hooks } = copy as QuickjsCopy
        return new QuickjsSandbox(copied.toSetup(copy as QuickjsCopy, services), null, new Set(hooks))
      },
      closeThread: () => account.unite(),
    },
  }
}

const OPERATION_NAMES = Object.keys(OP_CODES).join()

async function load(
  parts: Pick<GuestSetup, "base" | "pool" | "clockOffsetMs">,
  libraries: LibraryImages,
  source: GuestSource,
  services: GuestServices,
  limits: Limits,
  mode: InstanceMode,
): Promise<Sandbox> {
  const modules = await loadGuestModules(source)
  const library = libraryOf((word) => modules.mentions(word))
  const { name } = source
  let begin: GuestSetup["begin"]
  let machine: Machine
  try {
    begin = libraries.of(library.shared)
    machine = parts.pool.take(limits.memoryBytes, emptyImage(begin))
  } catch (error) {
    throw noRoom(name, error)
  }
  const setup: GuestSetup = {
    ...parts,
    name,
    services,
    limits,
    mode,
    modules,
    begin,
    image: null,
    usage: { busyMs: 0, entries: 0 },
  }
  const first = new Instance(setup, machine)
  const nowMs = performance.now()
  const call = new Call(0, LOAD_CALL, nowMs, "the top level")
  const hooks = first.load(call, library.own, nowMs).split(",")
  if (call.failure !== null) {
    parts.pool.giveBack(first.machine)
    throw loadFailure(name, first, call.failure)
  }
  return new QuickjsSandbox(setup, first, new Set(HOOK_NAMES.filter((name) => hooks.includes(name))))
}

/** The top level runs as if it were a call, so that the same budgets hold. */
const LOAD_CALL: HookCall = {
  hook: "on_server_start" satisfies HookName,
  exchange: null,
  params: [],
  tenant: null,
  limits: LOAD_LIMITS,
  leader: false,
  signal: null,
}

function loadFailure(name: string, first: Instance, failure: PluginError): PluginError {
  if (first.loadError !== null) return first.loadError
  const { code, cause } = failure
  if (code !== "E_GUEST_THREW" || !(cause instanceof GuestError)) return failure
  return new PluginError("E_PLUGIN_LOAD_FAILED", name, `${cause.message}${placeOf(cause)}`, { cause })
}
