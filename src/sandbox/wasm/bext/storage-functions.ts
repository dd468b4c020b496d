import { isUtf8 } from "node:buffer"
import { define } from "./abi-function.ts"
import type { Conversation } from "./conversation.ts"

/** What one update costs behind the guest's back: its share of a transaction. */
const UPDATE_UNITS = 100_000

/** Functions about the storage of the running call's tenant. */
export const STORAGE_FUNCTIONS = {
  storage_get: define(
    "(i32 i32) -> (i64)",
    (talk, key, length) => {
      const value = talk.guest.storage.get(talk.text(key, length))
      return typeof value === "object" ? talk.newBytes(value) : talk.newOptionalText(value)
    },
    { fuel: 500 },
  ),
  storage_set: define(
    "(i32 i32 i32 i32) -> (i32)",
    (talk, key, keyLength, value, valueLength) => {
      talk.guest.storage.set(talk.text(key, keyLength), toValue(talk, value, valueLength), 0)
      return 0
    },
    { fuel: 2_000 },
  ),
  storage_set_ttl: define(
    "(i32 i32 i32 i32 i64) -> (i32)",
    (talk, key, keyLength, value, valueLength, ttlMs) => {
      talk.guest.storage.set(talk.text(key, keyLength), toValue(talk, value, valueLength), Number(ttlMs))
      return 0
    },
    { fuel: 2_000 },
  ),
  storage_delete: define(
    "(i32 i32) -> (i32)",
    (talk, key, length) => (talk.guest.storage.delete(talk.text(key, length)) ? 1 : 0),
    { fuel: 2_000 },
  ),
  // Every key of the partition is looked at.
  storage_keys: define(
    "(i32 i32 i32) -> (i64)",
    (talk, prefix, length, limit) => {
      const keys = talk.guest.storage.keys(talk.text(prefix, length), limit)
      talk.guest.charge(keys.length * 100)
      return talk.newText(keys.map((key) => `${key}\0`).join(""))
    },
    { fuel: 100_000 },
  ),
  storage_incr: define(
    "(i32 i32 i64 i64 i32) -> (i32)",
    (talk, key, length, by, ttlMs, valueOut) => {
      talk.checkRange(valueOut, 8)
      const done = talk.guest.storage.incr(talk.text(key, length), Number(by), Number(ttlMs))
      return talk.wait(done, "number", (value) => {
        talk.guest.memory.writeU64(valueOut, BigInt(value))
        return 0
      })
    },
    { fuel: UPDATE_UNITS, waits: null },
  ),
  storage_cas: define(
    "(i32 i32 i32 i32 i32 i32 i64) -> (i32)",
    (talk, key, keyLength, expected, expectedLength, value, valueLength, ttlMs) => {
      const name = talk.text(key, keyLength)
      const wanted = expectedLength === ABSENT ? undefined : toValue(talk, expected, expectedLength)
      const done = talk.guest.storage.cas(name, wanted, toValue(talk, value, valueLength), Number(ttlMs))
      return talk.wait(done, "number", (set) => (set ? 1 : 0))
    },
    { fuel: UPDATE_UNITS, waits: null },
  ),
  storage_flush: define("() -> (i32)", (talk) => talk.wait(talk.guest.storage.flush(), "number", () => 0), {
    fuel: UPDATE_UNITS,
    waits: null,
  }),
}

const ABSENT = -1

/** Text where it is one, as the JavaScript tier keeps it: what it means does not depend on who wrote it. */
function toValue(talk: Conversation, address: number, length: number): string | Uint8Array {
  return isUtf8(talk.view(address, length)) ? talk.guest.memory.text(address, length) : talk.bytes(address, length)
}
