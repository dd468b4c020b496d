import { type SpawnOptions, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import type { Readable, Writable } from "node:stream"
import { type ExecChain, FILTER_DESCRIPTOR, FIRST_CGROUP_DESCRIPTOR, STATUS_DESCRIPTOR } from "./exec-chain.ts"

export interface StartFiles {
  /** Absolute path of the system-call filter; null: none is set, and nobody tells of a first process. */
  readonly filter: string | null
  /** Open for writing: what the chain joins. They are closed here. */
  readonly cgroups: readonly number[]
  /** Descriptors the program must not get. */
  readonly inherited: readonly number[]
}

export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface SpawnedProcess {
  readonly pid: number
  /** How it ended. */
  readonly ended: Promise<ProcessEnd>
  /** Since, besides, nobody has the other ends of its streams any more. */
  readonly closed: Promise<void>
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** What bubblewrap tells of itself; null without it. */
  readonly status: Readable | null
  /** SIGKILL for it alone. */
  kill(): void
}

/**
 * Spawns the first program of the chain. Blocks for about a millisecond.
 * @throws {Error} When this process has too many descriptors or the machine too many processes.
 */
export function startProcess(chain: ExecChain, files: StartFiles): SpawnedProcess {
  const opened: number[] = [...files.cgroups]
  try {
    const child = spawn("/bin/sh", ["-c", chain.script, "sh", ...chain.words], {
      cwd: chain.cwd,
      env: chain.env,
      // In a session of its own: Ctrl-C on bext's terminal is for bext, which ends its programs when it has drained.
      detached: true,
      stdio: toStdio(files, opened),
      ...chain.user,
    } satisfies SpawnOptions)
    const { pid, stdin, stdout, stderr } = child
    const ended = new Promise<ProcessEnd>((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })))
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
    // When there is no process, the reason comes later than it is of use.
    child.on("error", () => {})
    if (pid === undefined || stdin === null || stdout === null || stderr === null) {
      throw new Error("no process can be started: too many processes, or too many open files")
    }
    const status = files.filter === null ? null : (child.stdio[STATUS_DESCRIPTOR] as Readable)
    return { pid, ended, closed, stdin, stdout, stderr, status, kill: () => child.kill("SIGKILL") }
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}

/** @param opened - Gets what has to be closed once the child has it. */
export function toStdio({ filter, cgroups, inherited }: StartFiles, opened: number[]): ("pipe" | "ignore" | number)[] {
  const stdio: (number | "pipe" | "ignore")[] = ["pipe", "pipe", "pipe", "ignore", "ignore"]
  if (filter !== null) {
    // Anew for each: bubblewrap reads on from where a shared descriptor stands.
    stdio[FILTER_DESCRIPTOR] = open(filter, "r", opened)
    stdio[STATUS_DESCRIPTOR] = "pipe"
  }
  for (const [index, descriptor] of cgroups.entries()) stdio[FIRST_CGROUP_DESCRIPTOR + index] = descriptor
  if (inherited.length === 0) return stdio
  const nothing = open("/dev/null", "r", opened)
  for (const descriptor of inherited) {
    while (stdio.length < descriptor) stdio.push("ignore")
    // "ignore" would leave it as it is.
    if (stdio[descriptor] === undefined || stdio[descriptor] === "ignore") stdio[descriptor] = nothing
  }
  return stdio
}

function open(path: string, flags: string, opened: number[]): number {
  const descriptor = openSync(path, flags)
  opened.push(descriptor)
  return descriptor
}
