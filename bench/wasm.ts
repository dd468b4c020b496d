import { createFromFile, onRequestOf, REQUEST, toContext } from "./in-process.ts"
import { interleave, median, medianRatio, microseconds } from "./measure.ts"
import { createCall, type ExtismCall } from "./peers/extism-call.ts"
import type { Row, Section } from "./report.ts"
import { BASE } from "./servers.ts"
import { measureExamples } from "./wasm-examples.ts"
import { compileGuest, NO_C, writeWasmPlugin } from "./wasm-guests.ts"

const TITLE = "WebAssembly: one guarded on_request, with fuel, budgets and memory limit on"
const KIB = 1024
/** Bytes of memory that are not zero. */
const IMAGES = [64, 256, 1024, 4096, 16_384]

const EXTISM = "Extism, unmetered"

/** Compiling and collecting garbage in between counts as the guest's time. */
const ROOMY = "limits = { max_cpu_ms = 1000 }\n"

/** What the same guest in C computes for bext and for Extism: each some hundred microseconds. */
const KERNELS = [
  { name: "sha256", what: "SHA-256 of 64 KiB", call: "sha256(1)" },
  { name: "mandelbrot", what: "Mandelbrot set", call: "mandelbrot(40)" },
  { name: "quicksort", what: "quicksort of 4,000", call: "quicksort(4000)" },
  { name: "fib", what: "fib(20), nothing but calls", call: "fib(20)" },
] as const

/** One guarded on_request of a module, called as the stack calls it, beside Extism doing the same. */
export async function measureWasm(): Promise<Section> {
  if (NO_C) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_C}.`] }
  return {
    title: TITLE,
    rows: [
      ...(await measureHeader()),
      ...(await measureExamples()),
      ...(await measureResets()),
      ...(await measureKernels()),
    ],
    notes: [
      "Extism runs in this thread (foreground), where it has neither deadline nor fuel. Its lightest form asks a function of the host for the header; the usual one is given the request as JSON.",
      "On the kernels, bext counts fuel and Extism does not.",
    ],
  }
}

async function measureHeader(): Promise<Row[]> {
  const plain = compileGuest("guests/one-header.c")
  const suspending = compileGuest("guests/one-header.c", ["SUSPENDING"])
  const fetching = '[permissions]\nallowed_urls = ["http://127.0.0.1/"]\n'
  const both = '"middleware", "lifecycle"'
  await using server = await createFromFile(`${BASE}
[plugins.plain]
path = "${writeWasmPlugin("plain", plain)}"
[plugins.plain-fresh]
path = "${writeWasmPlugin("plain-fresh", plain, 'instance = "fresh"\n')}"
[plugins.suspending]
path = "${writeWasmPlugin("suspending", suspending, fetching, both)}"
[plugins.suspending.grant]
allowed_urls = ["http://127.0.0.1/"]
[plugins.suspending-fresh]
path = "${writeWasmPlugin("suspending-fresh", suspending, `instance = "fresh"\n${fetching}`, both)}"
[plugins.suspending-fresh.grant]
allowed_urls = ["http://127.0.0.1/"]
[plugins.quickjs]
path = "BENCH/plugins/one-header/index.js"
`)
  const extism = await createCall(REQUEST, compileGuest("peers/extism-guest.c"))
  const context = toContext()
  const call = (name: string, times: number) => {
    const onRequest = onRequestOf(server, name)
    return () => microseconds(times, () => void onRequest(context))
  }
  const samples = await interleave(
    {
      plain: call("plain", 5000),
      "plain-fresh": call("plain-fresh", 2000),
      suspending: call("suspending", 2000),
      "suspending-fresh": call("suspending-fresh", 1000),
      quickjs: call("quickjs", 2000),
      header: () => asyncMicroseconds(500, extism.header, extism.reset),
      json: () => asyncMicroseconds(300, extism.json, extism.reset),
    },
    { rounds: 30, warmUp: 15 },
  )
  type Name = keyof typeof samples
  const row = (what: string, name: Name, atMost?: number): Row => ({
    what,
    value: median(samples[name]),
    unit: "µs",
    comparedTo: "QuickJS, shared",
    ratio: medianRatio(samples[name], samples.quickjs),
    ...(atMost !== undefined && { target: { of: "value", atMost } }),
  })
  const peer = (what: string, name: Name): Row => ({
    what,
    value: median(samples[name]),
    unit: "µs",
    comparedTo: "bext, plain entry, shared",
    ratio: medianRatio(samples[name], samples.plain),
  })
  return [
    row("one header read, plain entry, shared", "plain", 1),
    row("the same, fresh", "plain-fresh"),
    row("one header read, suspending entry, shared", "suspending", 2),
    row("the same, fresh", "suspending-fresh"),
    peer("Extism, a function of the host", "header"),
    { ...peer("Extism, JSON in and out", "json"), target: { of: "ratio", atLeast: 50 } },
  ]
}

/** What restoring the image costs: a fresh guest beside a shared one that does the same. */
async function measureResets(): Promise<Row[]> {
  const sections = IMAGES.map((kib) => {
    const module = compileGuest("guests/one-header.c", [`IMAGE_BYTES=${kib * KIB}`])
    const path = writeWasmPlugin(
      `image-${kib}`,
      module,
      'instance = "fresh"\nmax_memory_mb = 64\n',
      '"middleware", "lifecycle"',
    )
    return `[plugins.image-${kib}]\npath = "${path}"\n`
  })
  await using server = await createFromFile(`${BASE}${sections.join("")}`)
  const context = toContext()
  const cases = Object.fromEntries(
    IMAGES.map((kib) => {
      const onRequest = onRequestOf(server, `image-${kib}`)
      const times = Math.ceil(20_000 / kib)
      return [String(kib), () => microseconds(times, () => void onRequest(context))]
    }),
  )
  const samples = await interleave(cases, { rounds: 20, warmUp: 10 })
  return IMAGES.map((kib) => ({
    what: `fresh, with an image of ${kib < KIB ? `${kib} KiB` : `${kib / KIB} MiB`}`,
    value: median(samples[String(kib)]!),
    unit: "µs",
  }))
}

async function measureKernels(): Promise<Row[]> {
  const rows: Row[] = []
  const ratios: number[] = []
  for (const { name, what, call } of KERNELS) {
    const defines = [`KERNEL=${call}`, `EXPECTED=${expected(name, call)}`]
    const path = writeWasmPlugin(name, compileGuest("guests/compute.c", defines))
    await using server = await createFromFile(`${BASE}[plugins.${name}]\npath = "${path}"\n${ROOMY}`)
    const onRequest = onRequestOf(server, name)
    const context = toContext()
    const extism = await createCall(REQUEST, compileGuest("peers/extism-guest.c", defines))
    const samples = await interleave(
      {
        bext: () => microseconds(20, () => void onRequest(context)),
        extism: () => asyncMicroseconds(20, extism.compute, extism.reset),
      },
      { rounds: 30, warmUp: 20 },
    )
    const ratio = medianRatio(samples.bext, samples.extism)
    ratios.push(ratio)
    rows.push({ what: `${what}, in on_request`, value: median(samples.bext), unit: "µs", comparedTo: EXTISM, ratio })
  }
  const geomean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  const target = { of: "ratio", atMost: 1 } as const
  rows.push({ what: "geometric mean", value: geomean, unit: "x", comparedTo: EXTISM, ratio: geomean, target })
  return rows
}

/** What the kernel returns, so that both sides can tell that they computed it. */
function expected(name: string, call: string): number {
  const bytes = compileGuest("kernels/kernels.c")
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes))
  const size = Number(/\((\d+)\)/.exec(call)![1])
  return (exports[name] as (size: number) => number)(size)
}

async function asyncMicroseconds(
  times: number,
  action: () => Promise<unknown>,
  afterwards: ExtismCall["reset"],
): Promise<number> {
  const startedAt = performance.now()
  for (let i = 0; i < times; i++) await action()
  const elapsed = performance.now() - startedAt
  await afterwards()
  return (elapsed * 1000) / times
}
