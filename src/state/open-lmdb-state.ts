import { openLmdbEnvironment } from "./lmdb-environment.ts"
import { LmdbQueueStore, type QueueClock } from "./lmdb-queue.ts"
import { LmdbStore } from "./lmdb-store.ts"
import type { KeyValueStore, QueueStore, StateLog } from "./state.ts"

/** Everything that is shared and kept, in one LMDB environment; disposing writes what waits and closes it. */
export interface LmdbState extends AsyncDisposable {
  readonly keyValues: KeyValueStore
  readonly queues: QueueStore
}

/**
 * Opens the state shared by all processes of one machine, in `dir`/state.
 * @throws {BextError} `E_STATE_UNAVAILABLE`: the folder cannot be made, read or written.
 */
export function openLmdbState(options: {
  readonly dir: string
  readonly log: StateLog
  /** Default: the system's. */
  readonly queueClock?: QueueClock
}): LmdbState {
  const environment = openLmdbEnvironment(options)
  return {
    keyValues: new LmdbStore(environment),
    queues: new LmdbQueueStore(environment, options.queueClock),
    [Symbol.asyncDispose]: () => environment[Symbol.asyncDispose](),
  }
}
