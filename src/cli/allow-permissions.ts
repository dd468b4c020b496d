import type { Permissions } from "../config/manifest-schema.ts"
import { canAsk, confirm } from "./ask.ts"
import { describePermissions } from "./describe-permissions.ts"
import { usageError } from "./parse-options.ts"

/**
 * Shows what a plugin asks for, and asks whether it gets that.
 * @param yes - It does, without asking.
 * @throws {BextError} `E_USAGE` when there is nobody to ask.
 */
export async function allowPermissions(
  command: string,
  plugin: string,
  asked: Readonly<Partial<Permissions>>,
  yes: boolean,
): Promise<boolean> {
  const lines = describePermissions(asked).map((line) => `  - ${line}\n`)
  if (lines.length === 0) return true
  process.stdout.write(`${plugin} asks for permission to\n${lines.join("")}`)
  if (yes) return true
  if (!canAsk()) {
    throw usageError(command, "there is nobody to ask, and nothing was changed", "--yes grants what is listed above")
  }
  if (await confirm("Allow this?")) return true
  process.stdout.write("not allowed; nothing was changed\n")
  return false
}

/** The lines that give granted secrets their values. */
export function describeUnmapped(plugin: string, secrets: readonly string[]): string {
  return [
    "it has no value for its secrets yet; add, and set the variables where the server is started:",
    "",
    `[plugins.${plugin}.secrets]`,
    ...secrets.map((secret) => `${secret} = "env:${secret}"`),
    "",
    "",
  ].join("\n")
}
