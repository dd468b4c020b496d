import { isUtf8 } from "node:buffer"
import { PluginError } from "../../errors.ts"
import type { GuestMemory } from "./abi.ts"
import { GuestFault } from "./failures.ts"

/** Up to this length a loop is faster than to ask whether text is UTF-8. */
const SHORT_BYTES = 64

/** What the host reads and writes of a guest's memory. Guest code may have grown it since the last time. */
export class LinearMemory implements GuestMemory {
  readonly #plugin: string
  readonly #memory: WebAssembly.Memory
  readonly #maxLength: number
  /** Of the whole memory; without length when the memory has grown. */
  #bytes: Buffer

  /** @param maxLength - Longest text or list of bytes that may pass, bytes. */
  constructor(plugin: string, memory: WebAssembly.Memory, maxLength: number) {
    this.#plugin = plugin
    this.#memory = memory
    this.#maxLength = maxLength
    this.#bytes = Buffer.from(memory.buffer)
  }

  get byteLength(): number {
    return this.#all().length
  }

  get u8(): Uint8Array {
    return this.#all()
  }

  text(address: number, length: number): string {
    const { start, end } = this.#message(address, length)
    const bytes = this.#bytes
    if (end - start > SHORT_BYTES) return this.#decode(bytes.subarray(start, end))
    for (let at = start; at < end; at++) {
      if (bytes[at]! >= 0x80) return this.#decode(bytes.subarray(start, end))
    }
    return bytes.toString("latin1", start, end)
  }

  bytes(address: number, length: number): Uint8Array {
    const { start, end } = this.#message(address, length)
    return Uint8Array.prototype.slice.call(this.#bytes, start, end)
  }

  view(address: number, length: number): Uint8Array {
    const { start, end } = this.#message(address, length)
    return this.#bytes.subarray(start, end)
  }

  write(address: number, bytes: Uint8Array): void {
    const start = this.#place(address, bytes.length)
    this.#bytes.set(bytes, start)
  }

  writeU32(address: number, value: number): void {
    const start = this.#place(address, 4)
    this.#bytes.writeUInt32LE(value >>> 0, start)
  }

  writeU64(address: number, value: bigint): void {
    const start = this.#place(address, 8)
    this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), start)
  }

  readU32(address: number): number {
    const start = this.#place(address, 4)
    return this.#bytes.readUInt32LE(start)
  }

  #message(address: number, length: number): { start: number; end: number } {
    const start = this.#place(address, length >>> 0)
    if (length >>> 0 > this.#maxLength) {
      const what = `a value of ${length >>> 0} bytes passed the boundary; the limit is ${this.#maxLength}`
      throw new PluginError("E_LIMIT_MESSAGE", this.#plugin, what)
    }
    return { start, end: start + length }
  }

  /** @returns where it begins, as an index of the current bytes. */
  #place(address: number, length: number): number {
    const start = address >>> 0
    const size = this.#all().length
    if (start + length > size) {
      throw new GuestFault(`passed ${length} bytes at address ${start}, but its memory ends at ${size}`)
    }
    return start
  }

  #all(): Buffer {
    if (this.#bytes.length === 0) this.#bytes = Buffer.from(this.#memory.buffer)
    return this.#bytes
  }

  #decode(bytes: Buffer): string {
    if (isUtf8(bytes)) return bytes.toString("utf8")
    throw new PluginError("E_GUEST_RESULT_INVALID", this.#plugin, "passed text that is not UTF-8")
  }
}
