import { randomInt } from "node:crypto"
import type { Database } from "lmdb"
import { BextError } from "../errors.ts"
import {
  decodeNote,
  encodeNote,
  hashKey,
  LEASED,
  MAX_NUMBER,
  type Place,
  type PlaceNote,
  QueueKeys,
  timeMark,
  WAITING,
} from "./queue-keys.ts"
import { decodeDead, decodeMessage, encodeDead, encodeMessage, type MessageRecord, messageId } from "./queue-record.ts"
import { queueWrite } from "./queue-write.ts"
import type { Lease, NewMessage, Outcome, QueueSettings, QueueSummary, ShownMessage, StateLog } from "./state.ts"

type Table = Database<Buffer, Buffer>

/**
 * - `counters`: queue → numbers.
 * - `messages`: queue, sequence → record. In the order of the pushes.
 * - `places`: queue, state, time, sequence → note. What can be handed out next, or whose lease ends next, is a short range.
 * - `keyed`: queue, hash of the key, sequence → nothing. Only the first of a key has a place.
 * - `dead`: queue, time of death, sequence → record.
 */
export interface QueueTables {
  readonly counters: Table
  readonly messages: Table
  readonly places: Table
  readonly keyed: Table
  readonly dead: Table
}

/** Two clocks of one machine may differ by this much before it means something. */
export const CLOCK_SLACK_MS = 1000
/** Of the values leased at once: many large ones need not be in memory together. */
const MOST_CHARACTERS = 4 * 1024 * 1024
/** Dead letters removed for their age at once. */
const RETIRED_AT_ONCE = 500
const NOTHING = Buffer.alloc(0)
/** Behind a key: the smallest that is greater. */
const NOTHING_ELSE = Buffer.alloc(1)

const FIRST_SEQUENCES = 2 ** 40

interface Range {
  readonly start: Buffer
  readonly end: Buffer
  readonly limit?: number
}

interface Counters {
  nextSequence: number
  messages: number
  leased: number
  dead: number
}

/** A lease of this process. */
export class HeldLease implements Lease {
  readonly id: string
  readonly value: string
  readonly key: string | null
  readonly tenant: string | null
  readonly attempt: number
  readonly pushedAtMs: number
  readonly sequence: number
  readonly keyHash: Buffer | null
  /** Where the store has it. */
  untilMs: number

  constructor(record: MessageRecord, sequence: number, note: PlaceNote, untilMs: number) {
    this.id = messageId(sequence, record.pushedAtMs)
    this.value = record.value
    this.key = record.key
    this.tenant = record.tenant
    this.attempt = note.attempts
    this.pushedAtMs = record.pushedAtMs
    this.sequence = sequence
    this.keyHash = note.keyHash
    this.untilMs = untilMs
  }
}

/** One queue inside one transaction: reads see what was written before, `close` writes the counters. */
export class QueueBook {
  readonly #tables: QueueTables
  readonly #keys: QueueKeys
  readonly #queue: string
  readonly #log: StateLog
  #counters: Counters | null = null
  #changed = false

  constructor(tables: QueueTables, queue: string, log: StateLog) {
    this.#tables = tables
    this.#queue = queue
    this.#keys = new QueueKeys(queue)
    this.#log = log
  }

  /** @throws {BextError} `E_LIMIT_QUEUE`, before anything is written. */
  push({ maxMessages }: QueueSettings, message: NewMessage, nowMs: number): string {
    const counters = this.#count()
    if (counters.messages >= maxMessages) {
      throw new BextError("E_LIMIT_QUEUE", `the queue ${this.#queue} holds ${counters.messages} messages`)
    }
    const sequence = counters.nextSequence++
    const dueAtMs = message.delayMs === 0 ? 0 : nowMs + message.delayMs
    const { key, tenant, value } = message
    this.#put(
      this.#tables.messages,
      this.#keys.message(sequence),
      encodeMessage({ key, tenant, value, pushedAtMs: nowMs, dueAtMs }),
    )
    counters.messages++
    const keyHash = key === null ? null : hashKey(key)
    const isFirst = keyHash === null || this.#firstOfKey(keyHash) === undefined
    if (keyHash !== null) this.#put(this.#tables.keyed, this.#keys.keyed(keyHash, sequence), NOTHING)
    if (isFirst) this.#wait(sequence, dueAtMs, { attempts: 0, mark: timeMark(nowMs), keyHash })
    return messageId(sequence, nowMs)
  }

  /** @param owner - Whoever asks, 8 bytes. @param reclaim - Whether leases that ended are taken over. */
  lease(settings: QueueSettings, max: number, nowMs: number, owner: Buffer, reclaim: boolean): HeldLease[] {
    const leases: HeldLease[] = []
    let characters = 0
    const isEnough = () => leases.length >= max || characters >= MOST_CHARACTERS
    const give = (place: Place, note: PlaceNote) => {
      const lease = this.#give(settings, place.sequence, note, nowMs, owner)
      if (lease === undefined) return
      leases.push(lease)
      characters += lease.value.length
    }
    if (reclaim) {
      for (const [place, note] of this.#endedLeases(settings, nowMs, max)) {
        if (isEnough()) break
        this.#remove(this.#tables.places, this.#keys.place(place))
        this.#count().leased--
        if (note.attempts < settings.maxAttempts) give(place, note)
        else this.#bury(settings, place.sequence, note, "the lease ended: the process died, or hung", nowMs)
      }
    }
    // Half for those that had to wait: neither a stream of new messages nor one of retries starves the other.
    const takes = [
      [1, nowMs, Math.ceil(max / 2)],
      [0, 0, max],
      [1, nowMs, max],
    ] as const
    for (const [fromMs, toMs, most] of takes) {
      if (isEnough()) break
      const range = this.#keys.places(WAITING, fromMs, toMs)
      for (const [place, note] of this.#page(range, Math.min(most, max - leases.length))) {
        if (isEnough()) break
        this.#remove(this.#tables.places, this.#keys.place(place))
        give(place, note)
      }
    }
    return leases
  }

  /** @returns whether the lease was still its owner's. */
  settle(settings: QueueSettings, outcome: Outcome, nowMs: number, owner: Buffer): boolean {
    const lease = outcome.lease as HeldLease
    const place = { state: LEASED, atMs: lease.untilMs, sequence: lease.sequence } as const
    if (!this.#isHeld(place, owner)) return false
    this.#remove(this.#tables.places, this.#keys.place(place))
    this.#count().leased--
    const { sequence, keyHash, attempt } = lease
    if (outcome.as === "done") this.#finish(sequence, keyHash)
    else if (outcome.as === "dead") {
      this.#bury(settings, sequence, { attempts: attempt, mark: owner, keyHash }, outcome.error, nowMs)
    } else {
      const { delayMs, counted } = outcome
      const attempts = counted ? attempt : attempt - 1
      this.#wait(sequence, delayMs === 0 ? 0 : nowMs + delayMs, { attempts, mark: timeMark(nowMs), keyHash })
    }
    return true
  }

  /** @returns whether it was still its owner's. */
  extend({ visibilityMs }: QueueSettings, lease: HeldLease, nowMs: number, owner: Buffer): boolean {
    const place = { state: LEASED, atMs: lease.untilMs, sequence: lease.sequence } as const
    if (!this.#isHeld(place, owner)) return false
    this.#remove(this.#tables.places, this.#keys.place(place))
    lease.untilMs = Math.trunc(nowMs + visibilityMs)
    const note = { attempts: lease.attempt, mark: owner, keyHash: lease.keyHash }
    this.#put(this.#tables.places, this.#keys.place({ ...place, atMs: lease.untilMs }), encodeNote(note))
    return true
  }

  /** Milliseconds until something may be leased, null when nothing is there. */
  nextMs({ visibilityMs }: QueueSettings, nowMs: number, reclaim: boolean): number | null {
    const waiting = this.#firstPlace(WAITING)
    const lease = this.#firstPlace(LEASED)
    const times: number[] = []
    if (waiting !== undefined) times.push(waiting.atMs - nowMs)
    if (lease !== undefined) {
      const ended = reclaim && this.#endedLeases({ visibilityMs }, nowMs, 1).length > 0
      times.push(ended ? 0 : reclaim ? lease.atMs - nowMs : visibilityMs)
    }
    return times.length === 0 ? null : Math.max(0, Math.min(...times))
  }

  /** Places that were taken at a time which is still to come: the clock was set back since. */
  fromTheFuture(nowMs: number, max: number): readonly (readonly [Place, PlaceNote])[] {
    const found: (readonly [Place, PlaceNote])[] = []
    for (const entry of this.#places(this.#keys.places(WAITING, nowMs + 1, MAX_NUMBER))) {
      if (entry[1].mark.readDoubleLE() > nowMs + CLOCK_SLACK_MS) found.push(entry)
      if (found.length === max) break
    }
    return found
  }

  /** Counts their delays anew from now. */
  countAnew(places: readonly (readonly [Place, PlaceNote])[], nowMs: number): void {
    for (const [place, note] of places) {
      const key = this.#keys.place(place)
      if (this.#tables.places.get(key) === undefined) continue
      this.#remove(this.#tables.places, key)
      const delayMs = Math.max(0, place.atMs - note.mark.readDoubleLE())
      this.#wait(place.sequence, nowMs + delayMs, { ...note, mark: timeMark(nowMs) })
    }
  }

  hasOldDead({ retentionMs }: QueueSettings, nowMs: number): boolean {
    for (const key of this.#tables.dead.getKeys({ ...this.#keys.all(), limit: 1 })) {
      return this.#keys.readDiedAtMs(key) < nowMs - retentionMs
    }
    return false
  }

  removeOldDead({ retentionMs }: QueueSettings, nowMs: number): void {
    for (const key of [...this.#tables.dead.getKeys({ ...this.#keys.all(), limit: RETIRED_AT_ONCE })]) {
      if (this.#keys.readDiedAtMs(key) >= nowMs - retentionMs) return
      this.#remove(this.#tables.dead, key)
      this.#count().dead--
    }
  }

  summary(nowMs: number): QueueSummary {
    const { messages, leased, dead } = this.#count()
    const { places, messages: table } = this.#tables
    let oldestAtMs: number | null = null
    for (const { value } of table.getRange({ ...this.#keys.all(), limit: 1 })) {
      oldestAtMs = decodeMessage(value)?.pushedAtMs ?? null
    }
    const delayed = places.getKeysCount(this.#keys.places(WAITING, nowMs + 1, MAX_NUMBER))
    return { queue: this.#queue, messages, delayed, leased, dead, oldestAtMs }
  }

  showLive(limit: number): ShownMessage[] {
    const shown: ShownMessage[] = []
    for (const { key, value } of this.#tables.messages.getRange({ ...this.#keys.all(), limit })) {
      const record = decodeMessage(value)
      if (record === undefined) continue
      shown.push(toShown(record, this.#keys.readSequence(key), { attempts: null, diedAtMs: null, error: null }))
    }
    return shown
  }

  showDead(limit: number): ShownMessage[] {
    const shown: ShownMessage[] = []
    for (const { key, value } of this.#tables.dead.getRange({ ...this.#keys.all(), limit })) {
      const dead = decodeDead(value)
      if (dead?.message === undefined) continue
      const { attempts, error, message } = dead
      const diedAtMs = this.#keys.readDiedAtMs(key)
      shown.push(toShown(message, this.#keys.readSequence(key), { attempts, diedAtMs, error }))
    }
    return shown
  }

  /** @param ids - null: all. @param max - Most to look at. @returns how many came back, and whether there may be more. */
  revive(ids: ReadonlySet<string> | null, max: number, nowMs: number, after: Buffer | null) {
    const { start, end } = this.#keys.all()
    let last: Buffer | null = null
    let revived = 0
    let looked = 0
    const entries = [
      ...this.#tables.dead.getRange({ start: after ?? start, end, limit: max, exclusiveStart: after !== null }),
    ]
    for (const { key, value } of entries) {
      looked++
      last = Buffer.from(key)
      const dead = decodeDead(value)
      if (dead?.message === undefined) continue
      const sequence = this.#keys.readSequence(key)
      if (ids !== null && !ids.has(messageId(sequence, dead.message.pushedAtMs))) continue
      if (this.#tables.messages.get(this.#keys.message(sequence)) !== undefined) continue
      this.#remove(this.#tables.dead, last)
      this.#count().dead--
      this.#return(sequence, { ...dead.message, dueAtMs: 0 }, nowMs)
      revived++
    }
    return { revived, next: looked === max ? last : null }
  }

  /** Removes up to about `max` messages pushed before `sequence`. @returns how many; 0 when none is left. */
  purgeLive(sequence: number, max: number): number {
    let removed = 0
    let { start, end } = this.#keys.all()
    for (let page = this.#page({ start, end }, max); page.length > 0; page = this.#page({ start, end }, max)) {
      for (const [place, note] of page) {
        const key = this.#keys.place(place)
        start = Buffer.concat([key, NOTHING_ELSE])
        if (place.sequence >= sequence) continue
        this.#remove(this.#tables.places, key)
        if (place.state === LEASED) this.#count().leased--
        removed += this.#removeOfKey(place.sequence, note.keyHash, sequence, max - removed)
        if (removed >= max) return removed
      }
    }
    return removed
  }

  purgeDead(max: number): number {
    const keys = [...this.#tables.dead.getKeys({ ...this.#keys.all(), limit: max })]
    for (const key of keys) this.#remove(this.#tables.dead, key)
    this.#count().dead -= keys.length
    return keys.length
  }

  get nextSequence(): number {
    return this.#count().nextSequence
  }

  /** Writes the counters. Belongs at the end of the transaction. */
  close(): void {
    if (!this.#changed || this.#counters === null) return
    const { nextSequence, messages, leased, dead } = this.#counters
    const row = Buffer.alloc(32)
    row.writeDoubleLE(nextSequence, 0)
    row.writeDoubleLE(messages, 8)
    row.writeDoubleLE(leased, 16)
    row.writeDoubleLE(dead, 24)
    queueWrite(this.#tables.counters, this.#keys.name, row)
  }

  #give(settings: QueueSettings, sequence: number, note: PlaceNote, nowMs: number, owner: Buffer) {
    const record = decodeMessage(this.#tables.messages.get(this.#keys.message(sequence)))
    if (record === undefined) {
      this.#log.error({ queue: this.#queue }, `queue ${this.#queue}: message ${sequence} is damaged and was dropped`)
      this.#finish(sequence, note.keyHash)
      return undefined
    }
    const given = { attempts: note.attempts + 1, mark: owner, keyHash: note.keyHash }
    const lease = new HeldLease(record, sequence, given, Math.trunc(nowMs + settings.visibilityMs))
    const place = { state: LEASED, atMs: lease.untilMs, sequence } as const
    this.#put(this.#tables.places, this.#keys.place(place), encodeNote(given))
    this.#count().leased++
    return lease
  }

  /** Removes a message that has no place any more; the next of its key gets one. */
  #finish(sequence: number, keyHash: Buffer | null): void {
    this.#remove(this.#tables.messages, this.#keys.message(sequence))
    this.#count().messages--
    if (keyHash === null) return
    this.#remove(this.#tables.keyed, this.#keys.keyed(keyHash, sequence))
    this.#promote(keyHash)
  }

  #promote(keyHash: Buffer): void {
    const next = this.#firstOfKey(keyHash)
    if (next === undefined) return
    // A damaged one is found out when it is handed out.
    const record = decodeMessage(this.#tables.messages.get(this.#keys.message(next)))
    this.#wait(next, record?.dueAtMs ?? 0, { attempts: 0, mark: timeMark(record?.pushedAtMs ?? 0), keyHash })
  }

  #bury(settings: QueueSettings, sequence: number, note: PlaceNote, error: string, nowMs: number): void {
    const message = this.#tables.messages.get(this.#keys.message(sequence))
    if (message !== undefined) {
      const record = encodeDead(note.attempts, error, message)
      this.#put(this.#tables.dead, this.#keys.dead(nowMs, sequence), record)
      this.#count().dead++
    }
    this.#finish(sequence, note.keyHash)
    while (this.#count().dead > settings.maxMessages && this.purgeDead(1) === 1);
  }

  /** Puts a message back to where it was. */
  #return(sequence: number, message: MessageRecord, nowMs: number): void {
    this.#put(this.#tables.messages, this.#keys.message(sequence), encodeMessage(message))
    this.#count().messages++
    const keyHash = message.key === null ? null : hashKey(message.key)
    const isFree = keyHash === null || this.#firstOfKey(keyHash) === undefined
    if (keyHash !== null) this.#put(this.#tables.keyed, this.#keys.keyed(keyHash, sequence), NOTHING)
    if (isFree) this.#wait(sequence, 0, { attempts: 0, mark: timeMark(nowMs), keyHash })
  }

  /** Removes a message and those behind it in its key that were pushed before `before`, `max` at most. */
  #removeOfKey(first: number, keyHash: Buffer | null, before: number, max: number): number {
    let removed = 0
    for (let sequence: number | undefined = first; sequence !== undefined; ) {
      this.#remove(this.#tables.messages, this.#keys.message(sequence))
      this.#count().messages--
      removed++
      if (keyHash === null) return removed
      this.#remove(this.#tables.keyed, this.#keys.keyed(keyHash, sequence))
      sequence = this.#firstOfKey(keyHash)
      if (sequence !== undefined && (sequence >= before || removed >= max)) {
        this.#promote(keyHash)
        return removed
      }
    }
    return removed
  }

  #wait(sequence: number, atMs: number, note: PlaceNote): void {
    this.#put(this.#tables.places, this.#keys.place({ state: WAITING, atMs, sequence }), encodeNote(note))
  }

  #firstOfKey(keyHash: Buffer): number | undefined {
    const range = { start: this.#keys.keyed(keyHash, 0), end: this.#keys.keyed(keyHash, MAX_NUMBER), limit: 1 }
    for (const key of this.#tables.keyed.getKeys(range)) return this.#keys.readSequence(key)
    return undefined
  }

  #isHeld(place: Place, owner: Buffer): boolean {
    const note = decodeNote(this.#tables.places.get(this.#keys.place(place)))
    return note?.mark.equals(owner) ?? false
  }

  /** Leases that ended, and those that end later than any given since could: the clock was set back. */
  #endedLeases({ visibilityMs }: Pick<QueueSettings, "visibilityMs">, nowMs: number, max: number) {
    const ended = this.#page(this.#keys.places(LEASED, 0, nowMs), max)
    if (ended.length === max) return ended
    const tooLate = nowMs + visibilityMs + CLOCK_SLACK_MS
    return [...ended, ...this.#page(this.#keys.places(LEASED, tooLate, MAX_NUMBER), max - ended.length)]
  }

  #firstPlace(state: Place["state"]): Place | undefined {
    const range = { ...this.#keys.places(state, 0, MAX_NUMBER), limit: 1 }
    for (const key of this.#tables.places.getKeys(range)) return this.#keys.readPlace(key)
    return undefined
  }

  /** As a list: places are written while the caller goes through them. */
  #page(range: Range, limit: number): (readonly [Place, PlaceNote])[] {
    return [...this.#places({ ...range, limit })]
  }

  *#places(range: Range): Generator<readonly [Place, PlaceNote]> {
    for (const { key, value } of this.#tables.places.getRange(range)) {
      const place = this.#keys.readPlace(key)
      if (place !== undefined) yield [place, decodeNote(value) ?? this.#rebuildNote(place)]
    }
  }

  /** For a place whose note is damaged: the message is delivered anew. */
  #rebuildNote({ sequence }: Place): PlaceNote {
    const record = decodeMessage(this.#tables.messages.get(this.#keys.message(sequence)))
    const keyHash = record === undefined || record.key === null ? null : hashKey(record.key)
    return { attempts: 0, mark: timeMark(0), keyHash }
  }

  #count(): Counters {
    if (this.#counters !== null) return this.#counters
    const row = this.#tables.counters.get(this.#keys.name)
    this.#counters = row?.length === 32 ? decodeCounters(row) : this.#recount()
    return this.#counters
  }

  /** For a queue that is new, or whose counters are damaged. */
  #recount(): Counters {
    const { messages, places, dead } = this.#tables
    // Anywhere: so the ids of two queues differ, also of messages pushed in the same millisecond.
    let nextSequence = randomInt(FIRST_SEQUENCES)
    for (const key of messages.getKeys({
      start: this.#keys.all().end,
      end: this.#keys.all().start,
      reverse: true,
      limit: 1,
    })) {
      nextSequence = this.#keys.readSequence(key) + 1
    }
    return {
      nextSequence,
      messages: messages.getKeysCount(this.#keys.all()),
      leased: places.getKeysCount(this.#keys.places(LEASED, 0, MAX_NUMBER)),
      dead: dead.getKeysCount(this.#keys.all()),
    }
  }

  #put(table: Table, key: Buffer, value: Buffer): void {
    this.#changed = true
    queueWrite(table, key, value)
  }

  #remove(table: Table, key: Buffer): void {
    this.#changed = true
    queueWrite(table, key, null)
  }
}

function decodeCounters(row: Buffer): Counters {
  return {
    nextSequence: row.readDoubleLE(0),
    messages: row.readDoubleLE(8),
    leased: row.readDoubleLE(16),
    dead: row.readDoubleLE(24),
  }
}

function toShown(
  { value, key, tenant, pushedAtMs }: MessageRecord,
  sequence: number,
  rest: Pick<ShownMessage, "attempts" | "diedAtMs" | "error">,
): ShownMessage {
  return { id: messageId(sequence, pushedAtMs), value, key, tenant, pushedAtMs, ...rest }
}
