import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"

/** A program outside npm that some tests drive. */
export interface TestProgram {
  readonly command: string
  /** Debian packages that bring it. Empty: Debian's is of no use, see `source`. */
  readonly debianPackages: readonly string[]
  /** The tests that are skipped without it. */
  readonly usedBy: string
  /** Whether the program at this path can do what the tests need; default: every one can. */
  readonly suits?: (path: string) => boolean
  /** Where else it comes from. */
  readonly source?: string
}

export const CHROMIUM: TestProgram = {
  command: "chromium",
  debianPackages: ["chromium"],
  usedBy: "the example site and the admin listener in a real browser",
}
export const NGINX: TestProgram = {
  command: "nginx",
  debianPackages: ["nginx-light"],
  usedBy: "the reverse proxy in front of a real nginx",
}

export const FAKETIME: TestProgram = {
  command: "faketime",
  debianPackages: ["faketime"],
  usedBy: "steps of the system's clock under a running server",
}

export const CLANG: TestProgram = { command: "clang", debianPackages: ["clang"], usedBy: "plugins in C" }
export const WASM_LD: TestProgram = { command: "wasm-ld", debianPackages: ["lld"], usedBy: "plugins in C and Rust" }

/** clang that also has a C library and its own runtime library for WebAssembly. */
export const WASI_CLANG: TestProgram = {
  command: "clang",
  debianPackages: ["wasi-libc", "libclang-rt-14-dev-wasm32"],
  usedBy: "plugins in C with a C library",
  suits: (path) =>
    ["libc.a", "libclang_rt.builtins-wasm32.a"].every((file) =>
      existsSync(ask(path, "--target=wasm32-wasi", `-print-file-name=${file}`)),
    ),
}

/** Another rustc may come first on PATH and lack the target. */
export const WASM_RUSTC: TestProgram = {
  command: "rustc",
  debianPackages: ["rustc", "libstd-rust-dev-wasm32"],
  usedBy: "plugins in Rust",
  suits: (path) => existsSync(join(ask(path, "--print", "sysroot"), "lib/rustlib/wasm32-unknown-unknown/lib")),
}
/** The one beside that rustc: another does not understand what it answers. */
export const CARGO: TestProgram = {
  command: "cargo",
  debianPackages: ["cargo"],
  usedBy: "plugins in Rust",
  suits: (path) => dirname(path) === dirname(findProgram(WASM_RUSTC) ?? ""),
}

export const GO: TestProgram = {
  command: "go",
  debianPackages: [],
  usedBy: "plugins in Go, and the TCK of the http-wasm ABI",
  suits: (path) => isGo124(ask(path, "env", "GOVERSION")),
  source: "Go 1.24 or newer from https://go.dev/dl",
}

export const BUBBLEWRAP: TestProgram = {
  command: "bwrap",
  debianPackages: ["bubblewrap"],
  usedBy: "the process jail",
}
export const PYTHON: TestProgram = {
  command: "python3",
  debianPackages: ["python3"],
  usedBy: "jailed plugins in Python",
  // Another one may come first in PATH, which a jail does not see.
  suits: (path) => path === "/usr/bin/python3",
}
export const RUBY: TestProgram = { command: "ruby", debianPackages: ["ruby"], usedBy: "jailed plugins in Ruby" }

export const TEST_PROGRAMS: readonly TestProgram[] = [
  CHROMIUM,
  NGINX,
  FAKETIME,
  CLANG,
  WASM_LD,
  WASI_CLANG,
  WASM_RUSTC,
  CARGO,
  GO,
  BUBBLEWRAP,
  PYTHON,
  RUBY,
]

export function isInstalled(program: TestProgram): boolean {
  return findProgram(program) !== undefined
}

const found = new Map<TestProgram, string>()

/** Absolute path of the program, looked for in PATH and in the folders of system programs. */
export function findProgram(program: TestProgram): string | undefined {
  const known = found.get(program)
  if (known !== undefined) return known
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/bin"]
  const paths = new Set(folders.map((folder) => join(folder, program.command)))
  const path = [...paths].find((path) => isExecutable(path) && (program.suits?.(path) ?? true))
  if (path !== undefined) found.set(program, path)
  return path
}

/**
 * For `it(title, { skip: missing(CHROMIUM) }, …)`: the reason, or false when every program is there.
 * @throws {Error} with CI=true, where nothing is skipped.
 */
export function missing(...programs: readonly TestProgram[]): string | false {
  const absent = programs.filter((program) => !isInstalled(program))
  if (absent.length === 0) return false
  const reason = absent.map((program) => `${program.command} is not installed (${whence(program)})`).join("; ")
  if (process.env.CI === "true") throw new Error(reason)
  return reason
}

/** Where the program comes from, for people. */
export function whence({ debianPackages, source }: TestProgram): string {
  return source ?? `Debian package${debianPackages.length === 1 ? "" : "s"} ${debianPackages.join(", ")}`
}

/** The one line that the program answers; empty when it fails. */
function ask(path: string, ...args: string[]): string {
  return spawnSync(path, args, { encoding: "utf8", timeout: 30_000 }).stdout?.trim() ?? ""
}

function isGo124(version: string): boolean {
  const match = /^go(\d+)\.(\d+)/.exec(version)
  return match !== null && (Number(match[1]) > 1 || Number(match[2]) >= 24)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
