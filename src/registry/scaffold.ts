import { type ProgramLanguage, scaffoldProgram } from "./scaffold-program.ts"
import { scaffoldScript } from "./scaffold-script.ts"
import { scaffoldWasm, type WasmLanguage } from "./scaffold-wasm.ts"

export type Language = "js" | "ts" | WasmLanguage | ProgramLanguage

/** A new plugin. What it does is there to be replaced. */
export interface Scaffold {
  /** Path in the plugin's folder → text. */
  readonly files: ReadonlyMap<string, string>
  /** What to tell people of `files`: a folder that is a copy of an SDK counts as one. */
  readonly shown: readonly string[]
  /** Null: the plugin runs as it is. */
  readonly build: Build | null
  /** What has to be there to build or run it; null: what bext has itself. */
  readonly needs: Toolchain | null
  /**
   * How the plugin finds the package of bext. `always`: in its own node_modules. `missing`: there, where the project has none.
   * `test`: likewise, but beside the test alone; beside package.json `npm install` would remove it.
   */
  readonly link: "always" | "missing" | "test"
}

export interface Build {
  /** For a shell in the plugin's folder. */
  readonly command: string
  /** A command for before the first build; null: there is none. */
  readonly once: string | null
}

export interface Toolchain {
  /** For people: what it is, and where it comes from. */
  readonly what: string
  /** Its programs. */
  readonly programs: readonly string[]
}

/** @throws {Error} When the files of the SDK cannot be read. */
export function scaffold(name: string, language: Language): Scaffold {
  switch (language) {
    case "js":
    case "ts":
      return scaffoldScript(name, language)
    case "python":
    case "ruby":
    case "shell":
      return scaffoldProgram(name, language)
    default:
      return scaffoldWasm(name, language)
  }
}
