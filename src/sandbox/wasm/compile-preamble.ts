import { BextError } from "../../errors.ts"
import { DEFAULT_MODULE_LIMITS } from "../metering/limits.ts"
import { checkLimit } from "../metering/module-rejected.ts"

/** Bytes looked at to say what a file is that is not a module. */
const HEAD_BYTES = 64

/** What people name `plugin.wasm` by mistake, by how it begins; bytes as Latin-1. */
const BINARIES: readonly (readonly [string, string])[] = [
  ["\x7fELF", "it is an ELF program or library: compile for wasm32 instead of for this machine"],
  ["\xcf\xfa\xed\xfe", "it is a macOS program or library: compile for wasm32 instead of for this machine"],
  ["MZ", "it is a Windows program or library: compile for wasm32 instead of for this machine"],
  ["!<arch>", "it is a static library: link it into a module"],
  ["BC\xc0\xde", "it is LLVM bitcode: link it into a module"],
  ["version https://git-lfs", "it is a pointer of Git LFS: run git lfs pull"],
  ["\x1f\x8b", "it is compressed with gzip: unpack it"],
  ["\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it"],
  ["PK\x03\x04", "it is a ZIP archive: unpack it"],
]
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/^\s*(?:;;|\(;|\(\s*(?:module|component)\b)/, "it is WebAssembly text: convert it, for example with wat2wasm"],
  [
    /^\s*<(?:!doctype|!--|html|\?xml|head|body)/i,
    "it is HTML or XML: perhaps a download that got a page for an answer",
  ],
]

/**
 * Refuses, before anybody works on it, what is no module at all, and says what it is instead.
 * Source: WebAssembly Core 3.0 §5.5.17; components have 0x0d 0x00 0x01 0x00 for the version (component model, Binary.md).
 * @throws {BextError} `E_WASM_INVALID`, `E_WASM_UNSUPPORTED`, `E_WASM_LIMIT`.
 */
export function checkPreamble(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new BextError("E_WASM_INVALID", "the module is an empty file")
  const head = Buffer.from(bytes.subarray(0, HEAD_BYTES)).toString("latin1")
  if (!head.startsWith("\0asm")) {
    throw new BextError("E_WASM_INVALID", `the file is not a WebAssembly module: ${likeness(head)}`)
  }
  if (head.slice(6, 8) === "\x01\0")
    throw new BextError(
      "E_WASM_UNSUPPORTED",
      "the file is a component, and bext runs core modules: build one, for example for wasm32-wasip1 instead of wasm32-wasip2",
    )
  checkLimit("module size in bytes", bytes.length, DEFAULT_MODULE_LIMITS.moduleBytes, 0)
}

function likeness(head: string): string {
  const binary = BINARIES.find(([start]) => head.startsWith(start))
  const found = binary ?? TEXTS.find(([pattern]) => pattern.test(head))
  return found?.[1] ?? "it does not begin with 00 61 73 6d"
}
