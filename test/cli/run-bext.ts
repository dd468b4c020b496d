import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestContext } from "node:test"

const ENTRY = join(import.meta.dirname, "../../src/cli/bext.ts")

export interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs the real command line in a child process, with no terminal and an environment of its own. */
export function runBext(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Run> {
  const { cwd = tmpdir(), env = {} } = options
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [ENTRY, ...args],
      { cwd, env: { PATH: process.env.PATH, ...env }, timeout: 60_000 },
      (_error, out, err) => done({ code: child.exitCode ?? -1, out, err }),
    )
    child.stdin?.end()
  })
}

/** A folder that is gone after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "bext-cli-"))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
