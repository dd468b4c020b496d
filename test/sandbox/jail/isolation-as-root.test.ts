import assert from "node:assert/strict"
import { it } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import { NO_C } from "./attacks/compile-program.ts"
import { isolationAttacks } from "./attacks/isolation-attacks.ts"

const NOT_ROOT = process.getuid?.() !== 0 && "this is not root"

/** What programs run as then. */
const JAILED = 65534

const skip = NOT_ROOT || NO_C
if (skip !== false) it("a program in a jail that root started", { skip })
else await isolationAttacks("a program in a jail that root started", { uid: null }, JAILED)

it("root isolates programs as well as there is: level full", { skip: NOT_ROOT }, async (t) => {
  await using launcher = await createJailLauncher({ sdkFolder: null })
  const { level, missing } = launcher.isolation
  if (process.env.CI === "true") assert.equal(level, "full", missing.join("; "))
  else if (level !== "full") t.skip(missing.join("; "))
})
