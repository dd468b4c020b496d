import { HOSTILE_MODULES } from "../test/fixtures/guests/hostile-modules.ts"
import { toWasm } from "../test/sandbox/metering/support.ts"
import { median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, startBext } from "./servers.ts"
import { writeWasmPlugin } from "./wasm-guests.ts"

const CPU_MS = 50
const ROUNDS = 3
/** Shown by name. */
const SLOWEST = 10

/** Every hostile module as a plugin of `bext serve`, over HTTP: when the caller has its answer. */
export async function measureWasmHostile(): Promise<Section> {
  const names = Object.keys(HOSTILE_MODULES)
  const sections = names.map((name, index) => {
    const module = toWasm(HOSTILE_MODULES[name]!.text)
    return `
[plugins.hostile-${index}]
lane = "inline"
path = "${writeWasmPlugin(`hostile-${index}`, module, 'body = "request"\n')}"
match = [{ path = "/hostile-${index}/**" }]
[plugins.hostile-${index}.limits]
max_cpu_ms = ${CPU_MS}
[plugins.hostile-${index}.fuel]
on_request = 1_000_000_000`
  })
  await using server = await startBext(`${BASE.replace('level = "error"', 'level = "silent"')}${sections.join("\n")}`)
  const rows: Row[] = []
  for (const [index, name] of names.entries()) {
    const url = `${server.url}/hostile-${index}/`
    await calm(name, url)
    const samples: number[] = []
    const ends = new Set<string>()
    for (let round = 0; round < ROUNDS; round++) {
      const startedAt = performance.now()
      const response = await fetch(url, { method: "POST", body: "body" })
      const text = await response.text()
      samples.push(performance.now() - startedAt)
      ends.add(response.status < 500 ? "returned" : (JSON.parse(text) as { code: string }).code)
      await calm(name, url)
    }
    rows.push({ what: `${name} (${[...ends].join(", ")})`, value: median(samples), unit: "ms" })
  }
  const slowest = rows.toSorted((a, b) => b.value - a.value)
  return {
    title: `${names.length} hostile modules with max_cpu_ms = ${CPU_MS} and no end of fuel, over HTTP`,
    rows: slowest.slice(0, SLOWEST).map((row) => ({ ...row, target: { of: "value", atMost: CPU_MS + 15 } })),
    notes: [
      `Time until the caller has its answer, median of ${ROUNDS}: the ${SLOWEST} slowest. After each, an ordinary request to the same plugin was answered.`,
      `The other ${names.length - SLOWEST}: ${median(slowest.slice(SLOWEST).map(({ value }) => value)).toFixed(1)} ms in the middle.`,
    ],
  }
}

/** Without a body the module lets the request pass. */
async function calm(name: string, url: string): Promise<void> {
  const response = await fetch(url)
  await response.text()
  if (response.status >= 500) throw new Error(`${name}: the next request failed (${response.status})`)
}
