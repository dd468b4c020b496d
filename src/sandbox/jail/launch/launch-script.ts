/**
 * What the shell in front of a program does before it becomes the next program, its arguments. POSIX shells alone agree on
 * little: dash takes one limit for each `ulimit`, and no descriptor above 9.
 */
export interface ScriptSetup {
  /** Descriptors of cgroups' lists of processes, or of threads. They are closed before anything else starts. */
  readonly cgroups: readonly number[]
  /** Infinity: as the host has it. */
  readonly dataBytes: number
  readonly fileBytes: number
  readonly openFiles: number
  /** Of all processes of the jail's user in its user namespace. */
  readonly processes: number
}

export function launchScript(setup: ScriptSetup): string {
  return [
    // 0 is whoever writes it: it is in its cgroup before it is anything that could have children.
    ...setup.cgroups.map((descriptor) => `echo 0 >&${descriptor} && exec ${descriptor}>&-`),
    "umask 022",
    "ulimit -c 0",
    ...limit("-n", setup.openFiles),
    // In blocks of 512 bytes (POSIX).
    ...limit("-f", setup.fileBytes / 512),
    // Not -v: programs of Go and Node take far more addresses than memory.
    ...limit("-d", setup.dataBytes / 1024),
    ...processLimit(setup.processes),
    'exec "$@"',
  ].join(" && ")
}

/**
 * What the first process of a jail does: it waits for the program, reaps what that leaves behind, as every shell does while it
 * waits, and takes the rest with it when it ends. Not the program itself: that could undo what makes it end with bext.
 *
 * Before it starts the program, it writes an empty line and reads one. By then the kernel knows that each process is to end with
 * the one before; had bext been killed a moment sooner, nobody would be there to answer, or to end any of them.
 * @param processes - Of all processes of the jail's user in its user namespace; Infinity: as the host has it.
 */
export function firstProcessScript(processes: number): string {
  // Without the last command, the shell would become the program.
  const begins = ["echo", "read -r go || exit"]
  return [...begins, ...processLimit(processes).map((command) => `${command} || exit`), '"$@"', "exit $?"].join("; ")
}

/** -p in dash and BusyBox; in bash that is the size of pipes, which cannot be set. */
function processLimit(processes: number): string[] {
  if (!Number.isFinite(processes)) return []
  const count = Math.floor(processes)
  return [`{ ulimit -p ${count} 2>/dev/null || ulimit -u ${count}; }`]
}

function limit(option: string, value: number): string[] {
  return Number.isFinite(value) ? [`ulimit ${option} ${Math.floor(value)}`] : []
}
