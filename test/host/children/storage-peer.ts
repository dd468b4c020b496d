/** A second process with the same storage. Answers each line `{op, key, value, by, times}` on stdin with one line. */
import { createInterface } from "node:readline"
import { PartitionStorage } from "../../../src/host/storage.ts"
import { openLmdbStore } from "../../../src/state/lmdb-store.ts"
import { PartitionPool } from "../../../src/state/partition-pool.ts"

const state = openLmdbStore({ dir: process.argv[2]!, log: console })
const pool = new PartitionPool({ state, nowMs: Date.now, maxBytes: 1 << 20 })
const storage = new PartitionStorage(
  { plugin: "peer", owner: "test", tenant: null },
  { pool, nowMs: Date.now, quotaBytes: 1 << 20 },
)
for await (const line of createInterface({ input: process.stdin })) {
  const { op, key, value, times } = JSON.parse(line)
  let answer: unknown = null
  if (op === "get") answer = storage.get(key) ?? null
  if (op === "set") storage.set(key, value, 0)
  if (op === "delete") answer = storage.delete(key)
  if (op === "incr") for (let i = 0; i < times; i++) answer = await storage.incr(key, 1, 0)
  console.log(JSON.stringify({ answer }))
}
await pool[Symbol.asyncDispose]()
await state[Symbol.asyncDispose]()
