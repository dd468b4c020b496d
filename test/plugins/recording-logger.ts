import type { Logger } from "../../src/plugins/logger.ts"

export interface LogLine {
  readonly level: keyof Logger
  readonly message: string
  readonly [field: string]: unknown
}

/** A logger that keeps its lines. */
export function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const write = (level: keyof Logger) => (fields: object, message: string) => {
    lines.push({ ...fields, level, message })
  }
  const logger = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") }
  return { logger, lines }
}
