import { execFileSync } from "node:child_process"
import { chmodSync } from "node:fs"
import { join } from "node:path"
import { CLANG, findProgram, missing } from "../../../support/programs.ts"

/** Why programs in C cannot be made here; false: they can. */
export const NO_C = missing(CLANG)

/** Compiles one file, with nothing to load at run time. @returns path of the program, for every user to run. */
export function compileProgram(source: string, folder: string, name: string): string {
  const program = join(folder, name)
  const args = ["-static", "-O1", "-Wall", "-Werror", "-pthread", "-o", program, source]
  execFileSync(findProgram(CLANG)!, args, { stdio: ["ignore", "ignore", "inherit"] })
  chmodSync(program, 0o755)
  return program
}
