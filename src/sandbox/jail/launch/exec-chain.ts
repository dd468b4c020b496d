import type { LaunchOptions } from "../launcher.ts"
import type { Bubblewrap } from "./bubblewrap.ts"
import type { HardLimits } from "./hard-limits.ts"
import { DATA, moved, PATH, PLUGIN, SDK } from "./jail-paths.ts"
import { firstProcessScript, launchScript } from "./launch-script.ts"
import { type MountSetup, mountArguments } from "./mounts.ts"

export interface User {
  readonly uid: number
  readonly gid: number
}

/**
 * How programs are kept apart.
 * - `user-namespace`: bubblewrap as the jail's user, all namespaces.
 * - `root`: bubblewrap as root, without a user namespace; setpriv drops root and every capability at the end.
 * - `none`: no bubblewrap.
 */
export type Containment = "user-namespace" | "root" | "none"

export interface ChainSetup extends MountSetup {
  readonly containment: Containment
  /** Used unless `containment` is `none`. */
  readonly bubblewrap: Bubblewrap | null
  /** What programs run as when bext is root; null when it is not. */
  readonly user: User | null
  readonly hardLimits: HardLimits
}

/** Descriptors of the chain's first program. Shells cannot write to any above 9. */
export const FILTER_DESCRIPTOR = 3
export const STATUS_DESCRIPTOR = 4
export const FIRST_CGROUP_DESCRIPTOR = 5

/** One way to start: what to spawn, and how. */
export interface ExecChain {
  /** What a shell does first; it ends in becoming the words. */
  readonly script: string
  readonly words: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Undefined: as bext. */
  readonly user: User | undefined
}

/**
 * User in jails with a user namespace, whoever it is outside. Not 65534: that is what everybody else's files seem to be of in
 * there, user_namespaces(7).
 */
const JAIL_USER: User = { uid: 1000, gid: 1000 }

/**
 * Processes and threads of the jail's user on the whole machine, where nothing counts those of one jail. Enough for many
 * jails; a fork bomb still ends somewhere.
 */
const PROCESSES_OF_USER = 4096

/** What bubblewrap itself needs in a limit for the whole jail: its monitor, and the jail's first process. */
export const OWN_PROCESSES = 2

/**
 * The programs that become one another, or start the next, until the last is the plugin's: a shell that joins cgroups and sets
 * limits, bubblewrap, and a shell that is the first process of the jail.
 * @param cgroups - How many cgroups there are to join; 0: limits are those of each process.
 * @param home - Absolute path of a private folder for temporary files, used when `containment` is `none`.
 */
export function execChain(setup: ChainSetup, options: LaunchOptions, cgroups: number, home: string): ExecChain {
  return setup.containment === "none"
    ? plainChain(setup, options, cgroups, home)
    : bubblewrapChain(setup, options, cgroups)
}

function bubblewrapChain(setup: ChainSetup, options: LaunchOptions, cgroups: number): ExecChain {
  const asRoot = setup.containment === "root"
  const env = ownEnvironment("/tmp", options.dataFolder && DATA, setup.sdkFolder && SDK)
  const processes = asRoot ? PROCESSES_OF_USER : options.limits.pids + 1
  return {
    script: script(setup, options, cgroups, Number.POSITIVE_INFINITY),
    words: [
      setup.bubblewrap?.path ?? "bwrap",
      ...(asRoot ? rootNamespaces() : userNamespace(setup)),
      "--die-with-parent",
      "--new-session",
      ...["--hostname", "plugin"],
      "--clearenv",
      ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
      ...mountArguments(setup, options),
      ...["--json-status-fd", String(STATUS_DESCRIPTOR)],
      ...["--seccomp", String(FILTER_DESCRIPTOR)],
      // Bubblewrap's own would be left to the first process of the host when the program ends, which may never reap it.
      "--as-pid-1",
      "--",
      ...["/bin/sh", "-c", firstProcessScript(cgroups > 0 ? Number.POSITIVE_INFINITY : processes), "sh"],
      ...(asRoot ? dropRoot(setup.user) : []),
      ...withEnvironment({ ...env, PWD: PLUGIN }, options.env, options.command),
    ],
    cwd: "/",
    env: { PATH },
    // Before bubblewrap: it maps the jail's user to its own, which must not be root.
    user: asRoot ? undefined : (setup.user ?? undefined),
  }
}

/**
 * The command with its own variables on top of those it would have. Whatever runs before it does without: by LD_PRELOAD, a
 * plugin's library would run in the jail's first process, in setpriv as root, or without limits.
 */
function withEnvironment(
  env: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string>>,
  command: readonly string[],
): readonly string[] {
  if (Object.keys(own).length === 0) return command
  return [
    ...["/usr/bin/env", "-i"],
    ...Object.entries({ ...env, ...own }).map(([name, value]) => `${name}=${value}`),
    // What env would take for another variable.
    ...(command[0]?.includes("=") ? ["/bin/sh", "-c", 'exec "$@"', "sh"] : []),
    ...command,
  ]
}

/** --unshare-all goes on without a user namespace when it cannot have one; --unshare-user does not. */
function userNamespace({ bubblewrap }: ChainSetup): string[] {
  return [
    "--unshare-user",
    "--unshare-all",
    ...(bubblewrap?.disablesUserNamespaces ? ["--disable-userns"] : []),
    ...["--cap-drop", "ALL"],
    ...["--uid", String(JAIL_USER.uid), "--gid", String(JAIL_USER.gid)],
  ]
}

function rootNamespaces(): string[] {
  return [
    ...["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"],
    ...["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"],
  ]
}

function dropRoot(user: User | null): string[] {
  if (user === null) throw new Error("only root has namespaces without a user namespace")
  const { uid, gid } = user
  return [
    "/usr/bin/setpriv",
    ...["--reuid", String(uid), "--regid", String(gid), "--clear-groups"],
    ...["--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", "--no-new-privs"],
  ]
}

function plainChain(setup: ChainSetup, options: LaunchOptions, cgroups: number, home: string): ExecChain {
  const own = ownEnvironment(home, options.dataFolder, setup.sdkFolder)
  // Here its folder may be one that Python writes to, and what it compiled would look like a change of the plugin.
  const env = { ...own, PWD: options.folder, PYTHONDONTWRITEBYTECODE: "1" }
  const command = options.command.map((word) => outside(word, options))
  const processes = setup.user === null || cgroups > 0 ? Number.POSITIVE_INFINITY : PROCESSES_OF_USER
  return {
    script: script(setup, options, cgroups, processes),
    words: withEnvironment(env, options.env, command),
    cwd: options.folder,
    env,
    user: setup.user ?? undefined,
  }
}

/** What the jail calls /plugin and /data is elsewhere without one. */
function outside(word: string, { folder, dataFolder }: LaunchOptions): string {
  return moved(word, PLUGIN, folder) ?? (dataFolder === null ? undefined : moved(word, DATA, dataFolder)) ?? word
}

function ownEnvironment(home: string, data: string | null, sdk: string | null): Readonly<Record<string, string>> {
  return {
    PATH,
    HOME: home,
    TMPDIR: home,
    LANG: "C.UTF-8",
    ...(data === null ? {} : { BEXT_DATA: data }),
    ...(sdk === null ? {} : { PYTHONPATH: sdk }),
  }
}

function script(setup: ChainSetup, { limits }: LaunchOptions, cgroups: number, processes: number): string {
  const { hardLimits } = setup
  return launchScript({
    cgroups: Array.from({ length: cgroups }, (_, index) => FIRST_CGROUP_DESCRIPTOR + index),
    // A cgroup bounds all of the jail, files in memory included.
    dataBytes: cgroups > 0 ? Number.POSITIVE_INFINITY : Math.min(limits.memoryBytes, hardLimits.dataBytes),
    fileBytes: Math.min(limits.fileBytes, hardLimits.fileBytes),
    openFiles: Math.min(limits.openFiles, hardLimits.openFiles),
    processes,
  })
}
