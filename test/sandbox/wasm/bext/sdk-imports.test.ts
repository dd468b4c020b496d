import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"

/** How a language declares an import: name, parameters, result. */
const SDKS: Readonly<Record<string, { readonly file: string; readonly declaration: RegExp }>> = {
  c: { file: "c/bext.h", declaration: /BEXT_IMPORT\("(\w+)"\)\s*(?<result>\w+) bext_abi_\w+\((?<parameters>[^)]*)\)/g },
  rust: { file: "rust/src/host.rs", declaration: /^ {4}fn (\w+)\((?<parameters>[^)]*)\)(?: -> (?<result>\w+))?;/gm },
  go: {
    file: "go/internal/host/imports.go",
    declaration: /\/\/go:wasmimport bext (\w+)\n(?:\/\/.*\n)*func \w+\((?<parameters>[^)]*)\) ?(?<result>\w*)/g,
  },
  assemblyscript: {
    file: "assemblyscript/assembly/bext.ts",
    declaration: /export declare function (\w+)\((?<parameters>[^)]*)\): (?<result>\w+)/g,
  },
}

describe("the SDKs", () => {
  for (const [language, { file, declaration }] of Object.entries(SDKS)) {
    it(`declare every function of the ABI with its type: ${language}`, () => {
      const source = readFileSync(join(import.meta.dirname, "../../../../sdk", file), "utf8")
      const declared = Array.from(source.matchAll(declaration), ({ 1: name, groups }): [string, string] => {
        const { parameters = "", result = "" } = groups!
        return [name!, `(${typesOf(parameters).join(" ")}) -> (${valueType(result)})`]
      })
      const types = Array.from(FUNCTIONS, ([name, { type }]): [string, string] => [name, type])
      assert.deepEqual(declared.sort(), types.sort())
    })
  }
})

/** In Go, a parameter without a type has that of the next one, and a text is address and length. */
function typesOf(parameters: string): string[] {
  const types: string[] = []
  let next: string[] = []
  for (const part of parameters.split(",").reverse()) {
    const text = part.trim()
    if (text === "" || text === "void") continue
    if (!/^\w+$/.test(text)) next = / string$/.test(text) ? ["i32", "i32"] : [valueType(text)]
    types.unshift(...next)
  }
  return types
}

function valueType(text: string): string {
  if (/\*|Pointer/.test(text)) return "i32"
  if (/\b(?:i64|int64(?:_t)?|uint64(?:_t)?)\b/.test(text)) return "i64"
  if (/\b(?:f64|double|float64)\b/.test(text)) return "f64"
  return text === "void" || text === "" ? "" : "i32"
}
