import type { Writable } from "node:stream"
import { type DestinationStream, type Logger, pino } from "pino"
import pretty from "pino-pretty"
import type { Config } from "../config/schema.ts"

/** Names of fields, at the top or one level down, whose values never reach a log. */
const SECRET_FIELDS = ["authorization", "cookie", "set-cookie", "proxy-authorization", "password", "secret", "token"]

/**
 * The server's log: JSON lines, or lines for people on a terminal.
 * @param destination - Where to write; standard output when left out.
 */
export function createLogger(config: Config["log"], destination?: Writable): Logger {
  const terminal = destination === undefined && process.stdout.isTTY === true
  const isPretty = config.format === "pretty" || (config.format === "auto" && terminal)
  return pino(
    {
      level: config.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((name) => [`["${name}"]`, `*["${name}"]`]), censor: "[redacted]" },
    },
    isPretty ? prettyStream(destination) : (destination ?? pino.destination({ dest: 1, sync: false })),
  )
}

/** On a terminal lines appear at once; nothing is lost when the process ends. */
function prettyStream(destination: Writable | undefined): DestinationStream {
  return pretty({
    colorize: destination === undefined && process.stdout.hasColors?.() === true,
    translateTime: "SYS:HH:MM:ss.l",
    sync: true,
    singleLine: true,
    destination: destination ?? 1,
  })
}
