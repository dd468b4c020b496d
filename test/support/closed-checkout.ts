import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assertReachable } from "../../src/sandbox/jail/launch/reachable.ts"

const NOBODY = { uid: 65534, gid: 65534 }

/** Why tests that become another user cannot run here: that user would not get to the files of this checkout, or to Node. */
export const CLOSED: string | false = await whyClosed()

async function whyClosed(): Promise<string | false> {
  if (process.geteuid?.() !== 0) return false
  try {
    await assertReachable(fileURLToPath(new URL("../../package.json", import.meta.url)), NOBODY, "this checkout")
    await assertReachable(realpathSync(process.execPath), NOBODY, "Node")
    return false
  } catch (error) {
    return (error as Error).message
  }
}
