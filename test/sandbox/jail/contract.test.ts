import { after, it } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { CLOSED } from "../../support/closed-checkout.ts"
import { jailLoader, jailTraits } from "./load-jail.ts"

// What this machine offers at best, and what is left where it offers less.
for (const without of [[], ["cgroups"], ["namespaces", "cgroups"]] as const) {
  const launcher = await createJailLauncher({ sdkFolder: null, without })
  after(() => launcher[Symbol.asyncDispose]())
  const name = `nsjail, level ${launcher.isolation.level}`
  // Only root can mount what is behind closed folders, and only in a jail.
  if (launcher.isolation.level === "process" && CLOSED) it(name, { skip: CLOSED })
  else sandboxContract(name, jailLoader(launcher), jailTraits(launcher))
}
