import { after } from "node:test"
import { type LoadFixture, sandboxContract } from "../../contracts/sandbox-contract.ts"
import { JAVASCRIPT, javascriptContract } from "../../sandbox/quickjs/javascript-contract.ts"
import { LaneBench } from "./lane-fixtures.ts"

const bench = await LaneBench.open()
after(() => bench[Symbol.asyncDispose]())

const load: LoadFixture = (guest, options) => bench.load(guest, options, { wanted: "worker" })
sandboxContract("quickjs in a lane", load, { ...JAVASCRIPT, elsewhere: true })
javascriptContract("quickjs in a lane", load)
