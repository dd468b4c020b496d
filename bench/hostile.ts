import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { HOSTILE_SCRIPTS } from "../test/fixtures/guests/hostile-scripts.ts"
import { median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, startBext } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"

const CPU_MS = 50
const ROUNDS = 3

/** Every hostile script as the onRequest of a plugin of `bext serve`, over HTTP: when the caller has its answer. */
export async function measureHostile(): Promise<Section> {
  const folder = temporaryFolder()
  const names = Object.keys(HOSTILE_SCRIPTS)
  const sections = names.map((name, index) => {
    mkdirSync(join(folder, `hostile-${index}`))
    writeFileSync(
      join(folder, `hostile-${index}`, "index.js"),
      `export function onRequest(ctx) { if (ctx.path.endsWith("/calm")) return new Response("calm"); ${HOSTILE_SCRIPTS[name]} }`,
    )
    return `
[plugins.hostile-${index}]
lane = "inline"
path = "${folder}/hostile-${index}/index.js"
match = [{ path = "/hostile-${index}/**" }]
[plugins.hostile-${index}.limits]
max_cpu_ms = ${CPU_MS}`
  })
  await using server = await startBext(`${BASE.replace('level = "error"', 'level = "silent"')}${sections.join("\n")}`)

  // Every plugin has served before it is attacked, as in a server that has been running.
  for (const index of names.keys()) await fetch(`${server.url}/hostile-${index}/calm`)
  const rows: Row[] = []
  for (const [index, name] of names.entries()) {
    const samples: number[] = []
    const ends = new Set<string>()
    for (let round = 0; round < ROUNDS; round++) {
      const startedAt = performance.now()
      const response = await fetch(`${server.url}/hostile-${index}/attack`)
      const text = await response.text()
      samples.push(performance.now() - startedAt)
      ends.add(response.status < 500 ? "returned by itself" : (JSON.parse(text) as { code: string }).code)
      const calm = await fetch(`${server.url}/hostile-${index}/calm`)
      if ((await calm.text()) !== "calm") throw new Error(`${name}: the next request failed (${calm.status})`)
    }
    const what = `${name} (${[...ends].join(", ")})`
    rows.push({ what, value: median(samples), unit: "ms", target: { of: "value", atMost: CPU_MS + 15 } })
  }
  return {
    title: `${names.length} hostile onRequest bodies with max_cpu_ms = ${CPU_MS}, over HTTP`,
    rows,
    notes: [
      `Time until the caller has its answer, median of ${ROUNDS}. After each, an ordinary request to the same plugin was answered.`,
    ],
  }
}
