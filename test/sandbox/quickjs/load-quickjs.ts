import { fileURLToPath } from "node:url"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { Sandbox } from "../../../src/sandbox/sandbox.ts"
import type { Fixture, LoadOptions } from "../../contracts/sandbox-contract.ts"

const tier = createQuickjsTier()

/** Loads the JavaScript form of a guest fixture. */
export async function loadQuickjs(guest: Fixture, { services, limits, instance }: LoadOptions): Promise<Sandbox> {
  const folder = fileURLToPath(new URL(`../../fixtures/guests/${guest}`, import.meta.url))
  return (await tier).load({ name: guest, folder, entry: `${folder}/index.js` }, services, limits, instance)
}
