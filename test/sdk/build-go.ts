import { execFileSync } from "node:child_process"
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { findProgram, GO } from "../support/programs.ts"

const SDK = fileURLToPath(new URL("../../sdk/go", import.meta.url))

/** Compiles the plugin in `folder`, whose go.mod has the SDK elsewhere, with a copy of the SDK beside it, and without a network. */
export function buildGo(folder: string): void {
  cpSync(SDK, join(folder, "bext"), { recursive: true, filter: (path) => path !== join(SDK, "examples") })
  const mod = join(folder, "go.mod")
  writeFileSync(mod, readFileSync(mod, "utf8").replace(/=> .*/, "=> ./bext"))
  const options = ["-buildmode=c-shared", "-trimpath", "-o", "plugin.wasm"]
  execFileSync(findProgram(GO)!, ["build", ...options, "."], {
    cwd: folder,
    env: { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOPROXY: "off", GOFLAGS: "-mod=mod" },
  })
}
