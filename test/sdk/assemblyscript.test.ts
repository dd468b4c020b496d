import { execFileSync } from "node:child_process"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { exampleBehaviour } from "./example-behaviour.ts"

const SDK = fileURLToPath(new URL("../../sdk/assemblyscript/assembly", import.meta.url))
const COMPILER = fileURLToPath(new URL("../../node_modules/assemblyscript/bin/asc.js", import.meta.url))

exampleBehaviour({
  language: "assemblyscript",
  skip: false,
  build(folder) {
    cpSync(SDK, join(folder, "assembly/bext"), { recursive: true })
    execFileSync(process.execPath, [COMPILER], { cwd: folder })
  },
})
