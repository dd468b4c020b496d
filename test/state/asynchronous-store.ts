import { BextError } from "../../src/errors.ts"
import { type ChangeListener, type Changes, isExpired, type KeyValueStore, type Stored } from "../../src/state/state.ts"

/** What several processes share when the state is a server on the network. */
export class StateServer {
  readonly partitions = new Map<string, Map<string, Stored>>()
  readonly clients = new Set<AsynchronousStore>()
  /** Every operation fails while this is set. */
  down = false
}

/** A store that never has anything at hand: every answer is a promise, changes are told by messages. */
export class AsynchronousStore implements KeyValueStore {
  readonly waits = true
  readonly #server: StateServer
  readonly #listeners = new Set<ChangeListener>()
  #queue: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(server: StateServer) {
    this.#server = server
    server.clients.add(this)
  }

  load(partition: string): Promise<Map<string, Stored>> {
    return this.#ask(() => new Map(this.#partition(partition)))
  }

  read(partition: string, key: string): Promise<Stored | undefined> {
    return this.#ask(() => this.#partition(partition).get(key))
  }

  write(partition: string, changes: Changes): Promise<void> {
    return this.#ask(() => {
      for (const [key, entry] of changes) this.#put(partition, key, entry)
    })
  }

  update(
    partition: string,
    key: string,
    change: (current: Stored | undefined) => Stored | null | undefined,
  ): Promise<void> {
    return this.#ask(() => {
      const next = change(this.#partition(partition).get(key))
      if (next !== undefined) this.#put(partition, key, next)
    })
  }

  removeExpired(partition: string, keys: Iterable<string>, nowMs: number): Promise<void> {
    return this.#ask(() => {
      const entries = this.#partition(partition)
      for (const key of keys) {
        const entry = entries.get(key)
        if (entry !== undefined && isExpired(entry, nowMs)) entries.delete(key)
      }
    })
  }

  flush(): Promise<void> {
    return this.#ask(() => {})
  }

  watch(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.catch(() => {})
    this.#closed = true
    this.#server.clients.delete(this)
  }

  /** One answer after the other, each some turns later. */
  #ask<T>(answer: () => T): Promise<T> {
    const answered = this.#queue.then(async () => {
      await new Promise(setImmediate)
      if (this.#server.down || this.#closed) throw new BextError("E_STATE_UNAVAILABLE", "the server is down")
      const result = answer()
      await new Promise(setImmediate)
      return result
    })
    this.#queue = answered.catch(() => {})
    return answered
  }

  #partition(name: string): Map<string, Stored> {
    const present = this.#server.partitions.get(name)
    if (present !== undefined) return present
    const created = new Map<string, Stored>()
    this.#server.partitions.set(name, created)
    return created
  }

  #put(partition: string, key: string, entry: Stored | null): void {
    if (entry === null) this.#partition(partition).delete(key)
    else this.#partition(partition).set(key, entry)
    for (const client of this.#server.clients) {
      if (client !== this) setImmediate(() => client.#tell(partition, key))
    }
  }

  #tell(partition: string, key: string): void {
    for (const listener of this.#listeners) listener.changed(partition, key)
  }
}
