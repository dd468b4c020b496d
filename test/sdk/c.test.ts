import { execFileSync } from "node:child_process"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CLANG, findProgram, missing, WASM_LD } from "../support/programs.ts"
import { exampleBehaviour } from "./example-behaviour.ts"

const HEADER = fileURLToPath(new URL("../../sdk/c/bext.h", import.meta.url))

exampleBehaviour({
  language: "c",
  skip: missing(CLANG, WASM_LD),
  build(folder) {
    copyFileSync(HEADER, join(folder, "src/bext.h"))
    const options = "--target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o plugin.wasm"
    execFileSync(findProgram(CLANG)!, [...options.split(" "), "-Wall", "-Wextra", "-Werror", "src/plugin.c"], {
      cwd: folder,
    })
  },
})
