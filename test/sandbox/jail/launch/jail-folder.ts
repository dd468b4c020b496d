import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import type { Jail, JailExit, JailLauncher, JailLimits, LaunchOptions } from "../../../../src/sandbox/jail/launcher.ts"

const MIB = 2 ** 20

const LIMITS: JailLimits = {
  memoryBytes: 128 * MIB,
  cpus: 1,
  pids: 32,
  openFiles: 64,
  fileBytes: 8 * MIB,
  tmpBytes: 4 * MIB,
}

export type Options = Partial<Omit<LaunchOptions, "limits">> & { readonly limits?: Partial<JailLimits> }

export interface Outcome extends JailExit {
  readonly stdout: string
  readonly stderr: string
}

/** A plugin's folder that every user can read, with what tests do in it. */
export class JailFolder implements Disposable {
  /** Below it are `plugin`, and whatever else a test makes. */
  readonly path = makeFolder()

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [name, content] of Object.entries(files)) this.write(name, content)
  }

  /** Executable. */
  write(name: string, content: string): string {
    const path = join(this.path, name)
    writeFileSync(path, content)
    chmodSync(path, 0o755)
    return path
  }

  launch(launcher: JailLauncher, command: readonly string[], { limits, ...options }: Options = {}): Promise<Jail> {
    return launcher.launch({
      name: "tested",
      command,
      folder: this.path,
      dataFolder: null,
      readOnlyPaths: [],
      env: {},
      limits: { ...LIMITS, ...limits },
      ...options,
    })
  }

  /** Waits for its end, with an empty standard input. */
  async run(launcher: JailLauncher, command: readonly string[], options: Options = {}): Promise<Outcome> {
    const jail = await this.launch(launcher, command, options)
    jail.stdin.end()
    const [stdout, stderr, exit] = await Promise.all([text(jail.stdout), text(jail.stderr), jail.exited])
    return { ...exit, stdout, stderr }
  }

  /** What a script of the shell writes. @throws {Error} When it fails. */
  async sh(launcher: JailLauncher, script: string, options: Options = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(launcher, ["sh", "-c", script], options)
    if (code !== 0) throw new Error(`it ended with ${code}: ${stderr}`)
    return stdout
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

function makeFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "bext-launch-test-"))
  chmodSync(path, 0o755)
  return path
}
