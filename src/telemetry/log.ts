import { createRequire } from "node:module"
import type { Writable } from "node:stream"
import { type DestinationStream, type Logger, pino } from "pino"
import type { Config } from "../config/schema.ts"
import { escapeControls, escapeJson } from "./escape-controls.ts"
import type { LogTail } from "./log-tail.ts"

/** Fields whose values never reach a log, at the top of a line and in `headers`. */
const SECRET_FIELDS = ["authorization", "cookie", "set-cookie", "proxy-authorization", "password", "secret", "token"]

/** Lines beyond this are dropped when whoever reads the log has stopped reading. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024

/**
 * The server's log: JSON lines, or lines for people on a terminal.
 * @param destination - Where to write; standard output when left out.
 * @param tail - Gets every line too, always as JSON.
 */
export function createLogger(config: Config["log"], destination?: Writable, tail?: LogTail): Logger {
  const terminal = destination === undefined && process.stdout.isTTY === true
  const isPretty = config.format === "pretty" || (config.format === "auto" && terminal)
  const stream = isPretty ? prettyStream(destination) : escaped(destination ?? jsonStream())
  return pino(
    {
      level: config.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // No wildcards: they make every line cost several times as much.
      redact: { paths: SECRET_FIELDS.flatMap((name) => [`["${name}"]`, `headers["${name}"]`]), censor: "[redacted]" },
    },
    tail === undefined ? stream : withTail(stream, tail),
  )
}

function withTail(stream: DestinationStream, tail: LogTail): DestinationStream {
  return {
    write(line) {
      tail.write(line)
      stream.write(line)
    },
  }
}

/** JSON lines are looked at with `tail` and `docker logs` as well. */
function escaped(stream: DestinationStream): DestinationStream {
  return { write: (line) => stream.write(escapeJson(line)) }
}

/** Written while others run; what is buffered at the end of the process is still written. */
function jsonStream(): DestinationStream {
  return pino.destination({ dest: 1, sync: false, maxLength: MAX_BUFFERED_BYTES })
}

/**
 * Takes JSON lines and writes them for people. Lines appear at once, and none is lost when the process ends.
 * @param destination - Standard output when undefined, with colours where it has them.
 */
export function prettyStream(destination: Writable | undefined): DestinationStream {
  // Loaded here: a server that writes JSON has no use for it.
  const pretty: typeof import("pino-pretty") = createRequire(import.meta.url)("pino-pretty")
  const stream = pretty({
    colorize: destination === undefined && process.stdout.hasColors?.() === true,
    translateTime: "SYS:HH:MM:ss.l",
    sync: true,
    singleLine: true,
    destination: destination ?? 1,
  })
  return { write: (line) => stream.write(escapeControls(line)) }
}
