import { sandboxContract } from "../../contracts/sandbox-contract.ts"
import { loadQuickjs } from "./load-quickjs.ts"

sandboxContract("quickjs", loadQuickjs)
