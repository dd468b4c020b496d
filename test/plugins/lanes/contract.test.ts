import { after } from "node:test"
import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { LaneBench } from "./lane-fixtures.ts"

const bench = await LaneBench.open()
after(() => bench[Symbol.asyncDispose]())

sandboxContract("quickjs in a lane", (guest, options) => bench.load(guest, options, { wanted: "worker" }), {
  elsewhere: true,
})
