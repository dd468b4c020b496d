import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/** A process that starts one jail after the other until it is killed: start-jails.ts FOLDER MARK [what to do without …]. */
const [path = "", mark = "", ...without] = process.argv.slice(2)

const launcher = await openLauncher(without as Parameters<typeof openLauncher>[0])
const folder = new JailFolder()
folder[Symbol.dispose]()
console.log("ready")
for (;;) {
  const jails = [0, 1, 2].map(() =>
    folder.launch(launcher, ["sh", "-c", "while :; do sleep 1; done", mark], { folder: path }),
  )
  for (const jail of await Promise.all(jails)) {
    jail.kill()
    await jail.exited
  }
}
