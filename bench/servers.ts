import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "./temporary-folder.ts"

const BENCH = fileURLToPath(new URL(".", import.meta.url))

/** The pinned token secret of the benchmark's configurations; it protects nothing. */
export const JWT_SECRET = "a-secret-for-the-benchmark-that-protects-nothing"

/** A server in a process of its own. */
export interface RunningServer extends AsyncDisposable {
  readonly url: string
  readonly pid: number
}

/** Writes a bext.config.toml into a new folder. @returns Its path. */
export function writeConfig(text: string): string {
  const folder = temporaryFolder()
  const file = join(folder, "bext.config.toml")
  writeFileSync(file, text.replaceAll("BENCH/", BENCH))
  return file
}

/** What every configuration of the benchmark has: a folder with one small file, no log. */
export const BASE = `
[server]
listen = "127.0.0.1:0"
processes = 1
[log]
level = "error"
access = false
[app]
static = "BENCH/sites/hello"
`

/** `bext serve` with this configuration, as an operator runs it. @param pins - Its cores; none: all of them. */
export function startBext(config: string, pins: readonly string[] = PINS.server): Promise<RunningServer> {
  return startBextWith(writeConfig(config), pins)
}

/** `bext serve` with a configuration that the measurement edits. */
export function startBextWith(configFile: string, pins: readonly string[] = PINS.server): Promise<RunningServer> {
  const entry = fileURLToPath(new URL("../src/cli/bext.ts", import.meta.url))
  return start([entry, "serve", "--config", configFile], /listens on (http:\S+)/, pins)
}

/** One of the peers in bench/peers. */
export function startPeer(file: string): Promise<RunningServer> {
  return start([join(BENCH, "peers", file)], /listens on (\d+)/, PINS.server)
}

/** Servers have a core of their own, the load generator another, where the machine has two and taskset. */
export const PINS =
  availableParallelism() > 1 && spawnSync("taskset", ["--version"]).error === undefined
    ? { server: ["taskset", "-c", "0"], load: ["taskset", "-c", "1"] }
    : { server: [], load: [] }

async function start(args: readonly string[], ready: RegExp, pins: readonly string[]): Promise<RunningServer> {
  const env = { ...process.env, PORT: "0", NODE_ENV: "production", BENCH_JWT_SECRET: JWT_SECRET }
  const [command, ...rest] = [...pins, process.execPath, ...args]
  const child = spawn(command!, rest, { env, stdio: ["ignore", "pipe", "inherit"] })
  const address = await firstMatch(child, ready)
  return {
    url: address.startsWith("http") ? address : `http://127.0.0.1:${address}`,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      child.kill("SIGKILL")
      await once(child, "exit")
    },
  }
}

async function firstMatch(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = ""
  for await (const chunk of child.stdout!) {
    text += chunk
    const match = pattern.exec(text)
    if (match !== null) {
      child.stdout!.resume()
      return match[1]!
    }
  }
  throw new Error(`the server ended before it listened:\n${text}`)
}

/** Milliseconds of CPU time a process has used, user and system. Source: proc(5), /proc/PID/stat fields 14 and 15. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** A process and its descendants. */
export function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)
  return [pid, ...children.flatMap(processTree)]
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024
}
