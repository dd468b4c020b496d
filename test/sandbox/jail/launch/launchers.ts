import {
  createJailLauncher,
  type JailLauncherOptions,
} from "../../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { JailLauncher } from "../../../../src/sandbox/jail/launcher.ts"
import { BUBBLEWRAP, missing } from "../../../support/programs.ts"

type Without = NonNullable<JailLauncherOptions["without"]>

export const IS_ROOT = process.geteuid?.() === 0
export const NOT_ROOT = IS_ROOT ? false : "this is not root"
export const NO_BUBBLEWRAP = process.platform === "linux" ? missing(BUBBLEWRAP) : "this is not Linux"

/** Ways to keep programs apart, and what is left out for each. Those that need root are of no use to others. */
export const WAYS: readonly { readonly way: string; readonly without: Without; readonly root?: true }[] = [
  { way: "everything that this machine has", without: [] },
  { way: "no cgroups", without: ["cgroups"] },
  { way: "no user namespaces", without: ["user namespaces"], root: true },
  { way: "neither user namespaces nor cgroups", without: ["user namespaces", "cgroups"], root: true },
  { way: "no /proc", without: ["proc"] },
]

export function openLauncher(without: Without = [], sdkFolder: string | null = null): Promise<JailLauncher> {
  return createJailLauncher({ sdkFolder, without })
}
