import { type Machine, OutOfMemory } from "./machine.ts"

/**
 * JavaScript values across the wall. A value is 8 bytes in the guest's memory, NaN-boxed: payload in the low word, tag in
 * the high word. Strings are read straight from the engine's memory, so that NUL and any other character survive.
 */
export const TAG = { string: -7, rope: -6, object: -1, int: 0, bool: 1, null: 2, undefined: 3, exception: 6 } as const

/** Distance from the begin of the engine's string object to its characters. */
const STRING_HEADER = 16
const WIDE = 0x8000_0000

/** The value at hand is longer than one message may be. */
export class MessageTooLong extends Error {
  constructor(maxBytes: number) {
    super(`a value is over ${maxBytes} bytes`)
  }
}

export function tagOf(machine: Machine, value: number): number {
  return machine.i32[(value >> 2) + 1]!
}

/** @returns the number at `value`; NaN when it is no number. Never runs guest code. */
export function readNumber(machine: Machine, value: number): number {
  const tag = tagOf(machine, value)
  if (tag === TAG.int) return machine.i32[value >> 2]!
  // Every tag of another type lies in this range; what is outside is half of a float64.
  if (tag >= -16 && tag <= 16) return Number.NaN
  return machine.engine.getFloat64(0, value)
}

/**
 * @returns the string at `value`, lone surrogates replaced; undefined when it is no string. Never runs guest code.
 * @throws {MessageTooLong} over `maxBytes` of UTF-8.
 */
export function readString(machine: Machine, context: number, value: number, maxBytes: number): string | undefined {
  const tag = tagOf(machine, value)
  if (tag !== TAG.string && tag !== TAG.rope) return undefined
  const string = machine.u32[value >> 2]!
  const size = machine.u32[(string + 4) >> 2]!
  const text =
    tag === TAG.string ? readFlat(machine, string, size, maxBytes) : readRope(machine, context, value, maxBytes)
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) throw new MessageTooLong(maxBytes)
  return text
}

function readFlat(machine: Machine, string: number, size: number, maxBytes: number): string {
  const length = size & 0x7fff_ffff
  if (length > maxBytes) throw new MessageTooLong(maxBytes)
  const at = string + STRING_HEADER
  if (size >= WIDE) return machine.bytes.toString("utf16le", at, at + length * 2).toWellFormed()
  if (length > RECENT_LENGTH || length === 0) return machine.bytes.toString("latin1", at, at + length)
  const { bytes } = machine
  const slot = (length * 31 + bytes[at]! * 7 + bytes[at + length - 1]!) & (RECENT_COUNT - 1)
  const recent = RECENT[slot]!
  if (recent.length === length) {
    let i = 0
    while (i < length && recent.charCodeAt(i) === bytes[at + i]) i++
    if (i === length) return recent
  }
  const text = bytes.toString("latin1", at, at + length)
  RECENT[slot] = text
  return text
}

/** Short texts read lately, header names above all: to recognise one is several times faster than to make it. */
const RECENT_COUNT = 256
const RECENT_LENGTH = 40
const RECENT: string[] = new Array(RECENT_COUNT).fill("")

/** A concatenation the engine has not joined yet. */
function readRope(machine: Machine, context: number, value: number, maxBytes: number): string {
  const length = machine.u32[(machine.u32[value >> 2]! + 4) >> 2]!
  if (length > maxBytes) throw new MessageTooLong(maxBytes)
  const at = machine.engine.getString(context, value)
  if (at === 0) throw new OutOfMemory()
  const size = machine.u32[(at - STRING_HEADER + 4) >> 2]! & 0x7fff_ffff
  const text = machine.bytes.toString("utf8", at, at + size)
  machine.engine.freeCString(context, at)
  return text.toWellFormed()
}

/**
 * @returns a copy of the ArrayBuffer at `value`; undefined when it is none.
 * @throws {MessageTooLong}
 */
export function readBytes(machine: Machine, context: number, value: number, maxBytes: number): Uint8Array | undefined {
  if (tagOf(machine, value) !== TAG.object) return undefined
  const length = machine.engine.getArrayBufferLength(context, value)
  if (length === 0) return new Uint8Array(0)
  if (length > maxBytes) throw new MessageTooLong(maxBytes)
  const at = machine.engine.getArrayBuffer(context, value)
  if (at === 0) throw new OutOfMemory()
  const copy = Uint8Array.prototype.slice.call(machine.bytes, at, at + length)
  machine.engine.free(at)
  return copy
}

/**
 * Makes a guest string. The caller owns the value.
 * @param scratch - Address of SCRATCH_BYTES of memory that short strings pass through.
 * @throws {OutOfMemory}
 */
export function newString(machine: Machine, context: number, scratch: number, text: string): number {
  if (text.length <= FAST_LENGTH) {
    const { bytes } = machine
    let i = 0
    for (; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code === 0 || code > 127) break
      bytes[scratch + i] = code
    }
    if (i === text.length) {
      bytes[scratch + i] = 0
      return checkedString(machine, machine.engine.newString(context, scratch))
    }
  }
  return newLongString(machine, context, text)
}

/** Longest ASCII text that is copied character by character. */
const FAST_LENGTH = 200

function newLongString(machine: Machine, context: number, text: string): number {
  const at = machine.allocate(text.length * 3 + 1)
  const size = machine.bytes.write(text, at, "utf8")
  const nul = text.includes("\0")
  if (nul) hideNuls(machine.bytes, at, at + size)
  machine.bytes[at + size] = 0
  const value = machine.engine.newString(context, at)
  machine.engine.free(at)
  checkedString(machine, value)
  if (nul) putNuls(machine, value, text)
  return value
}

function checkedString(machine: Machine, value: number): number {
  if (tagOf(machine, value) !== TAG.string) throw new OutOfMemory()
  return value
}

/** The engine takes C strings, which end at NUL: the string is made with another character in its place. */
function hideNuls(bytes: Buffer, from: number, to: number): void {
  for (let at = from; at < to; at++) if (bytes[at] === 0) bytes[at] = 1
}

/** One pass, whatever the text: a guest has texts of nothing but NUL made. */
function putNuls(machine: Machine, value: number, text: string): void {
  const { bytes } = machine
  const string = machine.u32[value >> 2]!
  const width = machine.u32[(string + 4) >> 2]! >= WIDE ? 2 : 1
  let at = string + STRING_HEADER
  for (let i = 0; i < text.length; i++, at += width) {
    // The character in its place has a high byte of 0 already.
    if (text.charCodeAt(i) === 0) bytes[at] = 0
  }
}

/** Makes a guest ArrayBuffer with a copy of `bytes`. The caller owns the value. @throws {OutOfMemory} */
export function newBytes(machine: Machine, context: number, bytes: Uint8Array): number {
  const at = machine.allocate(Math.max(bytes.length, 1))
  machine.bytes.set(bytes, at)
  const value = machine.engine.newArrayBuffer(context, at, bytes.length)
  if (tagOf(machine, value) !== TAG.object) throw new OutOfMemory()
  return value
}

/** Makes a value that owns nothing (int, bool, null, undefined). */
export function newSmall(machine: Machine, tag: number, payload: number): number {
  const value = machine.allocate(8)
  writeSmall(machine, value, tag, payload)
  return value
}

export function writeSmall(machine: Machine, at: number, tag: number, payload: number): void {
  machine.i32[at >> 2] = payload
  machine.i32[(at >> 2) + 1] = tag
}

export function newNumber(machine: Machine, context: number, number: number): number {
  if (Number.isInteger(number) && Math.abs(number) < 2 ** 31) return newSmall(machine, TAG.int, number)
  return machine.engine.newFloat64(context, number)
}
