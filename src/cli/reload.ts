import type { ReloadReport } from "../admin/control.ts"
import { printable } from "../config/printable.ts"
import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { formatJson, formatMs } from "./format.ts"
import { parseOptions } from "./parse-options.ts"

/** `bext reload`: puts what the files say now into service. @throws {BextError} Why the old one goes on serving. */
export async function reload(args: readonly string[]): Promise<number> {
  const parsed = parseOptions("reload", args)
  const client = new AdminClient(findAdminTarget("reload", parsed))
  const report = await client.post<ReloadReport>("/v1/reload", {})
  process.stdout.write(parsed.options.has("json") ? formatJson(report) : describeReport(report))
  return 0
}

/** What a reload did, for people. */
export function describeReport({ snapshot, durationMs, loaded, kept, removed, replaced }: ReloadReport): string {
  const lines = [
    `reloaded in ${formatMs(durationMs)}${replaced ? ", with new processes" : ""}; this is snapshot ${snapshot}`,
    ...names("loaded", loaded),
    ...names("kept", kept),
    ...names("removed", removed),
  ]
  return `${lines.join("\n")}\n`
}

function names(what: string, plugins: readonly string[]): string[] {
  return plugins.length === 0 ? [] : [`  ${what.padEnd(7)}  ${plugins.map(printable).join(", ")}`]
}
