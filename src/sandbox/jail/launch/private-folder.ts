import { chmodSync, lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { processStartTime } from "./process-start-time.ts"

const PREFIX = "bext-jail-"

/** Files of one launcher that jails read, in a folder nobody else writes to. */
export interface PrivateFolder extends Disposable {
  /** Absolute. */
  readonly path: string
  /** Absolute path of a file in it that everybody may read. */
  write(name: string, content: string | Uint8Array): string
}

/** Makes one, and removes those of processes that are gone. */
export function createPrivateFolder(): PrivateFolder {
  removeAbandoned()
  const path = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-${processStartTime(process.pid) ?? "0"}-`))
  // Jails run as another user.
  chmodSync(path, 0o755)
  return {
    path,
    write(name, content) {
      const file = join(path, name)
      writeFileSync(file, content)
      // Whatever the umask is.
      chmodSync(file, 0o444)
      return file
    },
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true })
    },
  }
}

/** What a process that was killed left behind. Its pid may be somebody else's by now, its start time cannot. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, started] = /^bext-jail-(\d+)-(\d+)-\w+$/.exec(name) ?? []
    if (pid === undefined || started === "0" || processStartTime(Number(pid)) === started) continue
    const path = join(tmpdir(), name)
    if (isOurs(path)) rmSync(path, { recursive: true, force: true })
  }
}

/** In a folder for everybody, a name says nothing about whose it is. */
function isOurs(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && stat.uid === process.geteuid?.()
}
