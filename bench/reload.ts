import { writeFileSync } from "node:fs"
import { request } from "node:http"
import { dirname, join } from "node:path"
import { median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, processTree, residentBytes, startBextWith, writeConfig } from "./servers.ts"
import { hasWrk, load } from "./wrk.ts"

const RELOADS = 1000
/** Before the thousand that count: by then every path is compiled and V8's heaps have the size they keep. */
const WARM_UP = 1000
const EARLY = 100
const SECONDS_PER_LOAD = 5

/** Two processes under load, reloaded over and over with a plugin that is loaded anew every time. */
export async function measureReloads(): Promise<Section> {
  if (!hasWrk()) throw new Error("the load generator wrk is missing (Debian package wrk)")
  const file = writeConfig(configOf(0))
  await using server = await startBextWith(file, [])
  const socket = join(dirname(file), ".bext", "admin.sock")
  const traffic = startTraffic(`${server.url}/hello.txt`)
  const durations: number[] = []
  let earlyBytes = 0
  let settledBytes = 0
  for (let i = 1; i <= WARM_UP + RELOADS; i++) {
    writeFileSync(file, configOf(i))
    const startedAt = performance.now()
    await reload(socket)
    durations.push(performance.now() - startedAt)
    if (i === EARLY) earlyBytes = memoryOf(server.pid)
    if (i === WARM_UP) settledBytes = memoryOf(server.pid)
  }
  const { requests, broken } = await traffic.stop()
  const lastBytes = memoryOf(server.pid)
  const rows: Row[] = [
    { what: "requests served meanwhile", value: requests, unit: "requests" },
    { what: "requests that failed", value: broken, unit: "requests", target: { of: "value", atMost: 0 } },
    { what: "one reload, all processes", value: median(durations), unit: "ms" },
    {
      what: `resident memory after the first ${WARM_UP} reloads`,
      value: settledBytes / 1024 ** 2,
      unit: "MiB",
      comparedTo: `after ${EARLY}`,
      ratio: settledBytes / earlyBytes,
      target: { of: "ratio", atMost: 1.1 },
    },
    {
      what: `resident memory after ${RELOADS} more reloads`,
      value: lastBytes / 1024 ** 2,
      unit: "MiB",
      comparedTo: `after the first ${WARM_UP}`,
      ratio: lastBytes / settledBytes,
      target: { of: "ratio", atMost: 1.1 },
    },
  ]
  return {
    title: `${WARM_UP + RELOADS} reloads under load: two processes, 64 connections, a plugin loaded anew each time`,
    rows,
    notes: ["Memory is that of the supervisor and its processes together. An answer that is no success ends the run."],
  }
}

function configOf(round: number): string {
  const site = BASE.replace("processes = 1", "processes = 2")
  return `${site}\n[plugins.one-header]\npath = "BENCH/plugins/one-header/index.js"\nconfig = { round = ${round} }\n`.replaceAll(
    "BENCH/",
    new URL(".", import.meta.url).pathname,
  )
}

function memoryOf(pid: number): number {
  return processTree(pid).reduce((sum, one) => sum + residentBytes(one), 0)
}

/** Loads the server until told to stop. */
function startTraffic(url: string) {
  let stopped = false
  const run = async () => {
    const total = { requests: 0, broken: 0 }
    while (!stopped) {
      const { requests, broken } = await load(url, SECONDS_PER_LOAD, [], [])
      total.requests += requests
      total.broken += broken
    }
    return total
  }
  const running = run()
  return {
    stop() {
      stopped = true
      return running
    },
  }
}

function reload(socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { host: "bext", "content-type": "application/json" }
    const call = request({ socketPath, path: "/v1/reload", method: "POST", headers }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        text += chunk
      })
      response.on("end", () => (response.statusCode === 200 ? resolve() : reject(new Error(text))))
    })
    call.on("error", reject)
    call.end("{}")
  })
}
