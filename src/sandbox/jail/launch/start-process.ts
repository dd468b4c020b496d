import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from "node:child_process"
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

export interface SpawnedProcess {
  readonly child: ChildProcess
  /** Since it ended, or since it was found that there is none. */
  readonly ended: Promise<void>
  /** Since, besides, nobody has the other ends of its streams any more. */
  readonly closed: Promise<void>
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** What bubblewrap tells of itself; null without it. */
  readonly status: Readable | null
}

/**
 * Spawns the first program of the chain. Blocks for about a millisecond.
 * @throws {Error} When this process has too many descriptors or the machine too many processes.
 */
export function startProcess(chain: ExecChain, files: StartFiles): SpawnedProcess {
  const opened: number[] = [...files.cgroups]
  try {
    const child = spawn(chain.command, chain.args, {
      cwd: chain.cwd,
      env: chain.env,
      // In a session of its own: Ctrl-C on bext's terminal is for bext, which ends its programs when it has drained.
      detached: true,
      stdio: toStdio(files, opened),
      ...chain.user,
    } satisfies SpawnOptions)
    // "error" when there is no process: thrown below, where the reason is not known yet.
    const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()).on("error", () => resolve()))
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
    if (child.pid === undefined || child.stdin === null || child.stdout === null || child.stderr === null) {
      throw new Error(`${chain.command} cannot be started: too many processes, or too many open files`)
    }
    const status = files.filter === null ? null : (child.stdio[STATUS_DESCRIPTOR] as Readable)
    return { child, ended, closed, stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, status }
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}

/** @param opened - Gets what has to be closed once the child has it. */
function toStdio({ filter, cgroups, inherited }: StartFiles, opened: number[]): StdioOptions {
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
