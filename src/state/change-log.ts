import { randomBytes } from "node:crypto"
import type { Database } from "lmdb"
import { queueWrite } from "./queue-write.ts"

/** How long a batch stays in the log. A process that did not look for longer loads everything again. */
const KEPT_MS = 10_000
/** The stream of a writer that committed nothing for this long is removed; it comes back, numbered on, with its next batch. */
const WRITER_KEPT_MS = 60_000
const WRITER_BYTES = 8

export interface ChangedKey {
  readonly partition: string
  readonly key: string
}

/**
 * How processes tell each other what they changed. Every writer has a stream of its own, numbered from 1, so that a
 * batch can be queued without reading a shared counter first; readers remember how far they got in each stream.
 *
 * `streams`: writer → number of its last batch, and when. `batches`: writer + number → the changed keys.
 */
export class ChangeLog {
  readonly #streams: Database<Buffer, Buffer>
  readonly #batches: Database<Buffer, Buffer>
  readonly #self = randomBytes(WRITER_BYTES)
  /** Writer (hex) → number of the last batch seen. */
  readonly #seen = new Map<string, number>()
  /** Own batches still in the log, and when they were added, by performance.now(). */
  readonly #own: { number: number; atMs: number }[] = []
  #last = 0

  constructor(streams: Database<Buffer, Buffer>, batches: Database<Buffer, Buffer>) {
    this.#streams = streams
    this.#batches = batches
    for (const { key, value } of streams.getRange({})) this.#seen.set(key.toString("hex"), value.readDoubleLE(0))
  }

  /** Queues the rows that announce `keys`; call it inside the batch that changes them. */
  append(keys: readonly ChangedKey[]): void {
    // The system's clock may be set back, and batches would stay until it has caught up.
    const nowMs = performance.now()
    this.#last++
    queueWrite(this.#batches, batchKey(this.#self, this.#last), encodeKeys(keys))
    queueWrite(this.#streams, this.#self, encodeStream(this.#last, Date.now()))
    this.#own.push({ number: this.#last, atMs: nowMs })
    while (this.#own[0]!.atMs < nowMs - KEPT_MS)
      queueWrite(this.#batches, batchKey(this.#self, this.#own.shift()!.number), null)
  }

  /** @returns the keys others changed since the last call, or null when some of that is no longer known. */
  poll(): ChangedKey[] | null {
    const changed: ChangedKey[] = []
    let complete = true
    for (const { key: writer, value } of this.#streams.getRange({})) {
      const name = writer.toString("hex")
      const last = value.readDoubleLE(0)
      const seen = this.#seen.get(name) ?? 0
      if (last === seen) continue
      this.#seen.set(name, last)
      if (writer.equals(this.#self)) continue
      complete = this.#read(writer, seen, last, changed) && complete
    }
    return complete ? changed : null
  }

  /** Queues the removal of streams whose writer has been quiet: most of them are processes that ended. */
  removeQuiet(): void {
    const nowMs = Date.now()
    for (const { key: writer, value } of this.#streams.getRange({})) {
      if (value.readDoubleLE(8) > nowMs - WRITER_KEPT_MS || writer.equals(this.#self)) continue
      queueWrite(this.#streams, writer, null)
      for (const key of this.#batches.getKeys({ start: batchKey(writer, 0), end: batchKey(writer, 2 ** 47) })) {
        queueWrite(this.#batches, key, null)
      }
    }
  }

  /** @returns false when a batch between `seen` and `last` is missing. */
  #read(writer: Buffer, seen: number, last: number, changed: ChangedKey[]): boolean {
    let found = 0
    for (const { value } of this.#batches.getRange({
      start: batchKey(writer, seen + 1),
      end: batchKey(writer, last + 1),
    })) {
      found++
      for (const key of decodeKeys(value)) changed.push(key)
    }
    return found === last - seen
  }
}

function batchKey(writer: Buffer, number: number): Buffer {
  const key = Buffer.alloc(WRITER_BYTES + 6)
  writer.copy(key)
  key.writeUIntBE(number, WRITER_BYTES, 6)
  return key
}

function encodeStream(last: number, nowMs: number): Buffer {
  const row = Buffer.alloc(16)
  row.writeDoubleLE(last, 0)
  row.writeDoubleLE(nowMs, 8)
  return row
}

/** For each key: partition (16 bytes), length (16 bits), key. */
function encodeKeys(keys: readonly ChangedKey[]): Buffer {
  const parts: Buffer[] = []
  for (const { partition, key } of keys) {
    const bytes = Buffer.from(key)
    const length = Buffer.alloc(2)
    length.writeUInt16LE(bytes.length)
    parts.push(Buffer.from(partition, "hex"), length, bytes)
  }
  return Buffer.concat(parts)
}

function* decodeKeys(row: Buffer): Generator<ChangedKey> {
  for (let at = 0; at < row.length; ) {
    const length = row.readUInt16LE(at + 16)
    const end = at + 18 + length
    yield { partition: row.toString("hex", at, at + 16), key: row.toString("utf8", at + 18, end) }
    at = end
  }
}
