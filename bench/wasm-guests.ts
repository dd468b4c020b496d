import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CLANG, findProgram, missing, WASM_LD } from "../test/support/programs.ts"
import { temporaryFolder } from "./temporary-folder.ts"

/** Why guests in C cannot be made here; false: they can. */
export const NO_C = missing(CLANG, WASM_LD)

const FLAGS = ["--target=wasm32-unknown-unknown", "-O2", "-nostdlib", "-mbulk-memory", "-Wl,--no-entry"]
const SDK = fileURLToPath(new URL("../sdk/c", import.meta.url))

/** Compiles a file of bench/ in C; peers' guests get the same flags. @param defines - `NAME=VALUE`. @returns The module. */
export function compileGuest(file: string, defines: readonly string[] = []): Uint8Array<ArrayBuffer> {
  const source = fileURLToPath(new URL(file, import.meta.url))
  const module = join(temporaryFolder(), "guest.wasm")
  const args = [...FLAGS, "-I", SDK, ...defines.map((define) => `-D${define}`), "-o", module, source]
  // Without PATH: clang has a wasm-opt that it finds there rework the module.
  execFileSync(findProgram(CLANG)!, args, { env: {}, stdio: ["ignore", "ignore", "inherit"] })
  return Uint8Array.from(readFileSync(module))
}

/** Writes a plugin with this module. @param manifest - Sections after `[manifest]`. @returns Its folder. */
export function writeWasmPlugin(
  name: string,
  module: Uint8Array,
  manifest = "",
  capabilities = '"middleware"',
): string {
  const folder = join(temporaryFolder(), name)
  mkdirSync(folder)
  writeFileSync(join(folder, "plugin.wasm"), module)
  writeFileSync(
    join(folder, "plugin.toml"),
    `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n[sandbox]\ntype = "wasm"\n${manifest}`,
  )
  return folder
}
