import { availableParallelism } from "node:os"
import { interleave, median, medianRatio } from "./measure.ts"
import type { Row, Section, Target } from "./report.ts"
import { BASE, cpuMs, processTree, type RunningServer, startBext } from "./servers.ts"
import { hasWrk, load } from "./wrk.ts"

const SECONDS = 2
const ROUNDS = 7
const ALL_CORES: readonly string[] = []

/** The same site served by one process and by several: what a request costs, and how many there are. */
export async function measureProcesses(): Promise<Section> {
  if (!hasWrk()) throw new Error("the load generator wrk is missing (Debian package wrk)")
  await using one = await startBext(BASE, ALL_CORES)
  await using two = await startBext(BASE.replace("processes = 1", "processes = 2"), ALL_CORES)
  await using four = await startBext(BASE.replace("processes = 1", "processes = 4"), ALL_CORES)
  const cpu: Record<string, number[]> = { one: [], two: [], four: [] }
  const measure = (name: string, server: RunningServer) => async () => {
    const before = treeCpuMs(server.pid)
    const { requests, perSecond } = await load(`${server.url}/hello.txt`, SECONDS, [], ALL_CORES)
    cpu[name]!.push(((treeCpuMs(server.pid) - before) * 1000) / requests)
    return perSecond
  }
  const cases = { one: measure("one", one), two: measure("two", two), four: measure("four", four) }
  const rates = await interleave(cases, { rounds: ROUNDS, warmUp: 2 })
  const samples = (name: string) => cpu[name]!.slice(2)

  const cost = (what: string, name: string, target?: Target): Row => ({
    what,
    value: median(samples(name)),
    unit: "µs CPU/request",
    comparedTo: "one process",
    ratio: medianRatio(samples(name), samples("one")),
    ...(target && { target }),
  })
  const rate = (what: string, name: keyof typeof rates): Row => ({
    what,
    value: median(rates[name]),
    unit: "requests/s",
    comparedTo: "one process",
    ratio: medianRatio(rates[name], rates.one),
  })
  return {
    title: "Processes: the same site, keep-alive, 64 connections, 5 bytes",
    rows: [
      cost("one process", "one"),
      cost("two processes and their supervisor", "two", { of: "ratio", atMost: 1.1 }),
      cost("four processes and their supervisor", "four"),
      rate("one process", "one"),
      rate("two processes", "two"),
      rate("four processes", "four"),
    ],
    notes: [
      `CPU time of all processes of the server together. The load generator shares the machine's ${availableParallelism()} cores with the server: on two cores, two processes and wrk are three that want one.`,
    ],
  }
}

function treeCpuMs(pid: number): number {
  return processTree(pid).reduce((sum, one) => sum + cpuMs(one), 0)
}
