import type { TableLine } from "../config/edit-toml.ts"
import type { Config } from "../config/schema.ts"
import { checkIsolation } from "../plugins/wanted-isolation.ts"
import type { Isolation } from "../sandbox/sandbox.ts"
import { LEVELS } from "../snapshot/describe-isolation.ts"
import { canAsk, confirm } from "./ask.ts"
import { usageError } from "./parse-options.ts"

/** What is installed was written by somebody else, and needs a wall unless the operator says otherwise. */
const LEAST = "namespaces"

/**
 * Shows what a plugin that is a program would run behind here; where that is nothing, asks whether it may run all the same.
 * @param config - Without the plugin.
 * @param answer - "ask" a person; "yes": it may, without asking; "silent": as yes, and nothing is shown.
 * @returns what the plugin's table has to say; null: it may not.
 * @throws {BextError} `E_ISOLATION` when the configuration demands more for all programs, or nothing helps; `E_USAGE` when
 *   there is nobody to ask.
 */
export async function allowIsolation(
  command: string,
  plugin: string,
  config: Config,
  isolation: Isolation,
  answer: "ask" | "yes" | "silent",
): Promise<readonly TableLine[] | null> {
  const { level, missing } = isolation
  const show = (text: string) => void (answer === "silent" || process.stdout.write(text))
  show(`${plugin} is a program (sandbox nsjail), which runs here with isolation level ${level}: ${LEVELS[level]}\n`)
  const demanded = config.sandbox.nsjail.min_isolation
  const mayAsk = demanded === undefined && level === "process" && isolation.refused === null
  if (!mayAsk) {
    checkIsolation(plugin, demanded ?? LEAST, isolation)
    return []
  }
  const lines = missing.map((reason) => `  - ${reason}\n`).join("")
  show(`it could read what your user can, and use the network. For better isolation:\n${lines}`)
  const asks = answer === "ask"
  if (asks && !canAsk()) {
    const fix = "--yes runs it without isolation; better, install what is missing"
    throw usageError(command, "there is nobody to ask, and nothing was changed", fix)
  }
  if (asks && !(await confirm("Run it without isolation?"))) {
    show("not allowed; nothing was changed\n")
    return null
  }
  return [{ key: "min_isolation", value: "process" }]
}
