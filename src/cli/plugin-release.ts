import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { changePlugin } from "./change-plugin.ts"
import { formatJson } from "./format.ts"
import { parseOptions, usageError } from "./parse-options.ts"

const COMMAND = "plugin release"

/** `bext plugin release NAME` */
export async function pluginRelease(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(COMMAND, args)
  const [name] = parsed.words
  if (name === undefined) throw usageError(COMMAND, "which plugin?", "bext status shows which are out of service")
  const client = new AdminClient(findAdminTarget(COMMAND, parsed))
  const answer = await changePlugin(client, COMMAND, name, "release", {})
  process.stdout.write(parsed.options.has("json") ? formatJson(answer) : `${name} is in service\n`)
  return 0
}
