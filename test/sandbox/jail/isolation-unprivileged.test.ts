import { it } from "node:test"
import { NO_C } from "./attacks/compile-program.ts"
import { isolationAttacks } from "./attacks/isolation-attacks.ts"

/** Nobody of importance; when this is not root, whoever it is. */
const ORDINARY = 65534
const uid = process.getuid?.() === 0 ? ORDINARY : null

const title = "a program in a jail that an ordinary user started"
if (NO_C !== false) it(title, { skip: NO_C })
else await isolationAttacks(title, { uid }, uid ?? ORDINARY)
