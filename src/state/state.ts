/**
 * Where bext keeps what must survive a restart and what all its processes share. A driver (LMDB now, a server such as
 * Redis later) is an implementation of this file; there is next to no code here. Nothing outside `state/` knows the driver.
 */

/** One stored value. Text and bytes are told apart. */
export interface Stored {
  readonly value: string | Uint8Array
  /** Epoch milliseconds from which the value no longer counts; 0 = never. Readers compare it with their own clock. */
  readonly expiresAtMs: number
}

/** What happens to a key: a new value, or null to remove it. */
export type Changes = ReadonlyMap<string, Stored | null>

/**
 * Keys and values in partitions. A partition is named by 32 lower-case hexadecimal digits (the caller hashes whatever
 * identifies it); its keys are well-formed text of 1 to 512 bytes.
 *
 * Failures are `E_STATE_UNAVAILABLE`.
 */
export interface KeyValueStore extends AsyncDisposable {
  /** Whether `load` and `read` answer with promises. Otherwise the data is at hand and they answer directly. */
  readonly waits: boolean
  /** Everything in the partition as last committed by any process. */
  load(partition: string): Map<string, Stored> | Promise<Map<string, Stored>>
  /** One key as last committed by any process. */
  read(partition: string, key: string): Stored | undefined | Promise<Stored | undefined>
  /**
   * Applies all changes or none. Calls commit in the order they were made; calls made while a commit is under way share
   * the next one.
   * @returns a promise that resolves once other processes can see the changes, which need not be on disk yet.
   */
  write(partition: string, changes: Changes): Promise<void>
  /**
   * Changes one key atomically across processes, after every earlier `write` of this process.
   * @param change - Pure: it may run more than once. Returns the new value, null to remove the key, undefined to leave it;
   *   what it throws is what the promise rejects with, and nothing changes.
   */
  update(
    partition: string,
    key: string,
    change: (current: Stored | undefined) => Stored | null | undefined,
  ): Promise<void>
  /** Removes those of `keys` that are expired at `nowMs` in the store too: another process may have set them anew. */
  removeExpired(partition: string, keys: Iterable<string>, nowMs: number): Promise<void>
  /** Resolves when everything committed so far is on disk. */
  flush(): Promise<void>
  /** Calls `listener` for what other processes commit, within 50 ms. @returns a function that ends it. */
  watch(listener: ChangeListener): () => void
}

export function isExpired(entry: Stored, nowMs: number): boolean {
  return entry.expiresAtMs !== 0 && entry.expiresAtMs <= nowMs
}

export interface ChangeListener {
  /** Another process changed or removed this key; `read` tells the new value. */
  changed(partition: string, key: string): void
  /** Changes may have been missed: whatever was loaded is to be loaded again. */
  reset(): void
}

/**
 * Durable messages for later, shared by all processes. Delivery is at least once, and to one holder at a time: whoever
 * leases a message has it until the lease ends, then it is there for others again.
 *
 * Order: messages with the same key are handed out one at a time, in the order their pushes were committed; one that is
 * delayed, failing or leased holds back those behind it until it is acknowledged or dead. Without a key no order is promised.
 *
 * Times are epoch milliseconds of the system clock, which may be set while the server runs. Forwards, delayed messages
 * become due early. Backwards, none is held longer than its delay counted anew from then, and a lease never longer than
 * the visibility timeout. Leases are left alone for one visibility timeout after a step was noticed, so that their
 * holders can renew them.
 *
 * Failures are `E_STATE_UNAVAILABLE`; what was called for then did not happen, whole or in part.
 */
export interface QueueStore {
  /**
   * Adds a message behind all others of its queue. Checked by the caller: see `NewMessage`.
   * @returns the message's id once it is on disk.
   * @throws {BextError} `E_LIMIT_QUEUE` when the queue already holds `settings.maxMessages` that are not done.
   */
  push(settings: QueueSettings, message: NewMessage): Promise<string>
  /**
   * Leases messages that are due, longest due first; each lease counts as an attempt. Messages whose lease ended without a
   * word from the holder come first, or are dead when it was their last attempt.
   * @returns up to `max` leases, and when to look again if nothing else happens (null: no message is left).
   */
  lease(settings: QueueSettings, max: number): Promise<Leased>
  /**
   * Ends leases. Those that were lost meanwhile are left alone.
   * @returns the number that were lost.
   */
  settle(settings: QueueSettings, outcomes: readonly Outcome[]): Promise<number>
  /** Prolongs leases to a whole visibility timeout from now. @returns those that were lost: another holder may have them. */
  extend(settings: QueueSettings, leases: readonly Lease[]): Promise<readonly Lease[]>
  /** Calls `listener` when any process may have changed a queue, within 50 ms. @returns a function that ends it. */
  watch(listener: () => void): () => void

  // --- For operators; none of these is fast

  /** Every queue that ever held a message, by name. */
  list(): Promise<readonly QueueSummary[]>
  /** The oldest messages of a queue: those that wait or are leased, or the dead ones. */
  show(queue: string, which: "live" | "dead", limit: number): Promise<readonly ShownMessage[]>
  /**
   * Gives dead messages (null: all) another round of attempts; they are due at once. The bound of the queue does not count.
   * @returns how many.
   */
  revive(queue: string, ids: readonly string[] | null): Promise<number>
  /** Removes messages for good. Those that are leased stay with their holders, whose settlement is lost. @returns how many. */
  purge(queue: string, which: "live" | "dead"): Promise<number>
}

/** What the operator decided for one queue. */
export interface QueueSettings {
  /** 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter. */
  readonly queue: string
  /** Messages that are not done; as many dead letters are kept, the newest. */
  readonly maxMessages: number
  /** How long a lease lasts. */
  readonly visibilityMs: number
  /** Deliveries until a message is dead. */
  readonly maxAttempts: number
  /** Pause after the first failure, doubled with each further one up to `maxBackoffMs`; whoever settles applies it. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** Dead letters older than this are removed. */
  readonly retentionMs: number
}

export interface NewMessage {
  /** JSON text, at most 256 KiB. */
  readonly value: string
  /** Order is kept among messages of the same key: well-formed text of 1 to 512 bytes. Null: no order. */
  readonly key: string | null
  /** Whose storage the delivery has; at most 512 bytes. */
  readonly tenant: string | null
  /** Milliseconds until it is due, at least 0. */
  readonly delayMs: number
}

export interface Leased {
  readonly leases: readonly Lease[]
  /** Milliseconds until another message may be had, 0 or more; null when the queue is empty. */
  readonly nextMs: number | null
}

/** A message somebody may handle, until the lease ends. */
export interface Lease {
  /** Unique among all messages of all queues; 24 hexadecimal digits. The same for every delivery. */
  readonly id: string
  readonly value: string
  readonly key: string | null
  readonly tenant: string | null
  /** Deliveries so far, this one included. */
  readonly attempt: number
  /** Epoch milliseconds. */
  readonly pushedAtMs: number
}

export type Outcome = { readonly lease: Lease } & (
  | { readonly as: "done" }
  /** Due again after `delayMs`; `counted` false: as if this delivery had not been tried. */
  | { readonly as: "retry"; readonly delayMs: number; readonly counted: boolean }
  /** `error`: why, for the operator; cut at 1 KiB. */
  | { readonly as: "dead"; readonly error: string }
)

export interface QueueSummary {
  readonly queue: string
  /** Messages that are not done: those that wait, are delayed or held back by their key, and `leased`. */
  readonly messages: number
  /** Those of them that are not due yet; messages behind them in their key are not among these. */
  readonly delayed: number
  readonly leased: number
  readonly dead: number
  /** Epoch milliseconds of the push of the oldest message that is not done; null when there is none. */
  readonly oldestAtMs: number | null
}

export interface ShownMessage {
  readonly id: string
  readonly value: string
  readonly key: string | null
  readonly tenant: string | null
  readonly pushedAtMs: number
  /** Deliveries so far; null where that is not known without searching. */
  readonly attempts: number | null
  /** Dead letters: when it died, epoch milliseconds, and why. */
  readonly diedAtMs: number | null
  readonly error: string | null
}

/** Where a driver reports what an operator must know; a pino logger fits. */
export interface StateLog {
  error(detail: object, message: string): void
}

/**
 * Messages between the processes of one server. At most once, in order per sender, within milliseconds; who starts later
 * misses what was sent before, so nothing that must not be lost goes here.
 */
export interface Bus {
  /** Sends to every other process; this one does not hear itself. Never waits, never throws. */
  publish(topic: string, message: BusMessage): void
  /** @returns a function that ends it. */
  subscribe(topic: string, listener: (message: BusMessage) => void): () => void
}

/** JSON; at most 64 KiB when encoded. */
export type BusMessage =
  | null
  | boolean
  | number
  | string
  | readonly BusMessage[]
  | { readonly [key: string]: BusMessage }
