import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { compileQuickjs, LAYOUT, type MeteredEngine } from "../src/sandbox/quickjs/binary.ts"
import { Machine } from "../src/sandbox/quickjs/machine.ts"
import { interleave, medianRatio } from "./measure.ts"
import type { Row, Section } from "./report.ts"

/** Guest programs; each is the body of a function that is called again and again. */
const PROGRAMS = {
  "calls: fib(20)": "const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2)); return fib(20)",
  "JSON, 10 KB": `const rows = Array.from({ length: 120 }, (_, id) => ({ id, name: "row " + id, tags: ["a", "b"], ok: true }))
    let size = 0; for (let i = 0; i < 4; i++) size += JSON.stringify(JSON.parse(JSON.stringify(rows))).length; return size`,
  "regular expression, 300 lines": `let hits = 0
    for (let i = 0; i < 300; i++) if (/^(\\w+)-(\\d+): .*?id=(\\d+)/.test("line-" + i + ": some text id=" + i * 7)) hits++
    return hits`,
  "building strings": `let text = ""; for (let i = 0; i < 4000; i++) text += i.toString(36) + ","; return text.split(",").join(";").length`,
  "sort with comparator": "return Array.from({ length: 3000 }, (_, i) => (i * 7919) % 3001).sort((a, b) => a - b)[10]",
  "objects and Map": `const map = new Map(); for (let i = 0; i < 4000; i++) { const { a, b } = { a: i, b: i * 2 }; map.set("k" + (a % 97), b) }
    return [...map.values()].reduce((x, y) => x + y, 0)`,
  "integer loop": "let sum = 0; for (let i = 0; i < 100000; i++) sum = (sum + i * 3) | 0; return sum",
  "typed array hash": `const bytes = new Uint8Array(20000); let hash = 7
    for (let i = 0; i < bytes.length; i++) { bytes[i] = i; hash = (Math.imul(hash, 31) + bytes[i]) | 0 } return hash`,
}

/** What fuel costs the engine: the same programs in the metered and in the plain QuickJS. */
export async function measureMetering(): Promise<Section> {
  const metered = createRunner(compileQuickjs())
  const plain = createRunner(compilePlain())
  const ratios: number[] = []
  const rows: Row[] = []
  for (const [name, body] of Object.entries(PROGRAMS)) {
    const run = { metered: metered(body), plain: plain(body) }
    if (run.metered.result() !== run.plain.result()) throw new Error(`${name}: results differ`)
    const samples = await interleave(
      { metered: () => run.metered.time(), plain: () => run.plain.time() },
      { rounds: 25, warmUp: 8 },
    )
    const ratio = medianRatio(samples.metered, samples.plain)
    ratios.push(ratio)
    rows.push({ what: name, value: run.metered.time() / 1000, unit: "ms", comparedTo: "plain QuickJS", ratio })
  }
  const geomean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  rows.push({
    what: "geometric mean",
    value: geomean,
    unit: "x",
    comparedTo: "plain QuickJS",
    ratio: geomean,
    target: { of: "ratio", atMost: 1.1 },
  })
  return { title: "Metered against plain QuickJS", rows }
}

function compilePlain(): MeteredEngine {
  const file = createRequire(import.meta.url).resolve("@jitl/quickjs-wasmfile-release-sync/wasm")
  const compiled = new WebAssembly.Module(withFewerPages(readFileSync(file)))
  return { compiled, refill: { module: "none", name: "none" }, fuelExport: "none", stackPointerExport: "none" }
}

/** The plain binary asks for 256 pages of memory where the metered one asks for fewer; a machine has the fewer. */
function withFewerPages(binary: Buffer): Buffer {
  const memoryImport = Buffer.from([1, 0x61, 1, 0x61, 2, 1])
  const at = binary.indexOf(memoryImport) + memoryImport.length
  if (binary.readUInt16LE(at) !== 0x0280) throw new Error("the engine's memory import is not where it was")
  binary.writeUInt16LE((LAYOUT.initialPages & 127) | 128 | ((LAYOUT.initialPages >> 7) << 8), at)
  return binary
}

/** A context in a machine of its own; programs become functions in it. */
function createRunner(engine: MeteredEngine) {
  const machine = new Machine(engine, 1024, null)
  const functions = machine.engine
  const runtime = functions.newRuntime()
  functions.setMaxStackSize(runtime, 128 * 1024)
  if (engine.fuelExport !== "none") functions.enableInterruptHandler(runtime)
  const context = functions.newContext(runtime, 0)
  functions.constructors()
  const undefinedValue = functions.getUndefined()
  const fileName = machine.newCString("bench.js")

  return (body: string) => {
    const text = `(() => { ${body} })`
    if (engine.fuelExport !== "none") machine.unwind()
    const compiled = functions.eval(context, machine.newCString(text), Buffer.byteLength(text), fileName, 0, 0)
    const call = () => {
      if (engine.fuelExport !== "none") machine.unwind()
      const value = functions.call(context, compiled, undefinedValue, 0, 0)
      const number = functions.getFloat64(context, value)
      functions.freeValue(context, value)
      return number
    }
    return {
      result: call,
      time() {
        const startedAt = performance.now()
        for (let i = 0; i < 4; i++) call()
        return ((performance.now() - startedAt) * 1000) / 4
      },
    }
  }
}
