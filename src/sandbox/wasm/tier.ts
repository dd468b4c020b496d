import { readFile, stat } from "node:fs/promises"
import { PluginError } from "../../errors.ts"
import type { GuestServices } from "../../host/services.ts"
import { InstanceAccount } from "../limits/instance-account.ts"
import type { GuestSource, InstanceMode, Limits, Sandbox, SandboxTier } from "../sandbox.ts"
import type { Abi, WaitingImport } from "./abi.ts"
import { BEXT_ABI } from "./bext/abi.ts"
import { type CompiledGuest, type Compiler, createCompiler } from "./compile.ts"
import { type GuestSetup, NO_CALL } from "./instance.ts"
import { WasmCall } from "./wasm-call.ts"
import { openInstance, WasmSandbox } from "./wasm-sandbox.ts"

/** Far more than the largest module that is let in. */
const MAX_FILE_BYTES = 64 * 1024 * 1024

/**
 * The tier for WebAssembly modules: run by V8, in this thread, rewritten so that they count what they use.
 * @param account - What the instances of all guests of this thread are counted on.
 */
export function createWasmTier(account = new InstanceAccount(), compiler: Compiler = createCompiler()): SandboxTier {
  return {
    tier: "wasm",
    load: (source, services, limits, mode) => load({ account, compiler }, source, services, limits, mode),
  }
}

async function load(
  { account, compiler }: { readonly account: InstanceAccount; readonly compiler: Compiler },
  source: GuestSource,
  services: GuestServices,
  limits: Limits,
  mode: InstanceMode,
): Promise<Sandbox> {
  const { name } = source
  const compiled = await compiler.compile(name, await readModule(source), limits.memoryBytes)
  const abi = abiOf(compiled)
  const { hooks, waiting } = abi.check(name, compiled.metered.shape)
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
    clockOffsetMs: 0,
  }
  const first = openInstance(setup)
  const contents = first.contents()
  const nowMs = performance.now()
  const call = new WasmCall(NO_CALL, nowMs, "its start")
  first.boot(call, nowMs)
  if (call.failure === null) return new WasmSandbox(setup, first, contents, hooks)
  account.dismiss(first.bytes)
  throw call.failure
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

function abiOf(_: CompiledGuest): Abi {
  return BEXT_ABI
}

/** Where nothing is granted the guest is refused without a wait, so it can be entered plainly. */
function granted(waiting: readonly WaitingImport[], services: GuestServices): WaitingImport[] {
  return waiting.filter(({ needs }) => needs === null || services.granted(needs))
}
