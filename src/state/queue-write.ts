import type { Database } from "lmdb"

/**
 * Queues one write, null removes. Belongs inside `batch` or `transaction`, whose promise reports a failure; the promise
 * of the single write would report it a second time and, as nobody waits for it, end the process.
 */
export function queueWrite(database: Database<Buffer, Buffer>, key: Buffer, value: Buffer | null): void {
  const written = value === null ? database.remove(key) : database.put(key, value)
  written.then(undefined, () => {})
}
