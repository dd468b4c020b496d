import { it } from "node:test"
import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { NO_C } from "./compile-c.ts"
import { loadWasm, WASM } from "./load-wasm.ts"

if (NO_C !== false) it("wasm passes the contract", { skip: NO_C })
else sandboxContract("wasm", loadWasm, WASM)
