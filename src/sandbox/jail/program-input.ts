import type { Writable } from "node:stream"

/** Standard input of a program. Everything of one turn is written at once. */
export class ProgramInput {
  readonly #stdin: Writable
  readonly #written: () => void
  #out = ""

  /** @param written - Told when lines were passed on to the kernel, all or in part. */
  constructor(stdin: Writable, written: () => void) {
    this.#stdin = stdin
    this.#written = written
    stdin.on("drain", written)
    // The program has ended, or closed it: calls fail by its exit, or by their time.
    stdin.on("error", () => {})
  }

  /** Bytes, or characters, that the program has not read. */
  get unread(): number {
    return this.#out.length + this.#stdin.writableLength
  }

  write(line: string): void {
    if (this.#out === "") process.nextTick(() => this.flush())
    this.#out += line
  }

  flush(): void {
    const out = this.#out
    this.#out = ""
    if (out === "" || !this.#stdin.writable) return
    this.#stdin.write(out)
    this.#written()
  }

  end(): void {
    this.flush()
    this.#stdin.end()
  }
}
