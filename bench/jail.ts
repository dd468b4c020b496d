import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { setTimeout as delay } from "node:timers/promises"
import { createJailLauncher } from "../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { Jail, JailLauncher } from "../src/sandbox/jail/launcher.ts"
import { describe, makeGuests, NO_JAILS, PYTHON_PROGRAM, SDK, toLaunch } from "./jail-guests.ts"
import { interleave, median } from "./measure.ts"
import type { Row, Section } from "./report.ts"

const TITLE = "Jails: starting a program"
const HELLO =
  '{"method":"hello","params":{"protocol":1,"plugin":"bench","config":null,"limits":{"line_bytes":65536}},"id":0}\n'
const AT_ONCE = 20
/** The kernel takes namespaces apart when their processes have ended, and holds up whoever starts the next meanwhile. */
const SETTLE_MS = 50
/** As long as the starts take. */
const RESTING_MS = 150
const JAILS = 8

/** Since a program was spawned until its first line is there; what isolation adds to that in time and memory. */
export async function measureJails(): Promise<Section> {
  if (NO_JAILS) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_JAILS}.`] }
  await using launcher = await createJailLauncher({ sdkFolder: SDK })
  const folder = makeGuests()
  return {
    title: TITLE,
    rows: [
      ...(await measureStarts(launcher, folder)),
      await measureMemory(launcher, folder),
      await measureBlocking(launcher, folder),
    ],
    notes: [
      describe(launcher),
      "A start is over when the program has answered hello. The static program is in C; Python loads the module bext.",
    ],
  }
}

async function measureStarts(launcher: JailLauncher, folder: string): Promise<Row[]> {
  const program = join(folder, "answer-lines")
  const python = [PYTHON_PROGRAM, join(folder, "main.py")]
  const peers = Object.entries(peerCommands(folder)).filter(([command]) => isInstalled(command))
  const samples = await interleave(
    {
      plain: () => timeChild(() => startPlain([program], folder)),
      jailed: () => timeJail(launcher, folder, ["/plugin/answer-lines"]),
      ...Object.fromEntries(peers.map(([name, command]) => [name, () => timeChild(() => startPlain(command, folder))])),
    },
    { rounds: 41, warmUp: 5 },
  )
  const slow = await interleave(
    {
      plain: () => timeChild(() => startPlain(python, folder)),
      jailed: () => timeJail(launcher, folder, [PYTHON_PROGRAM, "/plugin/main.py"]),
    },
    { rounds: 15, warmUp: 3 },
  )
  const plain = median(samples.plain)
  const row = (what: string, value: number, comparedTo: string, base: number): Row => ({
    what,
    value,
    unit: "ms",
    comparedTo,
    ratio: value / base,
  })
  return [
    { what: "a static program, plain child process", value: plain, unit: "ms" },
    row("a static program, in a jail", median(samples.jailed), "plain", plain),
    {
      what: "what its jail adds",
      value: median(samples.jailed) - plain,
      unit: "ms",
      target: { of: "value", atMost: 5 },
    },
    ...peers.map(([name]) =>
      row(`a static program, in ${name}`, median((samples as Record<string, number[]>)[name]!), "plain", plain),
    ),
    { what: "Python, plain child process", value: median(slow.plain), unit: "ms" },
    row("Python, in a jail", median(slow.jailed), "plain", median(slow.plain)),
  ]
}

/** The same program as others isolate it: no network, private temporary files. */
function peerCommands(folder: string): Record<string, string[]> {
  const program = join(folder, "answer-lines")
  return {
    firejail: [
      "firejail",
      "--quiet",
      "--noprofile",
      "--net=none",
      "--private-dev",
      "--seccomp",
      "--caps.drop=all",
      program,
    ],
    nsjail: ["nsjail", "-Mo", "--quiet", "--chroot", "/", "--user", "65534", "--group", "65534", "--", program],
  }
}

function isInstalled(command: string): boolean {
  return spawnSync(command, ["--help"], { stdio: "ignore" }).error === undefined
}

function startPlain([command, ...args]: readonly string[], folder: string): ChildProcess {
  const env = { PATH: process.env.PATH, HOME: folder, PYTHONPATH: SDK }
  return spawn(command!, args, { cwd: folder, env, stdio: ["pipe", "pipe", "ignore"] })
}

async function timeChild(start: () => ChildProcess): Promise<number> {
  await delay(SETTLE_MS)
  const startedAt = performance.now()
  const child = start()
  await firstLine(child.stdin!, child.stdout!)
  const ms = performance.now() - startedAt
  child.stdin!.end()
  await once(child, "exit")
  return ms
}

async function timeJail(launcher: JailLauncher, folder: string, command: readonly string[]): Promise<number> {
  await delay(SETTLE_MS)
  const startedAt = performance.now()
  const jail = await launcher.launch(toLaunch(folder, command))
  await firstLine(jail.stdin, jail.stdout)
  const ms = performance.now() - startedAt
  await end(jail)
  return ms
}

async function firstLine(stdin: Writable, stdout: Readable): Promise<void> {
  stdin.write(HELLO)
  await once(stdout, "data")
}

async function end(jail: Jail): Promise<void> {
  jail.kill()
  await jail.exited
}

/** Of what is around the program: shell and bubblewrap, with their share of what they share. */
async function measureMemory(launcher: JailLauncher, folder: string): Promise<Row> {
  const jails = await Promise.all(
    Array.from({ length: JAILS }, async () => {
      const jail = await launcher.launch(toLaunch(folder, ["/plugin/answer-lines"]))
      await firstLine(jail.stdin, jail.stdout)
      return jail
    }),
  )
  const kb = descendants(process.pid).filter(isLauncher).map(proportionalKb)
  await Promise.all(jails.map(end))
  return {
    what: "memory around the program of a jail (PSS)",
    value: kb.reduce((sum, one) => sum + one, 0) / JAILS,
    unit: "KB",
    target: { of: "value", atMost: 512 },
  }
}

function descendants(pid: number): number[] {
  const children = execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" }).split("\n")
  const pids = children.map(Number).filter((child) => child > 0 && child !== pid)
  return pids.flatMap((child) => [child, ...(isGone(child) ? [] : descendantsOrNone(child))])
}

/** `ps` fails when there is nothing to list. */
function descendantsOrNone(pid: number): number[] {
  try {
    return descendants(pid)
  } catch {
    return []
  }
}

function isGone(pid: number): boolean {
  return commandOf(pid) === ""
}

function isLauncher(pid: number): boolean {
  return ["bwrap", "sh"].includes(commandOf(pid))
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim()
  } catch {
    return ""
  }
}

/** Source: proc_pid_smaps(5). */
function proportionalKb(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))![1])
}

/** The longest that nothing else gets a turn while many jails are asked for in the same moment. */
async function measureBlocking(launcher: JailLauncher, folder: string): Promise<Row> {
  const samples = await interleave(
    {
      starting: async () => {
        const turns = new LongestTurn()
        const launch = toLaunch(folder, ["/plugin/answer-lines"])
        const jails = await Promise.all(Array.from({ length: AT_ONCE }, () => launcher.launch(launch)))
        const ms = turns.end()
        await Promise.all(jails.map(end))
        return ms
      },
      resting: async () => {
        const turns = new LongestTurn()
        await delay(RESTING_MS)
        return turns.end()
      },
    },
    { rounds: 9, warmUp: 1 },
  )
  return {
    what: `longest turn of the event loop while ${AT_ONCE} jails start`,
    value: median(samples.starting),
    unit: "ms",
    comparedTo: "at rest",
    ratio: median(samples.starting) / median(samples.resting),
    target: { of: "value", atMost: 2 },
  }
}

/** Watches from its making on. */
class LongestTurn {
  #most = 0
  #last = performance.now()
  #over = false

  constructor() {
    setImmediate(() => this.#look())
  }

  /** Milliseconds. */
  end(): number {
    this.#over = true
    return this.#most
  }

  #look(): void {
    const now = performance.now()
    this.#most = Math.max(this.#most, now - this.#last)
    this.#last = now
    if (!this.#over) setImmediate(() => this.#look())
  }
}
