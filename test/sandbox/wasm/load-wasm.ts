import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import type { Sandbox } from "../../../src/sandbox/sandbox.ts"
import { createWasmTier } from "../../../src/sandbox/wasm/tier.ts"
import type { Fixture, LoadOptions, TierTraits } from "../../contracts/sandbox-contract.ts"
import { compileC } from "./compile-c.ts"

const tier = createWasmTier()

/** Compiles and loads the form in C of a guest fixture. */
export async function loadWasm(guest: Fixture, { services, limits, instance }: LoadOptions): Promise<Sandbox> {
  const entry = await compileC(fileURLToPath(new URL(`../../fixtures/guests/${guest}/guest.c`, import.meta.url)))
  return (await tier).load({ name: guest, folder: dirname(entry), entry }, services, limits, instance)
}

/** What the contract of all tiers leaves to this one. */
export const WASM: TierTraits = {
  topLevel: {
    fails: ["E_PLUGIN_LOAD_FAILED", /_initialize/],
    spins: ["E_LIMIT_FUEL", /_initialize/],
  },
  deeds: [
    ["spin-forever", "E_LIMIT_FUEL"],
    ["trap", "E_GUEST_TRAPPED"],
    ["point-outside-memory", "E_GUEST_TRAPPED"],
  ],
}
