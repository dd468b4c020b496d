import { scaffoldScript } from "./scaffold-script.ts"
import { scaffoldWasm, type WasmLanguage } from "./scaffold-wasm.ts"

export type Language = "js" | "ts" | WasmLanguage

/** A new plugin. What it does is there to be replaced. */
export interface Scaffold {
  /** Path in the plugin's folder → text. */
  readonly files: ReadonlyMap<string, string>
  /** What to tell people of `files`: a folder that is a copy of an SDK counts as one. */
  readonly shown: readonly string[]
  /** Null: the plugin runs as it is. */
  readonly build: Build | null
}

export interface Build {
  /** For a shell in the plugin's folder. */
  readonly command: string
  /** What it needs, and where that comes from. */
  readonly toolchain: string
  /** The programs of the toolchain. */
  readonly programs: readonly string[]
  /** A command for before the first build; null: there is none. */
  readonly once: string | null
}

/** @throws {Error} When the files of the SDK cannot be read. */
export function scaffold(name: string, language: Language): Scaffold {
  return language === "js" || language === "ts" ? scaffoldScript(name, language) : scaffoldWasm(name, language)
}
