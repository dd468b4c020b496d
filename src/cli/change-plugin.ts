import type { PluginSummary } from "../admin/plugin-summary.ts"
import { nearest } from "../config/nearest.ts"
import { printable } from "../config/printable.ts"
import { BextError } from "../errors.ts"
import type { AdminClient } from "./admin-client.ts"
import { usageError } from "./parse-options.ts"

/** Asks the running server to change one plugin. @returns What it answers. @throws {BextError} `E_USAGE` with the likely name when it has no such plugin. */
export async function changePlugin(
  client: AdminClient,
  command: string,
  name: string,
  change: "quarantine" | "release",
  body: object,
): Promise<object> {
  try {
    return await client.post(`/v1/plugins/${encodeURIComponent(name)}/${change}`, body)
  } catch (error) {
    if (!(error instanceof BextError) || error.code !== "E_NOT_FOUND") throw error
    const { plugins } = await client.get<{ plugins: readonly PluginSummary[] }>("/v1/plugins")
    const names = plugins.map((plugin) => printable(plugin.name))
    const meant = nearest(name, names)
    const all = names.length === 0 ? "it has no plugins" : `it has: ${names.join(", ")}`
    throw usageError(
      command,
      `the running server has no plugin ${JSON.stringify(name)}`,
      meant === undefined ? all : `did you mean ${meant}?`,
    )
  }
}
