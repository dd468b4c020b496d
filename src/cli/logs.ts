import { escapeControls } from "../telemetry/escape-controls.ts"
import { prettyStream } from "../telemetry/log.ts"
import { AdminClient } from "./admin-client.ts"
import { findAdminTarget } from "./admin-target.ts"
import { formatCount } from "./format.ts"
import { parseOptions, usageError } from "./parse-options.ts"

const DEFAULT_LINES = 100
const MOST_LINES = 1000

/** `bext logs`: the last lines of the running server's log, and with --follow what comes. */
export async function logs(args: readonly string[]): Promise<number> {
  const parsed = parseOptions("logs", args)
  const { options } = parsed
  const count = toCount(options.get("lines"))
  const plugin = options.get("plugin")
  const client = new AdminClient(findAdminTarget("logs", parsed))
  const show = createPrinter(options.has("json"))
  // All that are kept: which of them the plugin has shows only here.
  const asked = plugin === undefined ? count : MOST_LINES
  if (options.has("follow")) {
    // How many of the first belong to the tail cannot be told, so all that match are shown.
    for await (const line of client.lines(`/v1/logs?lines=${asked}&follow=1`)) if (concerns(line, plugin)) show(line)
    return 0
  }
  const lines: string[] = []
  for await (const line of client.lines(`/v1/logs?lines=${asked}`)) if (concerns(line, plugin)) lines.push(line)
  for (const line of lines.slice(Math.max(0, lines.length - count))) show(line)
  return 0
}

function toCount(text: string | true | undefined): number {
  if (text === undefined) return DEFAULT_LINES
  if (/^\d{1,4}$/.test(String(text)) && Number(text) <= MOST_LINES) return Number(text)
  throw usageError("logs", `--lines takes a whole number from 0 to ${MOST_LINES}, not ${JSON.stringify(text)}`)
}

/** A note about lost lines concerns everybody. */
function concerns(line: string, plugin: string | true | undefined): boolean {
  if (plugin === undefined) return true
  const { plugin: name, lost } = parse(line)
  return name === plugin || lost !== undefined
}

/** As the server writes its log: for people on a terminal, JSON lines elsewhere. */
function createPrinter(json: boolean): (line: string) => void {
  const terminal = process.stdout.isTTY === true
  const pretty = terminal && !json ? prettyStream(undefined) : undefined
  return (line) => {
    const { lost } = parse(line)
    if (lost !== undefined) {
      process.stderr.write(
        `${formatCount(Number(lost))} lines are missing here: they came faster than they were read\n`,
      )
    } else if (pretty !== undefined) pretty.write(`${line}\n`)
    else process.stdout.write(terminal ? escapeControls(line) : `${line}\n`)
  }
}

function parse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>
  } catch {
    // Handled below: not a line of ours.
  }
  return {}
}
