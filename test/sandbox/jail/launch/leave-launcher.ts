import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/** A process that ends without a word to its launcher: leave-launcher.ts FOLDER. */
const launcher = await openLauncher()
using jails = new JailFolder()
process.stdout.write(await jails.sh(launcher, "echo ran", { folder: process.argv[2] ?? "" }))
