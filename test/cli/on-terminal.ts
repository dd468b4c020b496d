import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import type { TestContext } from "node:test"

const ENTRY = join(import.meta.dirname, "../../src/cli/bext.ts")

/**
 * Runs the command line on a terminal of its own, made by script(1).
 * @param keys - What is typed once the output so far matches; each is waited for in turn.
 * @param start - The words that start the command line.
 */
export async function onTerminal(
  t: TestContext,
  args: readonly string[],
  cwd: string,
  keys: readonly (readonly [when: RegExp, keys: string])[],
  start: readonly string[] = [process.execPath, ENTRY],
): Promise<{ code: number | null; out: string }> {
  const command = [...start, ...args].map((word) => `'${word}'`).join(" ")
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    cwd,
    env: { PATH: process.env.PATH, TERM: "dumb" },
    stdio: ["pipe", "pipe", "inherit"],
  })
  t.after(() => child.kill("SIGKILL"))
  const waiting = [...keys]
  let out = ""
  let from = 0
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text
    if (waiting.length === 0 || !waiting[0]![0].test(out.slice(from))) return
    from = out.length
    child.stdin.write(waiting.shift()![1])
  })
  const [code] = (await once(child, "close")) as [number | null]
  return { code, out }
}
