import type { Readable } from "node:stream"
import { Flow } from "./flow.ts"
import { LineReader } from "./messages/line-reader.ts"

/** In a tenth of a second: lines that nobody asked for, and what it costs to take the others. */
const MAX_UNITS = 2000
/** A line that takes longer is charged for it, with this many units for each millisecond: a fifth of the thread at most. */
const USUAL_MS = 0.05
const UNITS_PER_MS = 100

export interface OutputListener {
  /** Gets each line. @returns whether somebody had asked for it. */
  take(line: Buffer): boolean
  /** Gets what `take` throws, and a line that is too long. */
  fault(error: unknown): void
  /** All lines that came were taken, or wait. */
  done(): void
}

/** What a program writes to standard output: lines, taken no faster than the host has time for. */
export class ProgramOutput {
  /** Resolves when there is nothing more to read. */
  readonly ended: Promise<void>
  readonly #stdout: Readable
  readonly #reader: LineReader
  readonly #flow: Flow
  readonly #listener: OutputListener
  #isReading = false

  constructor(stdout: Readable, maxLineBytes: number, listener: OutputListener) {
    this.#stdout = stdout
    this.#listener = listener
    this.#reader = new LineReader(maxLineBytes, (line) => this.#takeLine(line))
    this.#flow = new Flow({ stop: () => this.#stop(), go: () => this.#go() }, MAX_UNITS)
    stdout.on("data", (chunk: Buffer) => this.#read(() => this.#reader.push(chunk)))
    stdout.on("error", () => {})
    this.ended = new Promise((resolve) => stdout.once("end", resolve).once("close", resolve))
  }

  /** Whether there are lines behind the one that is being taken. */
  get isReading(): boolean {
    return this.#isReading
  }

  /** Takes no more lines, until `release`. */
  hold(): void {
    this.#flow.hold()
  }

  release(): void {
    this.#flow.release()
  }

  /** The program has ended: takes the rest. */
  drain(): void {
    this.#flow.drain()
  }

  #takeLine(line: Buffer): void {
    const startedMs = performance.now()
    const units = this.#listener.take(line) ? 0 : 1
    const nowMs = performance.now()
    const moreMs = nowMs - startedMs - USUAL_MS
    if (units > 0 || moreMs > 0) this.#flow.count(units + Math.max(moreMs, 0) * UNITS_PER_MS, nowMs)
  }

  #read(lines: () => void): void {
    const isInner = this.#isReading
    this.#isReading = true
    try {
      lines()
    } catch (error) {
      this.#listener.fault(error)
    } finally {
      this.#isReading = isInner
    }
    if (!isInner) this.#listener.done()
  }

  #stop(): void {
    this.#stdout.pause()
    this.#reader.hold()
  }

  #go(): void {
    this.#read(() => this.#reader.release())
    // What was still to be taken may have been too much again.
    if (!this.#flow.isStopped) this.#stdout.resume()
  }
}
