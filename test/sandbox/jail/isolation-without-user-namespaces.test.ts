import { it } from "node:test"
import { NO_C } from "./attacks/compile-program.ts"
import { isolationAttacks } from "./attacks/isolation-attacks.ts"

/** What programs run as when root starts them. */
const JAILED = 65534

// Many systems forbid user namespaces to everybody. Root then keeps a few capabilities until the program starts.
const title = "a program in a jail that root started where user namespaces are forbidden"
const skip = (process.getuid?.() !== 0 && "this is not root") || NO_C
if (skip !== false) it(title, { skip })
else await isolationAttacks(title, { uid: null, without: ["user namespaces"] }, JAILED)
