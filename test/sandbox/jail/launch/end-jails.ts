import { readdirSync, readFileSync } from "node:fs"
import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/** Ends jails in every way there is, and tells which processes are there then: end-jails.ts [what to do without …]. */
const FORK = "if os.fork() == 0:\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)\n"
const PYTHON = ["python3", "-c"]

using folder = new JailFolder()
const launcher = await openLauncher(process.argv.slice(2) as Parameters<typeof openLauncher>[0])
for (let round = 0; round < 5; round++) {
  await folder.run(launcher, [...PYTHON, `import os, time\n${FORK}`])
  await folder.run(launcher, [...PYTHON, "x = bytearray(200_000_000)"], { limits: { memoryBytes: 64 * 2 ** 20 } })
  const jail = await folder.launch(launcher, [
    ...PYTHON,
    `import os, time\n${FORK}print(1, flush=True)\ntime.sleep(60)`,
  ])
  await new Promise((resolve) => jail.stdout.once("data", resolve))
  jail.kill()
  await jail.exited
}
await launcher[Symbol.asyncDispose]()

const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name))
console.log(
  JSON.stringify({ self: process.pid, others: pids.filter((pid) => pid !== String(process.pid)).map(nameOf) }),
)

function nameOf(pid: string): string {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(" ").slice(0, 3).join(" ")
}
