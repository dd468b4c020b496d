import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, readFile, rename, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { CLANG, findProgram, missing, WASM_LD } from "../../support/programs.ts"

const HEADER = fileURLToPath(new URL("../../../sdk/c/bext.h", import.meta.url))
const FLAGS = ["--target=wasm32-unknown-unknown", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wall", "-Werror"]
const BUILT = join(tmpdir(), "bext-test-guests")

/** Why guests in C cannot be made here; false: they can. */
export const NO_C: string | false = missing(CLANG) || missing(WASM_LD)

/**
 * Compiles one file of C with the SDK's header. What was compiled once is kept in the folder of temporary files.
 * @returns the module's path.
 */
export async function compileC(file: string): Promise<string> {
  const [source, header] = await Promise.all([readFile(file), readFile(HEADER)])
  const hash = createHash("sha256")
    .update(`${FLAGS.join(" ")}\0`)
    .update(source)
    .update("\0")
    .update(header)
    .digest("hex")
  const folder = join(BUILT, hash)
  const module = join(folder, "guest.wasm")
  if (existsSync(module)) return module
  await mkdir(folder, { recursive: true })
  // Test files compile the same guest at the same time: each its own, and the last one stays.
  const own = join(folder, `${process.pid}-${++compiled}.wasm`)
  try {
    // Without PATH: clang would have a wasm-opt that it finds there rework the module, and drop its names.
    await promisify(execFile)(findProgram(CLANG)!, [...FLAGS, "-I", join(HEADER, ".."), "-o", own, file], { env: {} })
    await rename(own, module)
  } finally {
    await rm(own, { force: true })
  }
  return module
}

let compiled = 0
