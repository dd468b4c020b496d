import { it } from "node:test"
import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { NO_C } from "./compile-c.ts"
import { loadWasm } from "./load-wasm.ts"

if (NO_C !== false) it("wasm passes the contract", { skip: NO_C })
else {
  sandboxContract("wasm", loadWasm, {
    topLevel: {
      fails: ["E_PLUGIN_LOAD_FAILED", /_initialize/],
      spins: ["E_LIMIT_FUEL", /_initialize/],
    },
  })
}
