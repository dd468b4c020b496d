import type { Handles } from "./base.ts"
import { GuestMistake } from "./guest-mistake.ts"
import { type Machine, OutOfMemory } from "./machine.ts"
import {
  MessageTooLong,
  newBytes,
  newNumber,
  newString,
  readBytes,
  readNumber,
  readString,
  TAG,
  tagOf,
  writeSmall,
} from "./values.ts"

/** An exception left a guest function; the engine keeps it until it is resolved. */
export class Escaped extends Error {
  /** Address of the exception value. */
  readonly value: number

  constructor(value: number) {
    super("an exception left the guest")
    this.value = value
  }
}

/** The host spends microseconds on this much. */
const POLL_BYTES = 16 * 1024

/** The values of the guest in one machine: reading what it passed, making what it gets, calling its functions. */
export class GuestMemory {
  machine: Machine
  readonly handles: Handles
  readonly #maxBytes: number
  readonly #poll: () => void
  /** Bytes that crossed since the last poll. */
  #crossed = 0

  /**
   * @param messageBytes - Largest text or byte string that crosses in either direction.
   * @param poll - Stops the guest when its budget is used up. What the host does with large values costs no fuel, so it
   *   is asked whenever much has crossed.
   */
  constructor(machine: Machine, handles: Handles, messageBytes: number, poll: () => void) {
    this.machine = machine
    this.handles = handles
    this.#maxBytes = messageBytes
    this.#poll = poll
  }

  // --- What the guest passed. `at` is the address of a value.

  number(at: number): number {
    return readNumber(this.machine, at)
  }

  /** @throws {GuestMistake | MessageTooLong} */
  text(at: number): string {
    const text = readString(this.machine, this.handles.context, at, this.#maxBytes)
    if (text === undefined) throw new GuestMistake("expected a string")
    this.#cross(text.length)
    return text
  }

  /** @throws {GuestMistake | MessageTooLong} */
  bytes(at: number): Uint8Array {
    const bytes = readBytes(this.machine, this.handles.context, at, this.#maxBytes)
    if (bytes === undefined) throw new GuestMistake("expected bytes")
    this.#cross(bytes.length)
    return bytes
  }

  textOrBytes(at: number): string | Uint8Array {
    return tagOf(this.machine, at) === TAG.object ? this.bytes(at) : this.text(at)
  }

  optionalTextOrBytes(at: number): string | Uint8Array | undefined {
    return tagOf(this.machine, at) === TAG.undefined ? undefined : this.textOrBytes(at)
  }

  // --- What the guest gets. The caller owns the new values.

  /** @throws {OutOfMemory} */
  newText(text: string): number {
    this.#cross(text.length)
    return newString(this.machine, this.handles.context, this.handles.scratch, text)
  }

  /** As `newText`. @throws {MessageTooLong} */
  newMessage(text: string): number {
    if (text.length * 3 > this.#maxBytes && Buffer.byteLength(text) > this.#maxBytes)
      throw new MessageTooLong(this.#maxBytes)
    return this.newText(text)
  }

  /** @throws {OutOfMemory | MessageTooLong} */
  newBytes(bytes: Uint8Array): number {
    if (bytes.length > this.#maxBytes) throw new MessageTooLong(this.#maxBytes)
    this.#cross(bytes.length)
    return newBytes(this.machine, this.handles.context, bytes)
  }

  newNumber(number: number): number {
    return newNumber(this.machine, this.handles.context, number)
  }

  /**
   * Makes the error by which the host refuses something.
   * @param serial - Comes back when the guest does not catch the error; 0: nobody asks.
   * @throws {Escaped | OutOfMemory}
   */
  newError(code: string, message: string, serial: number): number {
    const values = [this.newText(code), this.newText(message), this.newNumber(serial)]
    for (let i = 0; i < values.length; i++) this.pass(i, values[i]!)
    const error = this.checked(this.call(this.handles.hostError, values.length))
    for (const value of values) this.free(value)
    return error
  }

  /** Keeps a value beyond the operation it was passed to. */
  keep(at: number): number {
    return this.machine.engine.dupValue(this.handles.context, at)
  }

  free(value: number): void {
    this.machine.engine.freeValue(this.handles.context, value)
  }

  // --- Calls. Arguments stay the caller's.

  /** Passes the integer as argument `index` of the next `call`. */
  passInt(index: number, value: number): void {
    const slot = this.handles.slots + index * 8
    writeSmall(this.machine, slot, TAG.int, value)
    this.pass(index, slot)
  }

  pass(index: number, value: number): void {
    this.machine.u32[(this.handles.argv >> 2) + index] = value
  }

  /**
   * Calls a guest function with the arguments passed before.
   * @returns its result, perhaps an exception. The caller owns it.
   * @throws {OutOfMemory}
   */
  call(fn: number, argumentCount: number): number {
    const { context, undefined: self, argv } = this.handles
    const result = this.machine.engine.call(context, fn, self, argumentCount, argv)
    if (result === 0) throw new OutOfMemory()
    return result
  }

  isException(value: number): boolean {
    return tagOf(this.machine, value) === TAG.exception
  }

  /** @throws {Escaped} when `value` is an exception. */
  checked(value: number): number {
    if (value === 0) throw new OutOfMemory()
    if (this.isException(value)) throw new Escaped(value)
    return value
  }

  /** @returns the error that was thrown, in place of the exception. */
  resolve(exception: number): number {
    return this.machine.engine.resolveException(this.handles.context, exception)
  }

  /** Throws `error` in the guest when the operation that runs now returns this value. */
  throwing(error: number): number {
    const exception = this.machine.engine.throw(this.handles.context, error)
    this.free(error)
    return exception
  }

  #cross(length: number): void {
    this.#crossed += length
    if (this.#crossed < POLL_BYTES) return
    this.#crossed = 0
    this.#poll()
  }
}
