import type { Side } from "../../sandbox.ts"
import type { Guest } from "../abi.ts"
import { Answer } from "./answer.ts"
import type { WrittenBody } from "./written-body.ts"

/** What one call of `handle_request` or `handle_response` has done that its exchange does not know yet. */
export class Handling {
  /** In place of the body of the message that this call may change. */
  newBody: WrittenBody | null = null
  readonly #guest: Guest
  #answer: Answer | null = null
  /** Bytes of each body that the guest has read. */
  readonly #read: Record<Side, number> = { request: 0, response: 0 }

  constructor(guest: Guest) {
    this.#guest = guest
  }

  get answer(): Answer {
    this.#answer ??= new Answer(this.#guest)
    return this.#answer
  }

  /** The next bytes of a body, at most `length`. @throws {PluginError} `E_BODY_NOT_DECLARED`. */
  read(side: Side, length: number): { readonly bytes: Uint8Array; readonly end: boolean } {
    const body = this.#guest.exchange.body(side)
    const from = this.#read[side]
    const bytes = body.subarray(from, from + length)
    this.#read[side] += bytes.length
    return { bytes, end: this.#read[side] === body.length }
  }

  reset(): void {
    this.newBody = null
    this.#answer = null
    this.#read.request = 0
    this.#read.response = 0
  }
}
