import { type SpawnOptions, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { processStartTime } from "./process-start-time.ts"

/** Files of one launcher that jails read, in a folder nobody else writes to. */
export interface PrivateFolder extends Disposable {
  /** Absolute. */
  readonly path: string
  /** Absolute path of a file in it that everybody may read. */
  write(name: string, content: string | Uint8Array): string
  /**
   * Writes again what is gone: many systems remove old files from their folder for temporary ones.
   * @throws {Error} When somebody else has made a folder of that name since.
   */
  renew(): void
}

/** Makes one, and removes those of processes that are gone. */
export function createPrivateFolder(): PrivateFolder {
  removeAbandoned()
  const path = mkdtempSync(join(tmpdir(), `${ownName()}-`))
  // Jails run as another user.
  chmodSync(path, 0o755)
  const files = new Map<string, string | Uint8Array>()
  return {
    path,
    write(name, content) {
      const file = join(path, name)
      files.set(file, content)
      writeForAll(file, content)
      return file
    },
    renew() {
      if (!existsSync(path)) makeForAll(path)
      if (!isOurs(path)) throw new Error(`${path} is not bext's any more: restart bext`)
      for (const [file, content] of files) if (!existsSync(file)) writeForAll(file, content)
    },
    [Symbol.dispose]: () => removeFolder(path),
  }
}

/** Whatever the umask is, as below. */
function makeForAll(folder: string): void {
  mkdirSync(folder)
  chmodSync(folder, 0o755)
}

function writeForAll(file: string, content: string | Uint8Array): void {
  writeFileSync(file, content, { flag: "wx" })
  chmodSync(file, 0o444)
}

/** Names this process for ever: its pid may be somebody else's later, and is somebody else's in other containers. */
function ownName(): string {
  return `bext-jail-${process.pid}-${processStartTime(process.pid) ?? "0"}-${pidNamespace()}`
}

/** What processes left behind that were killed. Of those in other containers, nothing can be known. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, started, namespace] = /^bext-jail-(\d+)-(\d+)-(\d+)-\w+$/.exec(name) ?? []
    if (namespace === undefined || namespace === "0" || namespace !== pidNamespace()) continue
    const path = join(tmpdir(), name)
    if (processStartTime(Number(pid)) !== started && isOurs(path)) removeFolder(path)
  }
}

/** In a folder for everybody, a name says nothing about whose it is. */
function isOurs(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && stat.uid === process.geteuid?.()
}

/** Source: namespaces(7): "pid:[4026531836]". "0" where there are none. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0"
  } catch {
    return "0"
  }
}

function removeFolder(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const file = join(path, entry.name)
    if (!entry.isDirectory()) unlinkSync(file)
    else if (!tryRemove(file)) removeHomeNow(file)
  }
  tryRemove(path)
}

function removeHomeNow(path: string): void {
  const [command, args, options] = removal(path)
  spawnSync(command, args, options)
  tryRemove(path)
}

/** Removes a folder that a program could write to. */
export async function removeHome(path: string): Promise<void> {
  if (tryRemove(path)) return
  const [command, args, options] = removal(path)
  await once(spawn(command, args, options), "exit")
  tryRemove(path)
}

/**
 * Empties it as the user that its program ran as: while somebody still writes to it, a folder in it may become a link to
 * anywhere, which root would follow. The folder itself is in one that this user cannot write to.
 */
function removal(path: string): [string, string[], SpawnOptions] {
  const { uid, gid } = lstatSync(path)
  const user = process.geteuid?.() === 0 ? { uid, gid } : {}
  return ["/bin/rm", ["-rf", "--", path], { ...user, cwd: "/", env: {}, stdio: "ignore" }]
}

/** @returns Whether it is gone: false when something is in it. */
function tryRemove(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch {
    return false
  }
}
