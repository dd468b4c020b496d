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
