import { fileURLToPath } from "node:url"
import type { JailLauncher } from "../../../src/sandbox/jail/launcher.ts"
import { createJailTier } from "../../../src/sandbox/jail/tier.ts"
import type { ProgramSource } from "../../../src/sandbox/sandbox.ts"
import type { LoadFixture, TierTraits } from "../../contracts/sandbox-contract.ts"

const MIB = 1024 * 1024

/** The Python that jails see; another one may come first on PATH. */
export const PYTHON = "/usr/bin/python3"

export const PROGRAM: ProgramSource = {
  interpreter: PYTHON,
  capabilities: ["middleware", "transform", "lifecycle", "cache_backend"],
  jails: 1,
  minIsolation: "process",
  data: null,
  readOnlyPaths: [],
  cpus: 2,
  pids: 64,
  openFiles: 128,
  fileBytes: 16 * MIB,
  tmpBytes: 16 * MIB,
}

/** What Python needs before it does anything, and what it has to grow. */
const PYTHON_BYTES = 64 * MIB

/** Loads the form in Python of a guest fixture. All of them are in the folder of the plugin, for the module that they share. */
export function jailLoader(launcher: JailLauncher): LoadFixture {
  const tier = createJailTier(launcher)
  const folder = fileURLToPath(new URL("../../fixtures/guests", import.meta.url))
  return (guest, { services, limits, instance }) =>
    tier.load(
      { name: guest, folder, entry: `${folder}/${guest}/main.py`, program: PROGRAM },
      services,
      { ...limits, memoryBytes: Math.max(limits.memoryBytes, PYTHON_BYTES) },
      instance,
    )
}

/** What the contract of all tiers leaves to this one. */
export function jailTraits({ isolation }: JailLauncher): TierTraits {
  return {
    program: {
      catches: "E_PERMISSION",
      recursion: "E_GUEST_THREW",
      fullMemory: isolation.cgroups === "none" ? "E_GUEST_THREW" : "E_LIMIT_MEMORY",
    },
    topLevel: {
      fails: ["E_PLUGIN_LOAD_FAILED", /AttributeError/],
      // The same ten seconds are those of the wall clock, which comes first.
      spins: ["E_LIMIT_TIME", /hello|10000 ms/],
    },
  }
}
