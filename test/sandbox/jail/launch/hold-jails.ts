import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/** A process with jails that is killed: hold-jails.ts FOLDER SCRIPT MARK [what to do without …]. */
const [path = "", script = "", mark = "", ...without] = process.argv.slice(2)

const launcher = await openLauncher(without as Parameters<typeof openLauncher>[0])
const folder = new JailFolder()
for (let count = 0; count < 2; count++) {
  const jail = await folder.launch(launcher, ["python3", "-c", script, mark], { folder: path })
  await new Promise((resolve) => jail.stdout.once("data", resolve))
}
folder[Symbol.dispose]()
console.log("ready")
