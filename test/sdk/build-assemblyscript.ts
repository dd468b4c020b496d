import { execFileSync } from "node:child_process"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const SDK = fileURLToPath(new URL("../../sdk/assemblyscript/assembly", import.meta.url))
const COMPILER = fileURLToPath(new URL("../../node_modules/assemblyscript/bin/asc.js", import.meta.url))

/** Compiles the plugin in `folder` with a copy of the SDK in it. */
export function buildAssemblyScript(folder: string): void {
  cpSync(SDK, join(folder, "assembly/bext"), { recursive: true })
  execFileSync(process.execPath, [COMPILER], { cwd: folder })
}
