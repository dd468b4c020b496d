import { cpSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildAssemblyScript } from "../test/sdk/build-assemblyscript.ts"
import { buildGo } from "../test/sdk/build-go.ts"
import { RustBuilder } from "../test/sdk/support-rust.ts"
import { CARGO, CLANG, GO, missing, WASM_LD, WASM_RUSTC } from "../test/support/programs.ts"
import { createFromFile, onRequestOf, toContext } from "./in-process.ts"
import { interleave, median, microseconds } from "./measure.ts"
import type { Row } from "./report.ts"
import { BASE } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"
import { compileGuest } from "./wasm-guests.ts"

const EXAMPLE = "hello-header"

/** The same example in every language that can be built here. */
export async function measureExamples(): Promise<Row[]> {
  using rust = new RustBuilder()
  const builders = {
    C: { language: "c", needs: [CLANG, WASM_LD], build: buildC },
    Rust: { language: "rust", needs: [CARGO, WASM_RUSTC], build: (folder: string) => rust.build(folder, EXAMPLE) },
    Go: { language: "go", needs: [GO], build: buildGo },
    AssemblyScript: { language: "assemblyscript", needs: [], build: buildAssemblyScript },
  }
  await using servers = new AsyncDisposableStack()
  const context = toContext()
  const cases: Record<string, () => number> = {}
  for (const [name, { language, needs, build }] of Object.entries(builders)) {
    if (missing(...needs)) continue
    const folder = join(temporaryFolder(), EXAMPLE)
    cpSync(new URL(`../sdk/${language}/examples/${EXAMPLE}`, import.meta.url), folder, { recursive: true })
    build(folder)
    const server = servers.use(await createFromFile(`${BASE}[plugins.${EXAMPLE}]\npath = "${folder}"\n`))
    const onRequest = onRequestOf(server, EXAMPLE)
    cases[name] = () => microseconds(1000, () => void onRequest(context))
  }
  const samples = await interleave(cases, { rounds: 20, warmUp: 15 })
  return Object.entries(samples).map(([name, times]) => ({
    what: `the example ${EXAMPLE} in ${name}`,
    value: median(times),
    unit: "µs",
  }))
}

function buildC(folder: string): void {
  writeFileSync(join(folder, "plugin.wasm"), compileGuest(join(folder, "src/plugin.c")))
}
