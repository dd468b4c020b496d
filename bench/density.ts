import { mkdirSync, writeFileSync } from "node:fs"
import { get } from "node:http"
import { join } from "node:path"
import { createFromFile, onRequestOf, toContext } from "./in-process.ts"
import { interleave, median, medianRatio, microseconds } from "./measure.ts"
import type { Section } from "./report.ts"
import { BASE, residentBytes, startBext } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"
import { load } from "./wrk.ts"

const MANY = 1000

/** A thousand plugins of a thousand tenants in one process. */
export async function measureDensity(): Promise<Section> {
  const folder = writePlugins()
  const loadedMs = await timeToLoad(folder)
  await using one = await startBext(tenantsConfig(folder, 1))
  await using many = await startBext(tenantsConfig(folder, MANY))
  await load(`${one.url}/hello.txt`, 1, ["Host: t0.example.com"])
  await load(`${many.url}/hello.txt`, 1, ["Host: t0.example.com"])
  await ask(`${many.url}/spin`, "t0.example.com", 504)
  const perPlugin = () => (residentBytes(many.pid) - residentBytes(one.pid)) / (MANY - 1) / 1024
  const loadedKb = perPlugin()
  const rates = await interleave(
    {
      one: async () => (await load(`${one.url}/hello.txt`, 1, ["Host: t0.example.com"])).perSecond,
      many: async () => (await load(`${many.url}/hello.txt`, 1, ["Host: t0.example.com"])).perSecond,
    },
    { rounds: 7, warmUp: 1 },
  )
  for (let i = 0; i < MANY; i++) await ask(`${many.url}/hello.txt`, `t${i}.example.com`, 200)
  const usedKb = perPlugin()
  return {
    title: `${MANY} plugins in one process, each for one tenant`,
    rows: [
      { what: "all loaded and started", value: loadedMs / 1000, unit: "s", target: { of: "value", atMost: 3 } },
      { what: "one more plugin, start-up", value: loadedMs / MANY, unit: "ms", target: { of: "value", atMost: 1 } },
      {
        what: "one more plugin, memory (RSS), loaded",
        value: loadedKb,
        unit: "KB",
        target: { of: "value", atMost: 300 },
      },
      {
        what: "the same, after each served a request",
        value: usedKb,
        unit: "KB",
        target: { of: "value", atMost: 300 },
      },
      {
        what: "requests to one of them",
        value: median(rates.many),
        unit: "requests/s",
        comparedTo: "one plugin loaded",
        ratio: medianRatio(rates.many, rates.one),
        target: { of: "ratio", atLeast: 0.95 },
      },
      { what: "its onRequest", ...(await compareCalls(folder)), target: { of: "ratio", atMost: 1.25 } },
    ],
    notes: [
      "Memory: growth of the server's resident set from 1 to 1000 plugins.",
      "During this run a plugin of the same process that never returns was stopped.",
    ],
  }
}

/** One request to a virtual host; fetch would not let us say which. */
function ask(url: string, host: string, status: number): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host } }, (response) => {
      response.resume().on("end", resolve)
      if (response.statusCode !== status) reject(new Error(`${host}: ${response.statusCode} instead of ${status}`))
    }).on("error", reject)
  })
}

async function timeToLoad(folder: string): Promise<number> {
  {
    await using warm = await createFromFile(tenantsConfig(folder, 1))
    onRequestOf(warm, "p0")(toContext("t0"))
  }
  const startedAt = performance.now()
  await using server = await createFromFile(tenantsConfig(folder, MANY))
  const elapsed = performance.now() - startedAt
  onRequestOf(server, `p${MANY - 1}`)(toContext(`t${MANY - 1}`))
  return elapsed
}

async function compareCalls(folder: string) {
  await using one = await createFromFile(tenantsConfig(folder, 1))
  await using many = await createFromFile(tenantsConfig(folder, MANY))
  const context = toContext("t0")
  const alone = onRequestOf(one, "p0")
  const among = onRequestOf(many, "p0")
  const samples = await interleave(
    {
      alone: () => microseconds(1000, () => void alone(context)),
      among: () => microseconds(1000, () => void among(context)),
    },
    { rounds: 20, warmUp: 10 },
  )
  return {
    value: median(samples.among),
    unit: "µs",
    comparedTo: "alone in the process",
    ratio: medianRatio(samples.among, samples.alone),
  }
}

function writePlugins(): string {
  const folder = temporaryFolder()
  for (let i = 0; i < MANY; i++) {
    mkdirSync(join(folder, `p${i}`, "src"), { recursive: true })
    writeFileSync(
      join(folder, `p${i}`, "plugin.toml"),
      `[manifest]\nname = "p${i}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
    )
    writeFileSync(
      join(folder, `p${i}`, "src/index.js"),
      `let seen = 0
export function onRequest(ctx) {
  seen++
  if (ctx.headers.get("x-plugin-key") === "block-${i}") return { action: "respond", status: 403, body: String(seen) }
}
`,
    )
  }
  return folder
}

function tenantsConfig(folder: string, count: number): string {
  const sections = Array.from(
    { length: count },
    (_, i) => `
[[tenants]]
id = "t${i}"
hosts = ["t${i}.example.com"]
[plugins.p${i}]
path = "${folder}/p${i}"
match = [{ tenants = ["t${i}"] }]`,
  )
  return `${BASE}
[middleware.tenant]
by = ["host"]
unknown = "reject"
${sections.join("\n")}
[plugins.spin]
path = "BENCH/plugins/spin/index.js"
match = [{ path = "/spin", tenants = ["t0"] }]
[plugins.spin.limits]
max_cpu_ms = 50
`
}
