import { BextError } from "../errors.ts"

/** Bytes of buffered request bodies in the whole process, so that many large ones cannot use up its memory together. */
export class BodyBudget {
  readonly #limitBytes: number
  #usedBytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** @throws {BextError} `E_OVERLOADED`; nothing is taken then. */
  take(bytes: number): void {
    if (this.#usedBytes + bytes > this.#limitBytes) {
      throw new BextError("E_OVERLOADED", "server.limits.buffered_bodies is used up", {
        headers: [["Retry-After", "1"]],
      })
    }
    this.#usedBytes += bytes
  }

  giveBack(bytes: number): void {
    this.#usedBytes -= bytes
  }
}
