import type { HookName } from "../../hooks.ts"
import type { GuestServices } from "../../host/services.ts"
import type { InstanceAccount } from "../limits/instance-account.ts"
import type { GuestCopy, GuestState, InstanceMode, Limits } from "../sandbox.ts"
import type { Abi, WaitingImport } from "./abi.ts"
import { ABIS } from "./abis.ts"
import type { CompiledGuest } from "./compile.ts"
import type { Image } from "./image.ts"
import type { GuestSetup } from "./instance.ts"
import type { LoadedGuest } from "./wasm-sandbox.ts"

/** A guest for another thread: its module is compiled, and compiled modules can be sent. */
export interface WasmCopy extends GuestCopy {
  readonly name: string
  readonly limits: Limits
  readonly mode: InstanceMode
  readonly hooks: readonly HookName[]
  readonly abi: Abi["name"]
  readonly compiled: CompiledGuest
  readonly waiting: readonly WaitingImport[]
  readonly image: Image
  readonly contents: LoadedGuest["contents"]
}

export interface WasmState extends GuestState {
  /** Null: it begins with the image. */
  readonly instance: Image | null
}

export function toCopy(
  setup: GuestSetup,
  { hooks, image, contents }: Pick<LoadedGuest, "hooks" | "contents"> & { readonly image: Image },
): WasmCopy {
  const { name, limits, mode, abi, compiled, waiting } = setup
  return { tier: "wasm", name, limits, mode, hooks: [...hooks], abi: abi.name, compiled, waiting, image, contents }
}

/** Makes a setup from a copy. */
export function toSetup(
  { name, limits, mode, abi, compiled, waiting }: WasmCopy,
  services: GuestServices,
  account: InstanceAccount,
  clockOffsetMs: number,
): GuestSetup {
  const usage = { busyMs: 0, entries: 0 }
  return { name, limits, mode, abi: ABIS[abi], compiled, waiting, services, account, usage, clockOffsetMs }
}
