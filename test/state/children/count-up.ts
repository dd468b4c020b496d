/** Adds one to a counter, many times, each time in a transaction of its own. */
import { openLmdbStore } from "../../../src/state/lmdb-store.ts"
import { PARTITION } from "../key-value-contract.ts"

const [dir = "", times = ""] = process.argv.slice(2)
await using store = openLmdbStore({ dir, log: console })
for (let n = 0; n < Number(times); n++) {
  await store.update(PARTITION, "counter", (current) => ({
    value: String(Number(current?.value ?? 0) + 1),
    expiresAtMs: 0,
  }))
}
