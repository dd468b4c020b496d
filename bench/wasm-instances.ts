import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Section } from "./report.ts"
import { compileGuest, NO_C, writeWasmPlugin } from "./wasm-guests.ts"
import type { InstanceFigures } from "./wasm-instances-child.ts"

const TITLE = "WebAssembly: instances of one small module"
const COUNT = 10_000

/** What another instance of a module costs, in a process of its own. */
export async function measureWasmInstances(): Promise<Section> {
  if (NO_C) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_C}.`] }
  const module = join(writeWasmPlugin("one-header", compileGuest("guests/one-header.c")), "plugin.wasm")
  const child = fileURLToPath(new URL("wasm-instances-child.ts", import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [child, module, String(COUNT)])
  const figures = JSON.parse(stdout) as InstanceFigures
  return {
    title: TITLE,
    rows: [
      {
        what: "one more plugin with the same bytes, from its file until it is ready",
        value: figures.loadedUs,
        unit: "µs",
      },
      {
        what: "a new instance of a loaded module, and its first call",
        value: figures.evictedUs,
        unit: "µs",
        comparedTo: "an instance at rest",
        ratio: figures.evictedUs / figures.atRestUs,
        target: { of: "value", atMost: 1000 },
      },
      {
        what: "instances that live at once",
        value: figures.instances,
        unit: "",
        target: { of: "value", atLeast: COUNT },
      },
      {
        what: "memory of each (RSS)",
        value: figures.residentBytes / 1024,
        unit: "KB",
        target: { of: "value", atMost: 1024 },
      },
    ],
    notes: ["Every instance has served a request. Its module has a memory of two pages, 128 KiB, as clang makes it."],
  }
}
