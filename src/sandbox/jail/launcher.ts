/**
 * The boundary between the tier and whatever isolates a process on this machine. There is no code here.
 */
import type { Readable, Writable } from "node:stream"
import type { Isolation } from "../sandbox.ts"

export type { Isolation }

/** What one jail may use altogether, with everything it starts. */
export interface JailLimits {
  /** `full`: of all its processes, their files in memory included. `namespaces` and `process`: data of each process. */
  readonly memoryBytes: number
  /** Processors: 1 = all of one. Below `full` not enforced by the kernel. */
  readonly cpus: number
  /** Processes and threads. */
  readonly pids: number
  readonly openFiles: number
  /** Largest file it may write. */
  readonly fileBytes: number
  /** Size of /tmp; of /dev/shm a quarter of it. */
  readonly tmpBytes: number
}

export interface LaunchOptions {
  /** Plugin's name, for cgroups and messages. */
  readonly name: string
  /** Program and arguments, as they are found inside the jail: "/plugin/main.py". */
  readonly command: readonly string[]
  /** Becomes /plugin, read only. Absolute, without symbolic links. */
  readonly folder: string
  /** Becomes /data, writable. Made by the launcher for the jail's user. Null: there is none. */
  readonly dataFolder: string | null
  /** Host path → the same path inside, read only. */
  readonly readOnlyPaths: readonly string[]
  /** On top of PATH, HOME, TMPDIR and LANG, which the launcher sets; nothing of the host's environment is passed on. */
  readonly env: Readonly<Record<string, string>>
  readonly limits: JailLimits
}

export interface JailExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** The kernel ended something in it for memory. */
  readonly outOfMemory: boolean
}

/** A running jail. Nothing of it is left once `exited` resolves: no process, no cgroup, no descriptor. */
export interface Jail {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Never rejects. */
  readonly exited: Promise<JailExit>
  /** Milliseconds of CPU that everything in it used so far, by the kernel's account; as far as it can be known. */
  cpuMs(): number
  /** Bytes of memory that everything in it has now; as far as it can be known. */
  memoryBytes(): number
  /** Ends all of it, at once. */
  kill(): void
}

export interface JailLauncher extends AsyncDisposable {
  readonly isolation: Isolation
  /**
   * Starts a program. Starts of several are spread, so that they never hold up the event loop together.
   * @throws {Error} When it could not be started: what is missing, and what to do.
   */
  launch(options: LaunchOptions): Promise<Jail>
}
