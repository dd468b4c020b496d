import { type Logger, pino } from "pino"

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** A logger that keeps its lines, as they would be written. */
export function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const formatters = { level: (level: string) => ({ level }) }
  const logger = pino({ level: "debug", formatters }, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { logger, lines }
}
