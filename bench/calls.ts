import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assertSpinStops, createFromFile, onRequestOf, REQUEST, toContext } from "./in-process.ts"
import { interleave, median, medianRatio, microseconds } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"

type PeerModule = { createCall(request: typeof REQUEST): Promise<() => unknown> }

/** One guarded onRequest, called as the stack calls it, beside what one would otherwise use in Node. */
export async function measureCalls(): Promise<Section> {
  await using server = await createFromFile(`${BASE}
[plugins.one-header]
path = "BENCH/plugins/one-header/index.js"
[plugins.fresh]
path = "${freshPlugin()}"
[plugins.spin]
path = "BENCH/plugins/spin/index.js"
[plugins.spin.limits]
max_cpu_ms = 50
`)
  await assertSpinStops(server)
  const context = toContext()
  const shared = onRequestOf(server, "one-header")
  const fresh = onRequestOf(server, "fresh")
  const emscripten = await createPeerCall("quickjs-emscripten-call.js")
  const run = await createPeerCall("run-call.js")

  const samples = await interleave(
    {
      shared: () => microseconds(2000, () => void shared(context)),
      fresh: () => microseconds(1000, () => void fresh(context)),
      emscripten: () => microseconds(300, emscripten),
      async run() {
        const startedAt = performance.now()
        for (let i = 0; i < 5; i++) await run()
        return ((performance.now() - startedAt) * 1000) / 5
      },
    },
    { rounds: 30, warmUp: 15 },
  )
  await assertSpinStops(server)

  const compared = (what: string, name: "shared" | "fresh", peer: "emscripten" | "run", label: string): Row => ({
    what,
    value: median(samples[name]),
    unit: "µs",
    comparedTo: label,
    ratio: medianRatio(samples[name], samples[peer]),
  })
  return {
    title: "One guarded onRequest: budgets and memory limit on, one header read, continue",
    rows: [
      {
        ...compared("bext, shared instance", "shared", "emscripten", "quickjs-emscripten"),
        target: { of: "value", atMost: 1.5 },
      },
      { ...compared("bext, fresh instance", "fresh", "run", "run"), target: { of: "value", atMost: 7 } },
      { what: "quickjs-emscripten, JSON in and out", value: median(samples.emscripten), unit: "µs" },
      { what: "run, fresh context in a worker", value: median(samples.run), unit: "µs" },
    ],
    notes: [
      "quickjs-emscripten keeps one context and stops guests by its interrupt handler alone.",
      "A guest of the same server that never returns was stopped before and after.",
    ],
  }
}

/** The plugin one-header with `instance = "fresh"`. */
function freshPlugin(): string {
  const folder = temporaryFolder()
  mkdirSync(join(folder, "src"))
  writeFileSync(
    join(folder, "plugin.toml"),
    '[manifest]\nname = "fresh"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[sandbox]\ninstance = "fresh"\n',
  )
  writeFileSync(
    join(folder, "src/index.js"),
    `export function onRequest(ctx) {
  if (ctx.headers.get("x-plugin-key") === "block") return { action: "respond", status: 403 }
}
`,
  )
  return folder
}

async function createPeerCall(file: string): Promise<() => unknown> {
  const peer = (await import(new URL(`peers/${file}`, import.meta.url).href)) as PeerModule
  return peer.createCall(REQUEST)
}
