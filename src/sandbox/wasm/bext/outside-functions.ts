import { createHmac, createPublicKey, hash, type KeyObject, randomFillSync, verify } from "node:crypto"
import { define } from "./abi-function.ts"

const MAX_RANDOM = 65_536
const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
/** Units for a byte that is hashed. */
const HASH_UNITS = 8

/** Clock, random numbers and cryptography. */
export const OUTSIDE_FUNCTIONS = {
  clock_now: define("() -> (i64)", () => BigInt(Date.now()), { early: true }),
  clock_monotonic: define("() -> (i64)", ({ guest }) => BigInt(guest.clockMs), { early: true }),
  random: define(
    "(i32 i32) -> (i32)",
    (talk, buffer, length) => {
      if (length >>> 0 > MAX_RANDOM) throw talk.mistake(`random: at most ${MAX_RANDOM} bytes at a time`)
      talk.guest.charge(length * 4)
      randomFillSync(talk.view(buffer, length))
      return 0
    },
    { fuel: 5_000, early: true },
  ),
  sha256: define(
    "(i32 i32 i32) -> (i32)",
    (talk, bytes, length, out) => {
      const content = talk.view(bytes, length)
      talk.guest.charge(content.length * HASH_UNITS)
      talk.guest.memory.write(out, hash("sha256", content, "buffer"))
      return 0
    },
    { fuel: 5_000, early: true },
  ),
  hmac_sha256: define(
    "(i32 i32 i32 i32 i32) -> (i32)",
    (talk, key, keyLength, bytes, length, out) => {
      const content = talk.view(bytes, length)
      const secret = talk.view(key, keyLength)
      talk.guest.charge((content.length + secret.length) * HASH_UNITS)
      talk.guest.memory.write(out, createHmac("sha256", secret).update(content).digest())
      return 0
    },
    { fuel: 10_000, early: true },
  ),
  ed25519_verify: define(
    "(i32 i32 i32 i32) -> (i32)",
    (talk, publicKey, signature, message, length) => {
      const content = talk.view(message, length)
      talk.guest.charge(content.length * HASH_UNITS)
      const key = toPublicKey(talk.view(publicKey, KEY_BYTES))
      return verify(null, content, key, talk.view(signature, SIGNATURE_BYTES)) ? 1 : 0
    },
    { fuel: 700_000, early: true },
  ),
}

/** The 32 bytes as a key. Source: RFC 8410 §4, its SubjectPublicKeyInfo up to the key. */
const KEY_PREFIX = Buffer.from("302a300506032b6570032100", "hex")

function toPublicKey(bytes: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([KEY_PREFIX, bytes]), format: "der", type: "spki" })
}
