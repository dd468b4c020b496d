import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

/** A program outside npm that some tests drive. */
export interface TestProgram {
  readonly command: string
  readonly debianPackage: string
  /** The tests that are skipped without it. */
  readonly usedBy: string
}

export const CHROMIUM: TestProgram = {
  command: "chromium",
  debianPackage: "chromium",
  usedBy: "the example site and the admin listener in a real browser",
}
export const NGINX: TestProgram = {
  command: "nginx",
  debianPackage: "nginx-light",
  usedBy: "the reverse proxy in front of a real nginx",
}

export const FAKETIME: TestProgram = {
  command: "faketime",
  debianPackage: "faketime",
  usedBy: "steps of the system's clock under a running server",
}

export const CLANG: TestProgram = {
  command: "clang",
  debianPackage: "clang",
  usedBy: "guests in C",
}
/** clang's linker for WebAssembly. */
export const WASM_LD: TestProgram = {
  command: "wasm-ld",
  debianPackage: "lld",
  usedBy: "guests in C",
}

export const TEST_PROGRAMS: readonly TestProgram[] = [CHROMIUM, NGINX, FAKETIME, CLANG, WASM_LD]

export function isInstalled(program: TestProgram): boolean {
  return findProgram(program) !== undefined
}

/** Absolute path of the program, looked for in PATH and in the folders of system programs. */
export function findProgram({ command }: TestProgram): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/bin"]
  return folders.map((folder) => join(folder, command)).find(isExecutable)
}

/** For `it(title, { skip: missing(CHROMIUM) }, …)`: the reason, or false when the program is there. */
export function missing(program: TestProgram): string | false {
  return isInstalled(program) ? false : `${program.command} is not installed (Debian package ${program.debianPackage})`
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
