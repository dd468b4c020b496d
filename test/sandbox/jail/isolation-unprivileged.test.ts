import { it } from "node:test"
import { CLOSED } from "../../support/closed-checkout.ts"
import { NO_C } from "./attacks/compile-program.ts"
import { isolationAttacks } from "./attacks/isolation-attacks.ts"

/** Nobody of importance; when this is not root, whoever it is. */
const ORDINARY = 65534
const uid = process.getuid?.() === 0 ? ORDINARY : null

const title = "a program in a jail that an ordinary user started"
const skip = NO_C || CLOSED
if (skip !== false) it(title, { skip })
else await isolationAttacks(title, { uid }, uid ?? ORDINARY)
