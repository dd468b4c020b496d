/**
 * The boundary between the launcher and the kernel's control groups. There is no code here.
 *
 * Everything is below the control group that bext runs in, so whatever limits bext limits its jails: one folder for each process
 * of bext, in it one for each jail. Source: cgroups(7); Linux, Documentation/admin-guide/cgroup-v1/, admin-guide/cgroup-v2.rst.
 */

export interface CgroupLimits {
  /** Of all processes together, with their page cache, their files in a tmpfs and what the kernel keeps for them. No swap. */
  readonly memoryBytes: number
  /** Processes and threads. */
  readonly pids: number
  /** Processors: 0.5 is half the time of one. At least 0.01; where bext itself may use less, that stays the limit. */
  readonly cpus: number
}

export interface Cgroups extends AsyncDisposable {
  readonly version: "v1" | "v2" | "none"
  /** Why there are none, in a sentence for people. Null when there are. */
  readonly reason: string | null
  /**
   * An empty group with these limits.
   * @param name - Begins the name of its folder: letters, digits, "-" and "_". Need not be unique.
   * @throws {Error} When the kernel refuses, and always where `version` is "none".
   */
  create(name: string, limits: CgroupLimits): Cgroup
  /** Removes every group there still is, and ends what runs in it. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What is counted is what happened since it was made. */
export interface Cgroup {
  /**
   * Opens the files that a process writes "0" to, one after the other, to join with everything it starts from then on. Whoever
   * opened them is who the kernel asks for the right, so a process that has none may write. Version 1: one for each hierarchy;
   * version 2: one, and the write can take some ms, so no thread that serves may do it.
   * @returns Descriptors, which are the caller's to close.
   */
  openJoinFiles(): number[]
  /** Milliseconds of CPU used so far. Some µs. After `remove`, what it was in the end. */
  cpuMs(): number
  /** Bytes in use now, the page cache included that the kernel takes back before it ends anything. Some µs. */
  memoryBytes(): number
  /** The most it had in use; null where the kernel does not say (version 2 before Linux 5.19). */
  peakBytes(): number | null
  /** Above 0 when the kernel ended processes for memory; about how many. Source: `memory.oom_control`, `memory.events`. */
  oomKills(): number
  /** How often a process or thread could not be started for `pids`. */
  pidsRefused(): number
  /** @throws {Error} When the kernel refuses. */
  setCpus(cpus: number): void
  /** Ends everything in it, at once; nothing new starts in it. */
  kill(): void
  /** Ends what is left and removes it. @throws {Error} When something in it does not end within some seconds. */
  remove(): Promise<void>
}
