import { PluginError } from "../../../errors.ts"
import type { Guest } from "../abi.ts"

/** A body that the guest writes piece by piece. */
export class WrittenBody {
  readonly #guest: Guest
  readonly #pieces: Uint8Array[] = []
  #length = 0

  constructor(guest: Guest) {
    this.#guest = guest
  }

  /** Reads one piece from the guest's memory. @throws {PluginError} `E_LIMIT_MESSAGE`. */
  add(address: number, length: number): void {
    const { name, limits, memory } = this.#guest
    const piece = memory.bytes(address, length)
    this.#guest.charge(piece.length >>> 3)
    this.#length += piece.length
    if (this.#length > limits.messageBytes) {
      const what = `wrote a body of more than ${limits.messageBytes} bytes`
      throw new PluginError("E_LIMIT_MESSAGE", name, what)
    }
    if (piece.length > 0) this.#pieces.push(piece)
  }

  bytes(): Uint8Array {
    return this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#length)
  }
}
