import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { changePlugin } from "./change-plugin.ts"
import { formatJson } from "./format.ts"
import { parseOptions, usageError } from "./parse-options.ts"

const COMMAND = "plugin quarantine"

/** `bext plugin quarantine NAME --reason TEXT` */
export async function pluginQuarantine(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(COMMAND, args)
  const [name] = parsed.words
  const reason = parsed.options.get("reason")
  if (name === undefined) throw usageError(COMMAND, "which plugin?", "bext status shows their names")
  if (reason === undefined) throw usageError(COMMAND, "--reason is missing", "write a few words for whoever looks next")
  const client = new AdminClient(findAdminTarget(COMMAND, parsed))
  const answer = await changePlugin(client, COMMAND, name, "quarantine", { reason })
  process.stdout.write(
    parsed.options.has("json") ? formatJson(answer) : `${name} is out of service, until bext plugin release ${name}\n`,
  )
  return 0
}
