import { type ErrorCode, PluginError } from "../../../errors.ts"
import type { Json } from "../../sandbox.ts"
import type { Guest } from "../abi.ts"
import { GuestFault } from "../failures.ts"
import { packBuffer } from "./buffer.ts"
import { REFUSAL_CODES } from "./refusal-codes.ts"
import { findShortName, keepShortName } from "./short-name.ts"

/** Making an error costs microseconds, and a guest may be refused all the time. */
const REFUSAL_UNITS = 10_000
/** For a character of JSON, or of a list, that the host takes apart. */
export const READ_UNITS = 4
/** Bytes from which on a value costs by its size. */
const LONG_BYTES = 64
/** Characters up to which a loop is faster than a call into the engine. */
const SHORT_TEXT = 48

/** What a function has that was refused: nothing, a number, or a buffer that is none. */
export type Refused = "nothing" | "number" | "buffer"

/** Reading what one guest passes, writing what it gets, and what is remembered of its call. */
export class Conversation {
  readonly guest: Guest
  /** Body of the call's last fetch. */
  fetched: Uint8Array | null = null
  /** The call has answered its request. */
  responded = false
  /** What the guest says went wrong. */
  reason: string | null = null
  /** The last one of the call. */
  refusal: PluginError | null = null
  /** The export that the host called by itself and that has not returned. */
  #hostWaitsFor: string | null = null
  #allocate: (size: number) => number = () => 0

  constructor(guest: Guest) {
    this.guest = guest
  }

  attach(allocate: (size: number) => number): void {
    this.#allocate = allocate
  }

  /** Forgets everything of a call. */
  reset(): void {
    this.fetched = null
    this.responded = false
    this.reason = null
    this.refusal = null
  }

  /**
   * Calls what the guest exports for the host alone, which waits for none of it. Some versions of V8 throw when the guest
   * reaches an import that might wait, others after that import was called: so those ask `mayWait` first.
   */
  notWaiting<T>(name: string, run: () => T): T {
    const outer = this.#hostWaitsFor
    this.#hostWaitsFor = name
    try {
      return run()
    } catch (error) {
      if (error instanceof Error && error.name === "SuspendError") throw this.#waited(error)
      throw error
    } finally {
      this.#hostWaitsFor = outer
    }
  }

  /** @throws {GuestFault} when the host is in the middle of something. */
  mayWait(): void {
    if (this.#hostWaitsFor !== null) throw this.#waited()
  }

  #waited(cause?: Error): GuestFault {
    return new GuestFault(`called a function that waits where the host does not wait (${this.#hostWaitsFor})`, {
      cause,
    })
  }

  // --- What the guest passed

  /** @throws {PluginError} `E_GUEST_RESULT_INVALID`, `E_LIMIT_MESSAGE`. */
  text(address: number, length: number): string {
    this.#chargeFor(length)
    return this.guest.memory.text(address, length)
  }

  /** As `text`, for names that are written in the guest's code: they stay in this process's memory. */
  name(address: number, length: number): string {
    const { memory, limits } = this.guest
    const [start, size] = [address >>> 0, length >>> 0]
    this.#chargeFor(size)
    const bytes = memory.u8
    if (start + size > bytes.length || size > limits.messageBytes) return memory.text(address, length)
    const known = findShortName(bytes, start, size)
    if (known !== undefined) return known
    const name = memory.text(address, length)
    keepShortName(bytes, start, size, name)
    return name
  }

  /** What a text of JSON says. @param what - Who expects it, for messages. @throws {PluginError} `E_GUEST_RESULT_INVALID`. */
  json(text: string, what: string): Json {
    this.guest.charge(text.length * READ_UNITS)
    try {
      return JSON.parse(text)
    } catch {
      throw this.mistake(`${what}: expected JSON`)
    }
  }

  /** A copy. @throws {PluginError} `E_LIMIT_MESSAGE`. */
  bytes(address: number, length: number): Uint8Array {
    this.#chargeFor(length)
    return this.guest.memory.bytes(address, length)
  }

  /** For what is read at once: see `GuestMemory.view`. */
  view(address: number, length: number): Uint8Array {
    this.#chargeFor(length)
    return this.guest.memory.view(address, length)
  }

  /** Ends the call when not all of it lies in the memory, before anything happens that could not be taken back. */
  checkRange(address: number, length: number): void {
    const { byteLength } = this.guest.memory
    const [start, size] = [address >>> 0, length >>> 0]
    if (start + size <= byteLength) return
    throw new GuestFault(`passed ${size} bytes at address ${start}, but its memory ends at ${byteLength}`)
  }

  // --- What the guest gets. Its allocator runs, which may do anything: no view of its memory outlives it.

  /** @throws {PluginError} `E_LIMIT_MESSAGE`. */
  newText(text: string): bigint {
    const { length } = text
    const address = isShortAscii(text) ? this.#newAscii(text) : -1
    if (address >= 0) return packBuffer(address, length)
    const size = this.checkSize(text)
    return packBuffer(this.place(text, size), size)
  }

  newOptionalText(text: string | null | undefined): bigint {
    return text === null || text === undefined ? 0n : this.newText(text)
  }

  /** @throws {PluginError} `E_LIMIT_MESSAGE`. */
  newBytes(bytes: Uint8Array): bigint {
    this.#checkLimit(bytes.length)
    this.#charge(bytes.length)
    const address = this.#newMemory(bytes.length)
    this.guest.memory.write(address, bytes)
    return packBuffer(address, bytes.length)
  }

  /** @returns the text's size in bytes of UTF-8. @throws {PluginError} `E_LIMIT_MESSAGE`. */
  checkSize(text: string): number {
    const size = Buffer.byteLength(text)
    this.#checkLimit(size)
    return size
  }

  /** Writes a text that has `size` bytes. @returns its address. */
  place(text: string, size: number): number {
    this.#charge(size)
    const address = this.#newMemory(size)
    encoder.encodeInto(text, this.guest.memory.u8.subarray(address, address + size))
    return address
  }

  // --- Refusals

  /** A refusal of an argument. */
  mistake(what: string): PluginError {
    return this.refused("E_GUEST_RESULT_INVALID", what)
  }

  refused(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, this.guest.name, what)
  }

  /**
   * Remembers a refusal.
   * @returns what the refused function has as its result.
   * @throws everything that is none: the call ends.
   */
  refuse(error: unknown, refused: Refused): number | bigint | undefined {
    const code = error instanceof PluginError ? REFUSAL_CODES.get(error.code) : undefined
    if (code === undefined) throw error
    this.guest.charge(REFUSAL_UNITS)
    this.refusal = error as PluginError
    if (refused === "nothing") return undefined
    return refused === "number" ? code : packBuffer(0, code)
  }

  /**
   * Makes the guest wait, as `Guest.wait`.
   * @param landed - May refuse by throwing.
   */
  wait<T>(
    promise: Promise<T>,
    refused: Refused,
    landed: (value: T) => number | bigint,
    stop?: () => void,
  ): ReturnType<Guest["wait"]> {
    const land = (value: T) => {
      try {
        return landed(value)
      } catch (error) {
        return this.refuse(error, refused)
      }
    }
    return this.guest.wait(promise, land, (refusal) => this.refuse(refusal, refused), stop)
  }

  #newAscii(text: string): number {
    const { length } = text
    if (length > this.guest.limits.messageBytes) return -1
    const address = this.#newMemory(length)
    const bytes = this.guest.memory.u8
    for (let i = 0; i < length; i++) bytes[address + i] = text.charCodeAt(i)
    return address
  }

  /** @returns the address of so many bytes that lie in the memory. */
  #newMemory(size: number): number {
    const address = this.notWaiting("bext_alloc", () => this.#allocate(size === 0 ? 1 : size)) >>> 0
    if (address === 0) {
      const what = `${this.guest.current?.hook ?? "its start"}: bext_alloc has no memory for ${size} bytes`
      throw new PluginError("E_LIMIT_MEMORY", this.guest.name, what)
    }
    const { byteLength } = this.guest.memory
    if (address + size <= byteLength) return address
    throw new GuestFault(`got address ${address} of bext_alloc for ${size} bytes, but its memory ends at ${byteLength}`)
  }

  #chargeFor(length: number): void {
    this.#charge(Math.min(length >>> 0, this.guest.limits.messageBytes))
  }

  /** What is short is in the units of every call. */
  #charge(size: number): void {
    if (size >= LONG_BYTES) this.guest.charge(size >>> 3)
  }

  #checkLimit(size: number): void {
    const { messageBytes } = this.guest.limits
    if (size <= messageBytes) return
    throw this.refused("E_LIMIT_MESSAGE", `a value of ${size} bytes is for the guest; the limit is ${messageBytes}`)
  }
}

const encoder = new TextEncoder()

function isShortAscii(text: string): boolean {
  if (text.length > SHORT_TEXT) return false
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}
