import { after } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { jailLoader, jailTraits } from "./load-jail.ts"

// What this machine offers at best, and what is left where it offers less.
for (const without of [[], ["cgroups"], ["namespaces", "cgroups"]] as const) {
  const launcher = await createJailLauncher({ sdkFolder: null, without })
  after(() => launcher[Symbol.asyncDispose]())
  sandboxContract(`nsjail, level ${launcher.isolation.level}`, jailLoader(launcher), jailTraits(launcher))
}
