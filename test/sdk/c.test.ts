import { execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, renameSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { CLANG, findProgram, missing, WASI_CLANG, WASM_LD } from "../support/programs.ts"
import { exampleBehaviour } from "./example-behaviour.ts"
import { sdkSurface } from "./support-surface.ts"

const HEADER = fileURLToPath(new URL("../../sdk/c/bext.h", import.meta.url))

/** The command of sdk/README.md. */
const BARE = "--target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -o plugin.wasm src/plugin.c"
const WASI = "--target=wasm32-wasi -mexec-model=reactor -O2 -o plugin.wasm src/plugin.c"

function build(folder: string, clang: string, command: string): void {
  copyFileSync(HEADER, join(folder, "src/bext.h"))
  // With wasm-opt on PATH, as in npm's scripts, clang would let it rewrite the module, and names of functions be lost.
  const env = { ...process.env, PATH: [clang, findProgram(WASM_LD)!].map(dirname).join(delimiter) }
  const options = { cwd: folder, env, stdio: "pipe", timeout: 60_000 } as const
  execFileSync(clang, [...command.split(" "), "-Wall", "-Wextra", "-Werror"], options)
}

/** The fixture is one file. */
function buildFixture(folder: string, clang: string, command: string): void {
  mkdirSync(join(folder, "src"))
  renameSync(join(folder, "plugin.c"), join(folder, "src/plugin.c"))
  build(folder, clang, command)
}

const skip = missing(CLANG, WASM_LD)

exampleBehaviour({ language: "c", skip, build: (folder) => build(folder, findProgram(CLANG)!, BARE) })

sdkSurface({
  title: "SDK for C",
  language: "c",
  skip,
  lastWords: [],
  build: (folder) => buildFixture(folder, findProgram(CLANG)!, BARE),
})

sdkSurface({
  title: "SDK for C with a C library",
  language: "c",
  lastWords: [],
  skip: missing(WASI_CLANG, WASM_LD),
  build: (folder) => buildFixture(folder, findProgram(WASI_CLANG)!, WASI),
})
