import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { JAVASCRIPT, javascriptContract } from "./javascript-contract.ts"
import { loadQuickjs } from "./load-quickjs.ts"

sandboxContract("quickjs", loadQuickjs, JAVASCRIPT)
javascriptContract("quickjs", loadQuickjs)
