import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { JailCallFigures } from "./jail-calls-child.ts"
import { NO_JAILS } from "./jail-guests.ts"
import { interleave, median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { PINS } from "./servers.ts"

const TITLE = "Jails: one on_request of a warm program"
const ROUNDS = 5

/** The round trip of a call, with host and program on cores as the system likes, and both on one. */
export async function measureJailCalls(): Promise<Section> {
  if (NO_JAILS) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_JAILS}.`] }
  const found: Record<"free" | "pinned", JailCallFigures[]> = { free: [], pinned: [] }
  const run = (name: "free" | "pinned", pins: readonly string[]) => async () => {
    const figures = await callPrograms(pins)
    found[name].push(figures)
    return figures.cUs
  }
  await interleave({ free: run("free", []), pinned: run("pinned", PINS.server) }, { rounds: ROUNDS, warmUp: 0 })
  const middle = (name: "free" | "pinned", figure: keyof JailCallFigures) =>
    median(found[name].map((figures) => figures[figure]))
  const time = (what: string, name: "free" | "pinned", figure: keyof JailCallFigures, atMost?: number): Row => ({
    what,
    value: middle(name, figure),
    unit: "µs",
    ...(atMost !== undefined && { target: { of: "value", atMost } }),
  })
  const rate = (what: string, name: "free" | "pinned", figure: keyof JailCallFigures, atLeast?: number): Row => ({
    what,
    value: middle(name, figure),
    unit: "calls/s",
    ...(atLeast !== undefined && { target: { of: "value", atLeast } }),
  })
  return {
    title: TITLE,
    rows: [
      time("C, p50, across cores", "free", "cUs", 150),
      time("Python, p50, across cores", "free", "pythonUs", 150),
      time("C, p50, both on one core", "pinned", "cUs", 20),
      time("Python, p50, both on one core", "pinned", "pythonUs"),
      rate("C, 64 in flight, across cores", "free", "cPerSecond"),
      rate("Python, 64 in flight, across cores", "free", "pythonPerSecond", 50_000),
      rate("C, 64 in flight, both on one core", "pinned", "cPerSecond"),
      rate("Python, 64 in flight, both on one core", "pinned", "pythonPerSecond"),
    ],
    notes: [
      "From the call of the sandbox to its answer: the request as JSON, both ways through a pipe, checks, budgets and limits on.",
      `Medians of ${ROUNDS} processes each, run in turn.`,
    ],
  }
}

async function callPrograms(pins: readonly string[]): Promise<JailCallFigures> {
  const child = fileURLToPath(new URL("jail-calls-child.ts", import.meta.url))
  const [command, ...args] = [...pins, process.execPath, child]
  const { stdout } = await promisify(execFile)(command!, args)
  return JSON.parse(stdout) as JailCallFigures
}
