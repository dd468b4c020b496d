import { execFile } from "node:child_process"

/**
 * Writes lines to a file of a control group, one by one, from another process: the kernel may take some ms to move a process or to
 * turn a controller on, which would hold up everything that this thread serves.
 * @returns Whether every line was taken.
 */
export function writeElsewhere(file: string, lines: readonly string[]): Promise<boolean> {
  const script = 'file=$1; shift; status=0; for line; do echo "$line" >"$file" || status=1; done; exit $status'
  return new Promise((resolve) => {
    execFile("/bin/sh", ["-c", script, "sh", file, ...lines], { timeout: 10_000 }, (error) => resolve(error === null))
  })
}
