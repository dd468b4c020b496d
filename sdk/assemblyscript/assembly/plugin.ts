import * as host from "./bext"
import { quote } from "./json"
import { at, check, takeText, toUtf8 } from "./memory"

/** Says why the hook has failed: `return fail("no such plan")`. What it changed is dropped. */
export function fail(message: string): i32 {
  const bytes = toUtf8(message)
  host.fail(at(bytes), bytes.byteLength)
  return -1
}

/** The value of a key of the plugin's configuration: text as it is, anything else as JSON. Null: no such key. */
export function getConfig(key: string): string | null {
  const bytes = toUtf8(key)
  return takeText(host.get_config(at(bytes), bytes.byteLength))
}

/** What the operator mapped to the name; null: refused with E_PERMISSION (see `refusal`). */
export function getSecret(name: string): string | null {
  const bytes = toUtf8(name)
  return takeText(host.get_secret(at(bytes), bytes.byteLength))
}

/** True in exactly one process of the server. */
export function isLeader(): bool {
  return host.is_leader() === 1
}

/** Records one sample. */
export function emitMetric(name: string, value: f64, tags: Map<string, string> = new Map<string, string>()): void {
  const members: string[] = []
  const keys = tags.keys()
  for (let i = 0; i < keys.length; i++) members.push(`${quote(keys[i])}:${quote(tags.get(keys[i]))}`)
  const nameBytes = toUtf8(name)
  const bytes = toUtf8(members.length > 0 ? `{${members.join(",")}}` : "")
  host.emit_metric(at(nameBytes), nameBytes.byteLength, value, at(bytes), bytes.byteLength)
}

/** Milliseconds since 1970. */
export function now(): i64 {
  return host.clock_now()
}

/** Milliseconds since some moment; never goes back. */
export function monotonicNow(): i64 {
  return host.clock_monotonic()
}

/** At most 65,536 random bytes. */
export function randomBytes(length: i32): Uint8Array {
  const bytes = new Uint8Array(length)
  check(host.random(bytes.dataStart, length))
  return bytes
}

/**
 * Puts a message into a queue that plugin.toml lists, and waits until it is on disk.
 * @param json - At most 256 KiB.
 * @param key - When not "": messages of one queue with the same key are handled one at a time, in order.
 * @returns the message's id; null: refused with E_PERMISSION, E_QUEUE_MESSAGE, E_LIMIT_QUEUE or E_STATE_UNAVAILABLE.
 */
export function pushToQueue(queue: string, json: string, key: string = "", delayMs: i64 = 0): string | null {
  const name = toUtf8(queue)
  const message = toUtf8(json)
  const order = toUtf8(key)
  return takeText(
    host.queue_push(at(name), name.byteLength, at(message), message.byteLength, at(order), order.byteLength, delayMs),
  )
}
