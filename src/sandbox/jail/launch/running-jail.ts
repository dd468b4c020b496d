import type { Readable, Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import type { Jail, JailExit } from "../launcher.ts"
import type { Cgroup } from "./cgroups/cgroups.ts"
import { parentOf } from "./process-start-time.ts"
import { cpuMsOf, memoryBytesOf, processTree } from "./process-tree.ts"
import type { SpawnedProcess } from "./start-process.ts"

/** A process with what belongs to it. */
export interface StartedProcess extends SpawnedProcess {
  /** First process of the jail's namespace, as the host numbers it; null: the child is the program itself. */
  readonly firstPid: number | null
  readonly cgroup: Cgroup | null
  /** Removes what was made for this jail alone: cgroup and files. */
  release(): Promise<void>
}

/** Time that what a process wrote before it ended has to be read, milliseconds. */
const LAST_WORDS_MS = 1000

export class RunningJail implements Jail {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly exited: Promise<JailExit>
  readonly #process: StartedProcess
  /** Nobody may be signalled by number once the kernel may give the number to somebody else. */
  #ended = false
  #cpuMs = 0

  constructor(started: StartedProcess) {
    this.#process = started
    this.stdin = started.stdin
    this.stdout = started.stdout
    this.stderr = started.stderr
    this.exited = this.#end()
  }

  cpuMs(): number {
    // What a process that nobody waited for has used is lost with it: never less than it was.
    if (!this.#ended) this.#cpuMs = Math.max(this.#cpuMs, this.#process.cgroup?.cpuMs() ?? cpuMsOf(this.#tree()))
    return this.#cpuMs
  }

  memoryBytes(): number {
    if (this.#ended) return 0
    return this.#process.cgroup?.memoryBytes() ?? memoryBytesOf(this.#tree())
  }

  kill(): void {
    if (this.#ended) return
    const { pid, firstPid, cgroup } = this.#process
    // Nobody reads what else it writes, and what it wrote before must not keep its end from being seen.
    this.stdout.destroy()
    this.stdin.destroy()
    if (firstPid === null) killGroup(pid, cgroup)
    else killFirst(firstPid, this.#process)
  }

  #tree(): number[] {
    return processTree(this.#process.firstPid ?? this.#process.pid)
  }

  async #end(): Promise<JailExit> {
    const { pid, ended, closed, firstPid, cgroup, release } = this.#process
    const { code, signal } = await ended
    if (firstPid === null) killMembers(pid, cgroup)
    this.cpuMs()
    const outOfMemory = (cgroup?.oomKills() ?? 0) > 0
    this.#ended = true
    await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })])
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream.destroy()
    await closed
    // What does not end within seconds is gone with the launcher, or by the next.
    await release().catch(() => {})
    return { code, signal, outOfMemory }
  }
}

/**
 * With its first process, the kernel ends a namespace; bubblewrap, its parent, reaps it and ends. Bubblewrap killed itself would
 * leave that to the first process of the host, which may be one that never reaps.
 */
function killFirst(firstPid: number, bubblewrap: SpawnedProcess): void {
  if (parentOf(firstPid) === bubblewrap.pid) kill(firstPid)
  else bubblewrap.kill()
}

/** And what left the group: all of it where there is a cgroup, elsewhere what still has its parent. */
function killGroup(pid: number, cgroup: Cgroup | null): void {
  const others = processTree(pid)
  killMembers(pid, cgroup)
  for (const other of others) kill(other)
}

/** Who has its group: as long as there is anybody, the kernel gives the group's number to nobody else. */
function killMembers(pid: number, cgroup: Cgroup | null): void {
  kill(-pid)
  cgroup?.kill()
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It is gone already.
  }
}
