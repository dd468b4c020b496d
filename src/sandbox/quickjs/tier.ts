import { PluginError } from "../../errors.ts"
import { HOOK_NAMES, type HookName } from "../../hooks.ts"
import type { GuestServices } from "../../host/services.ts"
import type { GuestSource, HookCall, InstanceMode, Limits, Sandbox, SandboxTier } from "../sandbox.ts"
import { type Base, bootBase } from "./base.ts"
import { compileQuickjs } from "./binary.ts"
import { Call } from "./call.ts"
import { GuestError, placeOf } from "./failures.ts"
import { emptyImage } from "./image.ts"
import { type GuestSetup, Instance } from "./instance.ts"
import { libraryOf } from "./library.ts"
import { LibraryImages } from "./library-images.ts"
import { MachinePool } from "./machine-pool.ts"
import { loadGuestModules } from "./modules.ts"
import { QuickjsSandbox } from "./quickjs-sandbox.ts"

/** What evaluating a guest's top level may take. It blocks the thread, so it is short. */
const LOAD_LIMITS = { cpuMs: 1000, wallMs: 5000, fuel: 0 }

/**
 * The default tier: Bellard's QuickJS as WebAssembly, in this thread.
 * @throws {Error} when the installed engine is not the pinned one.
 */
export async function createQuickjsTier(): Promise<SandboxTier> {
  const base = bootBase(compileQuickjs())
  const pool = new MachinePool(base)
  const libraries = new LibraryImages(base, pool)
  return {
    tier: "quickjs",
    load: (source, services, limits, instance) => load(base, pool, libraries, source, services, limits, instance),
  }
}

async function load(
  base: Base,
  pool: MachinePool,
  libraries: LibraryImages,
  source: GuestSource,
  services: GuestServices,
  limits: Limits,
  mode: InstanceMode,
): Promise<Sandbox> {
  const modules = await loadGuestModules(source)
  const library = libraryOf((word) => modules.mentions(word))
  const begin = libraries.of(library.shared)
  const setup: GuestSetup = { name: source.name, base, pool, services, limits, mode, modules, begin, image: null }
  const first = new Instance(setup, pool.take(limits.memoryBytes, emptyImage(begin)))
  const nowMs = performance.now()
  const call = new Call(0, LOAD_CALL, nowMs, "the top level")
  const hooks = first.load(call, library.own, nowMs).split(",")
  if (call.failure !== null) {
    pool.giveBack(first.machine)
    throw loadFailure(source.name, first, call.failure)
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
