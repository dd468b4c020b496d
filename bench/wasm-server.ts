import { interleave, median, medianRatio } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, cpuMs, startBext } from "./servers.ts"
import { compileGuest, NO_C, writeWasmPlugin } from "./wasm-guests.ts"
import { hasWrk, load } from "./wrk.ts"

const TITLE = "Whole server with a plugin: one process, keep-alive, 64 connections, 5 bytes"
const SECONDS = 2
const ROUNDS = 7

/** The same plugin as a module and as a script, over loopback, one process each, loaded in turn. */
export async function measureWasmServer(): Promise<Section> {
  if (NO_C) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_C}.`] }
  if (!hasWrk()) throw new Error("the load generator wrk is missing (Debian package wrk)")
  const folder = writeWasmPlugin("one-header", compileGuest("guests/one-header.c", ["BOTH_HOOKS"]))
  await using none = await startBext(BASE)
  await using wasm = await startBext(`${BASE}[plugins.one-header]\npath = "${folder}"\n`)
  await using quickjs = await startBext(`${BASE}[plugins.one-header]\npath = "BENCH/plugins/one-header/index.js"\n`)
  const servers = { none, wasm, quickjs }
  const cpu: Record<keyof typeof servers, number[]> = { none: [], wasm: [], quickjs: [] }
  const loading = (name: keyof typeof servers) => async () => {
    const { pid, url } = servers[name]
    const before = cpuMs(pid)
    const { requests, perSecond } = await load(`${url}/hello.txt`, SECONDS, [])
    cpu[name].push(((cpuMs(pid) - before) * 1000) / requests)
    return perSecond
  }
  const rates = await interleave(
    { none: loading("none"), wasm: loading("wasm"), quickjs: loading("quickjs") },
    { rounds: ROUNDS, warmUp: 2 },
  )
  const row = (what: string, name: keyof typeof servers): Row => ({
    what,
    value: median(rates[name]),
    unit: "requests/s",
    comparedTo: "no plugin",
    ratio: medianRatio(rates[name], rates.none),
  })
  return {
    title: TITLE,
    rows: [
      row("no plugin", "none"),
      row("one plugin in C, both hooks", "wasm"),
      row("one QuickJS plugin, both hooks", "quickjs"),
    ],
    notes: [
      `Server CPU per request, µs: ${Object.entries(cpu)
        .map(([name, samples]) => `${name} ${median(samples.slice(2)).toFixed(1)}`)
        .join(", ")}.`,
    ],
  }
}
