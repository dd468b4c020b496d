import { closeSync, openSync, readSync } from "node:fs"

// Long enough for the first line of what is read; contents are used before anything else can read.
const buffer = new Uint8Array(64)
const ZERO = 0x30
const NINE = 0x39

/** The first number in a file that the kernel writes afresh for every read. Kept open, so that reading is one system call. */
export class CounterFile implements Disposable {
  readonly #path: string
  /** Null: not opened yet. */
  #descriptor: number | null = null
  #closed = false
  #last = 0

  constructor(path: string) {
    this.#path = path
  }

  /** The number now, or what it was last, once it cannot be read any more. */
  read(): number {
    if (this.#closed) return this.#last
    try {
      this.#descriptor ??= openSync(this.#path, "r")
      this.#last = firstNumber(readSync(this.#descriptor, buffer, 0, buffer.length, 0))
    } catch {
      // The group is gone.
    }
    return this.#last
  }

  [Symbol.dispose](): void {
    if (this.#closed) return
    this.read()
    this.#closed = true
    if (this.#descriptor !== null) closeSync(this.#descriptor)
  }
}

function firstNumber(length: number): number {
  let at = 0
  while (at < length && !isDigit(buffer[at]!)) at++
  let value = 0
  for (; at < length && isDigit(buffer[at]!); at++) value = value * 10 + buffer[at]! - ZERO
  return value
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE
}
