import { hash } from "node:crypto"

/** Times and places in the queue are numbers of 48 bits: milliseconds for another 8,900 years. */
const NUMBER_BYTES = 6
export const KEY_HASH_BYTES = 16
export const MAX_NUMBER = 2 ** 48 - 1

/** States in the index, in the order in which they are kept. */
export const WAITING = 1
export const LEASED = 2

/** A place in the index: state, time, place in the queue. */
export interface Place {
  readonly state: typeof WAITING | typeof LEASED
  /** Waiting: when it is due, 0 at once. Leased: until when. */
  readonly atMs: number
  readonly sequence: number
}

/** Makes the ordered keys of one queue: they all begin with its name and a zero byte, which no name contains. */
export class QueueKeys {
  readonly name: Buffer
  readonly #prefix: Buffer

  constructor(queue: string) {
    this.name = Buffer.from(queue)
    this.#prefix = Buffer.from(`${queue}\0`)
  }

  message(sequence: number): Buffer {
    return this.#numbers(undefined, sequence)
  }

  place({ state, atMs, sequence }: Place): Buffer {
    return this.#numbers(state, clampTime(atMs), sequence)
  }

  /** Of places: from `fromMs` to `toMs`, both included. */
  places(state: Place["state"], fromMs: number, toMs: number): { start: Buffer; end: Buffer } {
    // `end` itself is left out; no place in the queue is that high.
    const end = this.#numbers(state, clampTime(toMs), MAX_NUMBER)
    return { start: this.#numbers(state, clampTime(fromMs), 0), end }
  }

  /** Position of a keyed message among those of the same key. */
  keyed(keyHash: Uint8Array, sequence: number): Buffer {
    const start = this.#prefix.length
    const key = Buffer.allocUnsafe(start + KEY_HASH_BYTES + NUMBER_BYTES)
    this.#prefix.copy(key)
    key.set(keyHash, start)
    key.writeUIntBE(sequence, start + KEY_HASH_BYTES, NUMBER_BYTES)
    return key
  }

  dead(diedAtMs: number, sequence: number): Buffer {
    return this.#numbers(undefined, clampTime(diedAtMs), sequence)
  }

  /** Everything of the queue in one database. */
  all(): { start: Buffer; end: Buffer } {
    const end = Buffer.from(this.#prefix)
    end[end.length - 1] = 1
    return { start: this.#prefix, end }
  }

  /** @returns undefined for a key this version did not write. */
  readPlace(key: Buffer): Place | undefined {
    const start = this.#prefix.length
    const state = key[start]
    if (key.length !== start + 1 + 2 * NUMBER_BYTES || (state !== WAITING && state !== LEASED)) return undefined
    return {
      state,
      atMs: key.readUIntBE(start + 1, NUMBER_BYTES),
      sequence: key.readUIntBE(start + 1 + NUMBER_BYTES, NUMBER_BYTES),
    }
  }

  /** The last number of a key of `message`, `keyed` or `dead`. */
  readSequence(key: Buffer): number {
    return key.readUIntBE(key.length - NUMBER_BYTES, NUMBER_BYTES)
  }

  readDiedAtMs(key: Buffer): number {
    return key.readUIntBE(this.#prefix.length, NUMBER_BYTES)
  }

  #numbers(state: number | undefined, ...numbers: readonly number[]): Buffer {
    const stateBytes = state === undefined ? 0 : 1
    const key = Buffer.allocUnsafe(this.#prefix.length + stateBytes + numbers.length * NUMBER_BYTES)
    let at = this.#prefix.copy(key)
    if (state !== undefined) key[at++] = state
    for (const number of numbers) at = key.writeUIntBE(number, at, NUMBER_BYTES)
    return key
  }
}

/** Keys are hashed: of one length whatever they are, and 128 bits, so that nobody finds two of the same hash. */
export function hashKey(key: string): Buffer {
  return hash("sha256", key, "buffer").subarray(0, KEY_HASH_BYTES)
}

function clampTime(ms: number): number {
  return Math.min(Math.max(Math.trunc(ms), 0), MAX_NUMBER)
}

/** What the index says of a place. `keyHash` is there too, so that a damaged message holds nobody of its key back. */
export interface PlaceNote {
  readonly attempts: number
  /** Waiting: when it was put there, epoch milliseconds. Leased: who has it. */
  readonly mark: Buffer
  readonly keyHash: Buffer | null
}

/** Bytes of `mark`. */
export const MARK_BYTES = 8

export function encodeNote({ attempts, mark, keyHash }: PlaceNote): Buffer {
  const note = Buffer.allocUnsafe(2 + MARK_BYTES + (keyHash === null ? 0 : KEY_HASH_BYTES))
  note.writeUInt16LE(attempts, 0)
  note.set(mark, 2)
  if (keyHash !== null) note.set(keyHash, 2 + MARK_BYTES)
  return note
}

/** @returns undefined for what this version did not write. Copies. */
export function decodeNote(value: Uint8Array | undefined): PlaceNote | undefined {
  const withKey = 2 + MARK_BYTES + KEY_HASH_BYTES
  if (value === undefined || (value.length !== 2 + MARK_BYTES && value.length !== withKey)) return undefined
  const note = Buffer.from(value)
  return {
    attempts: note.readUInt16LE(0),
    mark: note.subarray(2, 2 + MARK_BYTES),
    keyHash: note.length === withKey ? note.subarray(2 + MARK_BYTES) : null,
  }
}

export function timeMark(ms: number): Buffer {
  const mark = Buffer.alloc(MARK_BYTES)
  mark.writeDoubleLE(ms)
  return mark
}
