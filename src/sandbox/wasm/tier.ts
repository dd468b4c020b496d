import { readFile, stat } from "node:fs/promises"
import { relative, sep } from "node:path"
import { fromPlainError, PluginError, toPlainError } from "../../errors.ts"
import type { GuestServices } from "../../host/services.ts"
import { InstanceAccount, type InstanceCeiling, newAccount } from "../limits/instance-account.ts"
import { sharedClock } from "../limits/shared-clock.ts"
import type { GuestCopy, GuestSource, InstanceMode, Limits, Sandbox, SandboxTier } from "../sandbox.ts"
import type { Abi, CheckedModule, WaitingImport } from "./abi.ts"
import { abiOf } from "./abis.ts"
import { type CompiledGuest, type Compiler, createCompiler } from "./compile.ts"
import { toSetup, type WasmCopy } from "./guest-copy.ts"
import { type GuestSetup, NO_CALL } from "./instance.ts"
import { WasmCall } from "./wasm-call.ts"
import { type LoadedGuest, MovableWasmSandbox, openInstance, WasmSandbox } from "./wasm-sandbox.ts"

/** Far more than the largest module that is let in. */
const MAX_FILE_BYTES = 64 * 1024 * 1024

/** What a lane needs to make the same tier. */
interface TierParts {
  readonly ceiling: InstanceCeiling
  /** What this thread's clock said at an instant, and the clock both threads share. */
  readonly clock: { readonly ownMs: number; readonly sharedMs: number }
}

interface Tier {
  readonly account: InstanceAccount
  readonly compiler: Compiler
  readonly clockOffsetMs: number
}

/**
 * The tier for WebAssembly modules: run by V8, in this thread, rewritten so that they count what they use.
 * @param account - What the instances of all guests of this thread are counted on.
 */
export function createWasmTier(account = new InstanceAccount(), compiler: Compiler = createCompiler()): SandboxTier {
  return createTier({ account, compiler, clockOffsetMs: 0 })
}

/**
 * The same tier in a lane. Nothing is compiled again.
 * @param parts - What `openThread` of the tier in the serving thread gave.
 * @param toAccount - Gives the account of the lane, which has that ceiling.
 */
export function createWasmLaneTier(parts: unknown, toAccount = newAccount): SandboxTier {
  const { ceiling, clock } = parts as TierParts
  const clockOffsetMs = clock.ownMs + (sharedClock() - clock.sharedMs) - performance.now()
  return createTier({ account: toAccount(ceiling), compiler: createCompiler(), clockOffsetMs })
}

function createTier(tier: Tier): SandboxTier {
  const { account, clockOffsetMs } = tier
  return {
    tier: "wasm",
    load: (source, services, limits, mode) => load(tier, source, services, limits, mode),
    moving: {
      openThread(): TierParts {
        const clock = { ownMs: performance.now() + clockOffsetMs, sharedMs: sharedClock() }
        return { ceiling: account.divide(), clock }
      },
      revive(copy: GuestCopy, services: GuestServices) {
        const { hooks, image, contents } = copy as WasmCopy
        const setup = toSetup(copy as WasmCopy, services, account, clockOffsetMs)
        return new MovableWasmSandbox(setup, { first: null, hooks: new Set(hooks), image, contents })
      },
      closeThread: () => account.unite(),
    },
  }
}

async function load(
  { account, compiler, clockOffsetMs }: Tier,
  source: GuestSource,
  services: GuestServices,
  limits: Limits,
  mode: InstanceMode,
): Promise<Sandbox> {
  const { name } = source
  const compiled = await compile(compiler, source, limits)
  const abi = abiOf(compiled.metered.shape)
  const { hooks, waiting } = checked(name, compiled, abi)
  const setup: GuestSetup = {
    name,
    abi,
    compiled,
    services,
    limits,
    mode,
    account,
    waiting: granted(waiting, services),
    usage: { busyMs: 0, entries: 0 },
    clockOffsetMs,
  }
  const first = openInstance(setup)
  const guest: LoadedGuest = { first, hooks, image: null, contents: first.contents() }
  const nowMs = performance.now()
  const call = new WasmCall(NO_CALL, nowMs, "its start")
  first.boot(call, nowMs)
  if (call.failure !== null) {
    account.dismiss(first.bytes)
    throw loadFailure(call.failure)
  }
  // What cannot be copied stays in this thread.
  return compiled.metered.inexact === null ? new MovableWasmSandbox(setup, guest) : new WasmSandbox(setup, guest)
}

async function compile(compiler: Compiler, source: GuestSource, { memoryBytes }: Limits): Promise<CompiledGuest> {
  const { name, folder, entry } = source
  const bytes = await readModule(source)
  try {
    return await compiler.compile(name, bytes, memoryBytes)
  } catch (error) {
    const plain = toPlainError(error)
    const file = relative(folder, entry).split(sep).join("/")
    throw fromPlainError({ ...plain, what: `${file}: ${plain.what}` }, name)
  }
}

async function readModule({ name, entry, noteFile }: GuestSource): Promise<Uint8Array> {
  noteFile?.(entry)
  try {
    const { size } = await stat(entry)
    if (size > MAX_FILE_BYTES) throw new Error(`${size} bytes are more than the ${MAX_FILE_BYTES} a module may have`)
    return await readFile(entry)
  } catch (cause) {
    throw new PluginError("E_PLUGIN_LOAD_FAILED", name, `${entry}: ${(cause as Error).message}`, { cause })
  }
}

/** What went wrong before any hook was called, limits apart, is a module that cannot be loaded. */
function loadFailure(failure: PluginError): PluginError {
  if (failure.code.startsWith("E_LIMIT_")) return failure
  const said = failure.message.replace(`${failure.plugin}: `, "").replace(` [${failure.code}]`, "")
  return new PluginError("E_PLUGIN_LOAD_FAILED", failure.plugin, said, { cause: failure })
}

/** A module is checked once, however many plugins have it. */
function checked(name: string, compiled: CompiledGuest, abi: Abi): CheckedModule {
  const known = checkedModules.get(compiled)
  if (known !== undefined) return known
  const module = abi.check(name, compiled.metered.shape)
  checkedModules.set(compiled, module)
  return module
}

const checkedModules = new WeakMap<CompiledGuest, CheckedModule>()

/** Where nothing is granted the guest is refused without a wait, so it can be entered plainly. */
function granted(waiting: readonly WaitingImport[], services: GuestServices): WaitingImport[] {
  return waiting.filter(({ needs }) => needs === null || services.granted(needs))
}
