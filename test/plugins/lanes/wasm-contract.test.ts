import { after, it } from "node:test"
import { createWasmTier } from "../../../src/sandbox/wasm/tier.ts"
import { type LoadFixture, sandboxContract } from "../../contracts/sandbox-contract.ts"
import { NO_C } from "../../sandbox/wasm/compile-c.ts"
import { WASM } from "../../sandbox/wasm/load-wasm.ts"
import { LaneBench } from "./lane-fixtures.ts"

if (NO_C !== false) it("wasm in a lane passes the contract", { skip: NO_C })
else {
  const bench = await LaneBench.open({}, createWasmTier())
  after(() => bench[Symbol.asyncDispose]())
  const load: LoadFixture = (guest, options) => bench.load(guest, options, { wanted: "worker" })
  sandboxContract("wasm in a lane", load, { ...WASM, elsewhere: true })
}
