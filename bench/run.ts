/**
 * npm run bench -- [--only SECTION,SECTION] [--assert]; the sections are below.
 * Prints a table per section and writes bench/results.json. --assert fails when a target was missed.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { parseArgs } from "node:util"
import { isMet, printSection, type Section, writeResults } from "./report.ts"

const SECTIONS: Record<string, () => Promise<Section>> = {
  // First: what jails are compared with is started by copying this process, which takes longer the more it has loaded.
  jail: async () => (await import("./jail.ts")).measureJails(),
  calls: async () => (await import("./calls.ts")).measureCalls(),
  server: async () => (await import("./server.ts")).measureServers(),
  processes: async () => (await import("./processes.ts")).measureProcesses(),
  reload: async () => (await import("./reload.ts")).measureReloads(),
  queue: async () => (await import("./queue.ts")).measureQueue(),
  lanes: async () => (await import("./lanes.ts")).measureLanes(),
  density: async () => (await import("./density.ts")).measureDensity(),
  metering: async () => (await import("./metering.ts")).measureMetering(),
  kernels: async () => (await import("./kernels.ts")).measureKernels(),
  wasm: async () => (await import("./wasm.ts")).measureWasm(),
  "wasm-instances": async () => (await import("./wasm-instances.ts")).measureWasmInstances(),
  "wasm-server": async () => (await import("./wasm-server.ts")).measureWasmServer(),
  "wasm-hostile": async () => (await import("./wasm-hostile.ts")).measureWasmHostile(),
  "jail-calls": async () => (await import("./jail-calls.ts")).measureJailCalls(),
  "jail-server": async () => (await import("./jail-server.ts")).measureJailServer(),
  hostile: async () => (await import("./hostile.ts")).measureHostile(),
}

const { values } = parseArgs({ options: { only: { type: "string" }, assert: { type: "boolean", default: false } } })
const wanted = values.only === undefined ? Object.keys(SECTIONS) : values.only.split(",")
const unknown = wanted.filter((name) => !(name in SECTIONS))
if (unknown.length > 0) {
  console.error(`Unknown section: ${unknown.join(", ")}. There are: ${Object.keys(SECTIONS).join(", ")}.`)
  process.exit(2)
}

installPeers()
const sections: Section[] = []
for (const name of wanted) {
  console.log(`\nMeasuring ${name}…`)
  const section = await SECTIONS[name]!()
  printSection(section)
  sections.push(section)
}
if (values.only === undefined) writeResults(new URL("results.json", import.meta.url), sections)
const missed = sections.flatMap((section) => section.rows.filter((row) => !isMet(row)))
console.log(missed.length === 0 ? "\nEvery target is met." : `\nMissed: ${missed.map((row) => row.what).join("; ")}`)
process.exit(values.assert && missed.length > 0 ? 1 : 0)

function installPeers(): void {
  const folder = new URL("peers/", import.meta.url)
  if (existsSync(new URL("node_modules/", folder))) return
  console.log("Installing the peers (bench/peers)…")
  const result = spawnSync("npm", ["ci", "--ignore-scripts"], { cwd: folder, stdio: "inherit" })
  if (result.status !== 0) throw new Error("npm ci in bench/peers failed")
}
