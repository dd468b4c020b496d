import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { meter } from "../src/sandbox/metering/meter.ts"
import { GUEST_PROFILE } from "../src/sandbox/metering/profiles.ts"
import { CLANG, findProgram, missing, WASM_LD } from "../test/support/programs.ts"
import { interleave, median, medianRatio } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { temporaryFolder } from "./temporary-folder.ts"

const SOURCE = fileURLToPath(new URL("kernels/kernels.c", import.meta.url))
const FLAGS = "--target=wasm32 -O2 -nostdlib -mbulk-memory -msign-ext -mnontrapping-fptoint -Wl,--no-entry"

/** Exported functions of kernels.c, what to call them, and how much they are to do: a few milliseconds. */
const KERNELS = [
  { name: "empty_loop", what: "empty loop", size: 2e7 },
  { name: "sha256", what: "SHA-256", size: 8 },
  { name: "matmul", what: "matrix product", size: 4 },
  { name: "mandelbrot", what: "Mandelbrot set", size: 220 },
  { name: "quicksort", what: "quicksort", size: 100_000 },
  { name: "heapsort", what: "heapsort, comparator called indirectly", size: 60_000 },
  { name: "fib", what: "fib, nothing but calls", size: 31 },
  { name: "sieve", what: "sieve of Eratosthenes", size: 1_000_000 },
  { name: "parse_header", what: "header parser", size: 8000 },
  { name: "tak", what: "Takeuchi function, calls out of a loop", size: 18 },
] as const
/** Not what plugins compute: shown, but not in the mean. */
const NOT_IN_MEAN = new Set(["empty_loop", "tak"])

/** What fuel costs a guest's module, and how fast modules are rewritten. */
export async function measureKernels(): Promise<Section> {
  const title = "Metered against plain modules"
  const rewriting = measureRewriting()
  const unavailable = missing(CLANG) || missing(WASM_LD)
  if (unavailable) return { title, rows: rewriting, notes: [`The kernels were not measured: ${unavailable}.`] }
  const original = compileKernels()
  const plain = instantiate(original, {})
  const { bytes, refill } = meter(original, GUEST_PROFILE)
  const metered = instantiate(bytes, { [refill.module]: { [refill.name]: () => 100_000 } })
  const ratios: number[] = []
  const rows: Row[] = []
  for (const { name, what, size } of KERNELS) {
    if (plain[name]!(size) !== metered[name]!(size)) throw new Error(`${name}: results differ`)
    const samples = await interleave(
      { plain: () => milliseconds(plain[name]!, size), metered: () => milliseconds(metered[name]!, size) },
      { rounds: 25, warmUp: 12 },
    )
    const ratio = medianRatio(samples.metered, samples.plain)
    if (!NOT_IN_MEAN.has(name)) ratios.push(ratio)
    const row: Row = { what, value: median(samples.metered), unit: "ms", comparedTo: "unmetered", ratio }
    rows.push(name === "fib" ? { ...row, target: { of: "ratio", atMost: 1.8 } } : row)
  }
  const geomean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  rows.push({
    what: "geometric mean, without empty loop and Takeuchi",
    value: geomean,
    unit: "x",
    comparedTo: "unmetered",
    ratio: geomean,
    target: { of: "ratio", atMost: 1.25 },
  })
  return { title, rows: [...rows, ...rewriting] }
}

function compileKernels(): Uint8Array {
  const module = join(temporaryFolder(), "kernels.wasm")
  execFileSync(findProgram(CLANG)!, [...FLAGS.split(" "), "-Wl,-z,stack-size=65536", "-o", module, SOURCE])
  return readFileSync(module)
}

function instantiate(bytes: Uint8Array, imports: WebAssembly.Imports): Record<string, (size: number) => number> {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(bytes)), imports)
  return exports as unknown as Record<string, (size: number) => number>
}

function milliseconds(kernel: (size: number) => number, size: number): number {
  const startedAt = performance.now()
  kernel(size)
  return performance.now() - startedAt
}

/** Real modules that are installed for other purposes. */
const MODULES = {
  QuickJS: () => createRequire(import.meta.url).resolve("@jitl/quickjs-wasmfile-release-sync/wasm"),
  libwebp: () => join(createRequire(import.meta.url).resolve("playwright-core/package.json"), "../lib/webp_codec.wasm"),
}

function measureRewriting(): Row[] {
  return Object.entries(MODULES).map(([name, file]): Row => {
    const bytes = readFileSync(file())
    const samples = Array.from({ length: 60 }, () => {
      const before = process.threadCpuUsage()
      meter(bytes, { ...GUEST_PROFILE, maxMemoryPages: 65_536 })
      const { user, system } = process.threadCpuUsage(before)
      return bytes.length / (user + system)
    })
    return {
      what: `rewriting ${name}, ${Math.round(bytes.length / 1024)} KiB, warm`,
      value: median(samples.slice(20)),
      unit: "MB/s",
      target: { of: "value", atLeast: 40 },
    }
  })
}
