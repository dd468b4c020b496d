import { createHmac } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { interleave, median, medianRatio } from "./measure.ts"
import type { Row, Section, Target } from "./report.ts"
import { BASE, cpuMs, JWT_SECRET, type RunningServer, startBext, startPeer } from "./servers.ts"
import { hasWrk, load } from "./wrk.ts"

const SECONDS = 2
const ROUNDS = 7

const BUILT_INS = `
[middleware.cors]
origins = ["https://app.example.com", "https://*.example.org"]
[middleware.rate_limit]
requests = 1_000_000_000
window = "1m"
[middleware.auth]
algorithms = ["HS256"]
secret = "env:BENCH_JWT_SECRET"
[middleware.tenant]
by = ["host"]
unknown = "pass"
[[tenants]]
id = "bench"
hosts = ["127.0.0.1"]
`

const ONE_PLUGIN = `
[plugins.one-header]
path = "BENCH/plugins/one-header/index.js"
[plugins.spin]
path = "BENCH/plugins/spin/index.js"
match = [{ path = "/spin" }]
[plugins.spin.limits]
max_cpu_ms = 50
`

/** The whole server over loopback, one process each, all of them started first and loaded in turn. */
export async function measureServers(): Promise<Section> {
  if (!hasWrk()) throw new Error("the load generator wrk is missing (Debian package wrk)")
  await using bare = await startPeer("bare-server.js")
  await using sameHeaders = await startPeer("bare-server-same-headers.js")
  await using fastify = await startPeer("fastify-server.js")
  await using empty = await startBext(BASE)
  await using builtIns = await startBext(BASE + BUILT_INS)
  await using plugin = await startBext(BASE + ONE_PLUGIN)
  await using collector = await startCollector()
  await using tenthTraced = await startBext(BASE + traced(collector.url, 0.1))
  await using allTraced = await startBext(BASE + traced(collector.url, 1))
  await assertSpinnerStops(plugin)

  const token = [`Authorization: Bearer ${benchToken()}`, "Origin: https://app.example.com"]
  const servers = { bare, sameHeaders, fastify, empty, builtIns, plugin, tenthTraced, allTraced }
  const cpu = Object.fromEntries(Object.keys(servers).map((name) => [name, [] as number[]]))
  const loads = Object.fromEntries(
    Object.entries(servers).map(([name, server]) => [
      name,
      async () => {
        const before = cpuMs(server.pid)
        const { requests, perSecond } = await load(`${server.url}/hello.txt`, SECONDS, name === "builtIns" ? token : [])
        cpu[name]!.push(((cpuMs(server.pid) - before) * 1000) / requests)
        return perSecond
      },
    ]),
  ) as Record<keyof typeof servers, () => Promise<number>>
  const rates = await interleave(loads, { rounds: ROUNDS, warmUp: 2 })

  const row = (what: string, name: keyof typeof servers, target?: Target): Row => ({
    what,
    value: median(rates[name]),
    unit: "requests/s",
    comparedTo: "bare node:http",
    ratio: medianRatio(rates[name], rates.bare),
    ...(target && { target }),
  })
  return {
    title: "Whole server: one process, keep-alive, 64 connections, 5 bytes",
    rows: [
      row("bare node:http", "bare"),
      row("bare node:http, headers as bext sends", "sameHeaders"),
      row("Fastify", "fastify"),
      row("bext, empty stack", "empty", { of: "ratio", atLeast: 0.9 }),
      row("bext, all five built-ins", "builtIns", { of: "ratio", atLeast: 0.75 }),
      row("bext, one QuickJS plugin, both hooks", "plugin", { of: "ratio", atLeast: 0.8 }),
      row("bext, empty stack, every tenth request traced", "tenthTraced"),
      row("bext, empty stack, every request traced", "allTraced"),
    ],
    notes: [
      `Server CPU per request, µs: ${Object.entries(cpu)
        .map(([name, samples]) => `${name} ${median(samples.slice(2)).toFixed(1)}`)
        .join(", ")}.`,
      "bext answers with a file from disk, the peers with a constant. The access log is off. wrk shares the machine with the server.",
      `The collector of traces, in the process that measures, got ${collector.messages()} messages. What it cannot keep up with is dropped.`,
      "During this run a plugin of the same process that never returns was stopped.",
    ],
  }
}

const traced = (endpoint: string, sample: number) =>
  `[middleware.tracing.otlp]\nendpoint = "${endpoint}"\nsample = ${sample}\n`

/** Takes whatever is sent to it. */
async function startCollector() {
  let messages = 0
  const server = createServer((incoming, outgoing) => {
    messages++
    incoming.resume().on("end", () => outgoing.end())
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    messages: () => messages,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Budgets must be armed in what is measured. */
async function assertSpinnerStops(server: RunningServer): Promise<void> {
  const response = await fetch(`${server.url}/spin`)
  const { code } = (await response.json()) as { code: string }
  if (response.status !== 504 || code !== "E_LIMIT_CPU") throw new Error(`the spinner got ${response.status} ${code}`)
}

function benchToken(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "bench", exp: Math.floor(Date.now() / 1000) + 3600 })}`
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`
}
