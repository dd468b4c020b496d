import { execFile } from "node:child_process"
import { delimiter, dirname, join } from "node:path"
import { CARGO, CLANG, findProgram, GO, type TestProgram, WASM_LD, WASM_RUSTC } from "./programs.ts"

/** A language that `bext plugin init` writes plugins in, and that has to be compiled. */
export interface CompiledLanguage {
  readonly language: string
  readonly title: string
  readonly programs: readonly TestProgram[]
  /** The file with the code. */
  readonly code: string
  readonly env: () => Readonly<Record<string, string>>
}

export const COMPILED_LANGUAGES: readonly CompiledLanguage[] = [
  {
    language: "rust",
    title: "Rust",
    programs: [CARGO, WASM_RUSTC, WASM_LD],
    code: "src/lib.rs",
    // Another rustc may come first on PATH.
    env: () => ({ RUSTC: findProgram(WASM_RUSTC)!, CARGO_NET_OFFLINE: "true" }),
  },
  { language: "go", title: "Go", programs: [GO], code: "main.go", env: () => ({ GOPROXY: "off" }) },
  { language: "c", title: "C", programs: [CLANG, WASM_LD], code: "src/plugin.c", env: () => ({}) },
  // `npm install` needs a network: the compiler of this checkout stands in for what it would fetch.
  { language: "assemblyscript", title: "AssemblyScript", programs: [], code: "assembly/index.ts", env: () => ({}) },
]

export interface CommandRun {
  readonly code: number
  readonly out: string
  readonly err: string
}

const BIN = join(import.meta.dirname, "../../node_modules/.bin")

/** Runs a command of a document in a plugin's folder, with the toolchain of its language first on PATH. */
export function runInShell(command: string, cwd: string, { programs, env }: CompiledLanguage): Promise<CommandRun> {
  const folders = [dirname(process.execPath), BIN, ...programs.map((program) => dirname(findProgram(program)!))]
  const { HOME = cwd, PATH = "" } = process.env
  // Not the test runner's own variables: the child would report to it instead of to us.
  const options = { cwd, env: { HOME, ...env(), PATH: [...folders, PATH].join(delimiter) }, timeout: 150_000 }
  return new Promise((done) => {
    const child = execFile("sh", ["-c", command], options, (_error, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}
