/** Lines kept for whoever asks later. */
const MAX_LINES = 1000
/** Of all lines together, in UTF-16 units. */
const MAX_UNITS = 4 * 1024 * 1024
/** A longer line is replaced by a note: one line must not push out all others. */
const MAX_LINE = 64 * 1024

/** The last lines of a process's log, and whoever wants to see further ones. Lines are JSON texts without line ends. */
export class LogTail {
  /** What is before `#start` is gone, and cut off now and then. */
  readonly #lines: string[] = []
  #start = 0
  #units = 0
  readonly #followers = new Set<(line: string) => void>()

  /** @param text - One line as it is written to the log: redacted, with a line end. */
  write(text: string): void {
    const line = text.length <= MAX_LINE ? text.trimEnd() : tooLong(text)
    this.#lines.push(line)
    this.#units += line.length
    while (this.#lines.length - this.#start > MAX_LINES || this.#units > MAX_UNITS) {
      this.#units -= this.#lines[this.#start]!.length
      this.#lines[this.#start++] = ""
    }
    if (this.#start > MAX_LINES) {
      this.#lines.splice(0, this.#start)
      this.#start = 0
    }
    for (const follower of this.#followers) follower(line)
  }

  /** The last `count` lines, oldest first. */
  lines(count: number): string[] {
    return this.#lines.slice(Math.max(this.#start, this.#lines.length - count))
  }

  /**
   * Calls `listener` for every further line, from within whatever logs it: it must neither throw nor log.
   * @returns a function that ends it.
   */
  follow(listener: (line: string) => void): () => void {
    // A function of its own, so that one listener may follow twice.
    const follower = (line: string) => listener(line)
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }
}

/**
 * The lines of several processes as one log.
 * @param logs - Each oldest first.
 * @returns the last `count` of all, oldest first by their `time`.
 */
export function mergeLogLines(logs: readonly (readonly string[])[], count: number): string[] {
  if (logs.length === 1) return last(logs[0]!, count)
  const timed = logs.flatMap((lines) => {
    let time = ""
    return lines.map((line) => {
      time = TIME.exec(line)?.[1] ?? time
      return { time, line }
    })
  })
  // The sort is stable, so the lines of one process keep their order within a millisecond.
  timed.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
  return last(timed, count).map(({ line }) => line)
}

function last<T>(list: readonly T[], count: number): T[] {
  return list.slice(Math.max(0, list.length - count))
}

/** Where the logger and the access log put it: nothing a guest or client chose can stand before it. */
const TIME = /^\{"level":"[a-z]+","time":"([0-9TZ:.-]+)"/

function tooLong(text: string): string {
  const time = TIME.exec(text)?.[1] ?? new Date().toISOString()
  const [, level = "info"] = /^\{"level":"([a-z]+)"/.exec(text) ?? []
  return JSON.stringify({ level, time, msg: `a line of ${text.length} characters is left out here; it is in the log` })
}
