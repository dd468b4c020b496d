import { styleText } from "node:util"
import type { ProcessStatus, ReloadOutcome, ServerStatus } from "../admin/control.ts"
import type { PluginSummary } from "../admin/plugin-summary.ts"
import { shortName } from "../config/config-error.ts"
import { printable } from "../config/printable.ts"
import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { formatBytes, formatCount, formatJson, formatMs, formatSpan, formatTable } from "./format.ts"
import { parseOptions } from "./parse-options.ts"

/** `bext status`: what the running server does. */
export async function status(args: readonly string[]): Promise<number> {
  const parsed = parseOptions("status", args)
  const client = new AdminClient(findAdminTarget("status", parsed))
  const server = await client.get<ServerStatus>("/v1/status")
  const { plugins } = await client.get<{ plugins: readonly PluginSummary[] }>("/v1/plugins")
  process.stdout.write(parsed.options.has("json") ? formatJson({ ...server, plugins }) : toText(server, plugins))
  return 0
}

function toText(server: ServerStatus, plugins: readonly PluginSummary[]): string {
  const { version, url, startedAtMs, configFile, lastReload, processes } = server
  const file = configFile === null ? "without a configuration file" : shortName(configFile)
  return [
    `${style("bold", `bext ${printable(version)}`)}  ${printable(url)}  up ${since(startedAtMs)}  ${file}`,
    ...(lastReload === null ? [] : describeReload(lastReload)),
    "",
    style("bold", "Processes"),
    ...processTable(processes),
    "",
    style("bold", "Plugins"),
    ...(plugins.length === 0 ? ["  none"] : pluginTable(plugins)),
    ...plugins.flatMap(describeTrouble),
    "",
  ].join("\n")
}

function describeReload(last: ReloadOutcome): string[] {
  const when = `${since(last.atMs)} ago by ${printable(last.by)}`
  if (!last.ok) {
    const [first, ...more] = last.message.split("\n").map(printable)
    return [style("red", `last reload failed ${when}: ${first}`), ...more.map((line) => `  ${line}`)]
  }
  const { loaded, kept, removed, replaced } = last.report
  const parts = [
    `${loaded.length} ${loaded.length === 1 ? "plugin" : "plugins"} loaded`,
    `${kept.length} kept`,
    `${removed.length} removed`,
  ]
  return [`last reload ${when}: ${parts.join(", ")}${replaced ? ", with new processes" : ""}`]
}

function processTable(processes: readonly ProcessStatus[]): string[] {
  // Narrow enough for 80 columns; what is rare takes room only when it is there.
  const anyWebsockets = processes.some((one) => one.websockets > 0)
  const anyCrashes = processes.some((one) => one.crashes > 0)
  const head = [
    ...["PID", "STATE", "IN FLIGHT", "CONNS"],
    ...(anyWebsockets ? ["WS"] : []),
    ...["MEMORY", "PLUGINS", "DELAY"],
    ...(anyCrashes ? ["CRASHES"] : []),
    "UP",
  ]
  const rows = processes.map((one) => [
    String(one.pid),
    style(one.state === "serving" ? "green" : "yellow", printable(one.state)) + (one.leader ? ", leads" : ""),
    formatCount(one.requestsInFlight),
    formatCount(one.connections),
    ...(anyWebsockets ? [formatCount(one.websockets)] : []),
    formatBytes(one.rssBytes),
    formatBytes(one.guestMemoryBytes),
    formatMs(one.eventLoopDelayMs),
    ...(anyCrashes ? [one.crashes === 0 ? "0" : style("red", formatCount(one.crashes))] : []),
    since(one.startedAtMs),
  ])
  return formatTable([head, ...rows], new Set([2, 3, 4, 5, 6, 7, 8, 9]))
}

function pluginTable(plugins: readonly PluginSummary[]): string[] {
  const head = ["NAME", "VERSION", "RUNS", "CALLS", "FAILED", "P50", "P99", "MEMORY"]
  const rows = plugins.map((plugin) => {
    const failed = Object.values(plugin.failures).reduce((sum, count) => sum + count, 0)
    return [
      printable(plugin.name),
      printable(plugin.version),
      plugin.quarantine === null ? whereItRuns(plugin) : style("red", "out of service"),
      formatCount(plugin.calls),
      failed === 0 ? "0" : style("red", formatCount(failed)),
      plugin.p50Ms === null ? "-" : formatMs(plugin.p50Ms),
      plugin.p99Ms === null ? "-" : formatMs(plugin.p99Ms),
      formatBytes(plugin.memoryBytes),
    ]
  })
  return formatTable([head, ...rows], new Set([3, 4, 5, 6, 7]))
}

function whereItRuns({ lane, program }: PluginSummary): string {
  if (program === null) return style("green", printable(lane))
  // Not isolated at all is what somebody should see at once.
  const level = style(program.level === "process" ? "red" : "green", printable(program.level))
  return program.leaderAlone ? `${level}, leader` : level
}

/** What somebody should look at. All of it may be the guest's own words. */
function describeTrouble({ name, quarantine, lastError, failures, program }: PluginSummary): string[] {
  const lines: string[] = []
  const restarts = Object.entries(program?.restarts ?? {}).map(([code, count]) => `${formatCount(count)} × ${code}`)
  if (restarts.length > 0) {
    lines.push("", `processes of ${printable(name)} were started again: ${restarts.map(printable).join(", ")}`)
  }
  if (quarantine !== null) {
    const { by, reason, sinceMs, probeAtMs } = quarantine
    const whose = by === "operator" ? "an operator" : "the server"
    const next =
      probeAtMs === null
        ? `bext plugin release ${printable(name)} ends it`
        : `tried again in ${formatSpan(probeAtMs - Date.now())}`
    lines.push(
      "",
      style(
        "red",
        `${printable(name)} was taken out of service by ${whose} ${since(sinceMs)} ago: ${printable(reason)}`,
      ),
      `  ${next}`,
    )
  }
  if (lastError !== null) {
    const counts = Object.entries(failures).map(([code, count]) => `${formatCount(count)} × ${code}`)
    lines.push(
      "",
      `${printable(name)} failed: ${counts.map(printable).join(", ")}; last ${since(lastError.atMs)} ago in ${printable(lastError.hook)}`,
    )
    lines.push(...lastError.message.split("\n").map((line) => `  ${printable(line)}`))
    // Its first lines repeat the message.
    const frames = lastError.stack?.split("\n").filter((line) => /^\s+at /.test(line)) ?? []
    lines.push(...frames.map((line) => style("dim", `  ${printable(line)}`)))
  }
  return lines
}

function since(atMs: number): string {
  return formatSpan(Date.now() - atMs)
}

function style(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout })
}
