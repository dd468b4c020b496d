import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { meter } from "../metering/meter.ts"
import { QUICKJS_PROFILE } from "../metering/profiles.ts"

/** Bellard QuickJS 2025-09-13 as built by quickjs-emscripten 0.32.0. Everything below is a property of exactly these bytes. */
const SHA256 = "105c3bed22d457e43e3d1c3c1c6959fda62a8fe06f0fc8a985303c3a2be72232"

/** The binary's minified export names. A test compares them with the package's own loader. */
export const EXPORT_NAMES = {
  constructors: "u",
  malloc: "v",
  throw: "w",
  setMemoryLimit: "y",
  setMaxStackSize: "D",
  getUndefined: "E",
  newRuntime: "K",
  free: "M",
  newContext: "N",
  freeValue: "P",
  freeCString: "S",
  dupValue: "T",
  newArrayBuffer: "X",
  newFloat64: "Y",
  getFloat64: "Z",
  newString: "_",
  getString: "$",
  getArrayBuffer: "aa",
  getArrayBufferLength: "ba",
  isJobPending: "fa",
  executePendingJob: "ga",
  getProp: "ha",
  call: "ma",
  resolveException: "na",
  eval: "pa",
  promiseState: "wa",
  promiseResult: "xa",
  newFunction: "Da",
  enableInterruptHandler: "Fa",
  enableModuleLoader: "Ha",
} as const

/** The binary's memory map, bytes. */
export const LAYOUT = {
  /** Static data; below it is the null page. */
  dataStart: 1024,
  /** Below it are constants only. */
  variablesStart: 86_016,
  /** End of static data, rounded up to a page; the C stack begins here and grows down towards it. */
  dataEnd: 94_208,
  /** Stack pointer of an idle machine, and begin of the heap. */
  heapStart: 5_333_088,
  /** Where the allocator keeps the end of the heap (`sbrk`); it never moves back. */
  heapEndPointer: 86_864,
  /** Offset in the runtime of the byte that says what the compiler drops: 1 = source text, 2 = names and lines. */
  stripFlags: 228,
  /**
   * Pages of 64 KiB a machine starts with: room for 900 KiB of heap. The binary asks for 256, of which the allocator
   * would use 11 MB without asking the host, whatever the guest's limit is.
   */
  initialPages: 96,
} as const

/** The engine, rewritten so that it stops by itself when its fuel is used up. */
export interface MeteredEngine {
  readonly compiled: WebAssembly.Module
  readonly refill: { readonly module: string; readonly name: string }
  readonly fuelExport: string
  readonly stackPointerExport: string
}

/**
 * Reads, checks, meters and compiles the engine.
 * @throws {Error} when the installed package holds another binary.
 */
export function compileQuickjs(): MeteredEngine {
  const file = createRequire(import.meta.url).resolve("@jitl/quickjs-wasmfile-release-sync/wasm")
  const bytes = readFileSync(file)
  const found = createHash("sha256").update(bytes).digest("hex")
  if (found !== SHA256) throw new Error(`${file}: expected the pinned QuickJS (sha256 ${SHA256}), found ${found}`)
  const metered = meter(bytes, {
    ...QUICKJS_PROFILE,
    maxMemoryPages: 32_768,
    initialMemoryPages: LAYOUT.initialPages,
    keepExports: new Set(Object.values(EXPORT_NAMES)),
  })
  const { refill, fuelExport, globalExports } = metered
  const stackPointerExport = globalExports.get(STACK_POINTER)
  if (stackPointerExport === undefined) throw new Error("the engine's stack pointer is not exported")
  return { compiled: new WebAssembly.Module(metered.bytes), refill, fuelExport, stackPointerExport }
}

/** Index of the global that is the C stack pointer. */
const STACK_POINTER = 0
