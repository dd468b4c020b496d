import { lstatSync, readlinkSync } from "node:fs"
import { dirname } from "node:path"
import type { LaunchOptions } from "../launcher.ts"
import { DATA, PLUGIN, SDK } from "./jail-paths.ts"

/** Own versions of files in /etc: name → absolute path of the host. */
export type EtcFiles = ReadonlyMap<string, string>

export interface MountSetup {
  readonly etc: EtcFiles
  /** Absolute path of the Python module's folder; null: there is none. */
  readonly sdkFolder: string | null
  /** Whether /proc can be mounted. Where a container hides parts of it, nobody inside may mount it anew. */
  readonly proc: boolean
}

/** Folders of systems where they are links into /usr, and of those where they are not. */
const ROOTS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]

/** Of the host's /etc: what the loader, Debian's alternatives and clocks need. None has a secret. */
const SHARED_ETC = ["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"]

/** tmpfs takes 0 for "no limit"; and it has nothing smaller than a page. */
const MIN_TMPFS_BYTES = 4096

/** What a jail sees of files, as arguments of bubblewrap, which mounts in the order of its arguments. */
export function mountArguments(setup: MountSetup, options: LaunchOptions): string[] {
  const tmpBytes = Math.floor(options.limits.tmpBytes)
  return [
    ...["--ro-bind", "/usr", "/usr"],
    ...ROOTS.flatMap(root),
    ...folder("/etc"),
    ...SHARED_ETC.flatMap((path) => ["--ro-bind-try", path, path]),
    ...[...setup.etc].flatMap(([name, path]) => ["--ro-bind", path, `/etc/${name}`]),
    ...(setup.proc ? ["--proc", "/proc", ...hideFirstProcess(), ...keepSettings()] : folder("/proc")),
    ...["--dev", "/dev"],
    ...tmpfs("/dev/shm", tmpBytes / 4),
    ...tmpfs("/tmp", tmpBytes),
    ...["--ro-bind", options.folder, PLUGIN],
    ...(setup.sdkFolder === null ? [] : [...folder(dirname(SDK)), "--ro-bind", setup.sdkFolder, SDK]),
    ...(options.dataFolder === null ? [] : ["--bind", options.dataFolder, DATA]),
    // After /tmp, below which they may be.
    ...options.readOnlyPaths.flatMap((path) => [...parents(path).flatMap(folder), "--ro-bind", path, path]),
    // Last: the root is a tmpfs without a size, and nothing can be made in it from here on.
    ...["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", PLUGIN],
  ]
}

/**
 * The jail's first process has the same user: by /proc/1/mem a program could make it forget that it is to die with bext.
 */
function hideFirstProcess(): string[] {
  return [...tmpfs("/proc/1", 0), "--remount-ro", "/proc/1"]
}

/**
 * Some settings below /proc/sys belong to a namespace, and their kernel takes the program's user for its root: how much memory
 * messages between processes may take, for one.
 */
function keepSettings(): string[] {
  return ["--remount-ro", "/proc"]
}

function root(path: string): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  return stat.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path]
}

/** Made by bubblewrap itself, as the parent of a mount, it would be for the user that mounts alone. */
function folder(path: string): string[] {
  return ["--perms", "0755", "--dir", path]
}

function tmpfs(path: string, bytes: number): string[] {
  const size = Math.max(MIN_TMPFS_BYTES, Math.floor(bytes))
  return ["--size", String(size), "--perms", "1777", "--tmpfs", path]
}

/** From the top. */
function parents(path: string): string[] {
  const parent = dirname(path)
  return parent === "/" ? [] : [...parents(parent), parent]
}
