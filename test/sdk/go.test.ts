import { execFileSync } from "node:child_process"
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { findProgram, GO, missing } from "../support/programs.ts"
import { exampleBehaviour } from "./example-behaviour.ts"

const SDK = fileURLToPath(new URL("../../sdk/go", import.meta.url))

exampleBehaviour({
  language: "go",
  skip: missing(GO),
  build(folder) {
    cpSync(SDK, join(folder, "bext"), { recursive: true, filter: (path) => path !== join(SDK, "examples") })
    const mod = join(folder, "go.mod")
    writeFileSync(mod, readFileSync(mod, "utf8").replace("=> ../..", "=> ./bext"))
    execFileSync(
      findProgram(GO)!,
      ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", "plugin.wasm", "."],
      {
        cwd: folder,
        env: { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOPROXY: "off", GOFLAGS: "-mod=mod" },
      },
    )
  },
})
