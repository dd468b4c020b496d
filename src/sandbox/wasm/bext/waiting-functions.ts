import { define } from "./abi-function.ts"
import { READ_UNITS } from "./conversation.ts"
import { toFetchRequest } from "./fetch-request.ts"

/** Functions in which the guest waits for others than its storage. */
export const WAITING_FUNCTIONS = {
  queue_push: define(
    "(i32 i32 i32 i32 i32 i32 i64) -> (i64)",
    (talk, queue, queueLength, json, jsonLength, key, keyLength, delayMs) => {
      const { guest } = talk
      const name = talk.text(queue, queueLength)
      const value = talk.text(json, jsonLength)
      const order = keyLength === 0 ? null : talk.text(key, keyLength)
      if (!guest.services.granted("queue")) throw talk.refused("E_PERMISSION", "queue_push: no queue was granted")
      guest.charge(value.length * READ_UNITS)
      const message = { value, key: order, delayMs: Number(delayMs) }
      return talk.wait(guest.services.push(name, message, guest.call.tenant), "buffer", (id) => talk.newText(id))
    },
    { fuel: 100_000, waits: "queue" },
  ),
  http_fetch: define(
    "(i32 i32) -> (i64)",
    (talk, json, length) => {
      const { guest } = talk
      const text = talk.text(json, length)
      if (!guest.services.granted("fetch")) throw talk.refused("E_PERMISSION", "http_fetch: no URL was granted")
      const request = toFetchRequest(talk.json(text, "http_fetch"), (what) => talk.mistake(`http_fetch: ${what}`))
      talk.fetched = null
      const abort = new AbortController()
      const answer = guest.services.fetch(request, abort.signal)
      return talk.wait(
        answer,
        "buffer",
        ({ url, status, headers, body }) => {
          talk.fetched = body
          return talk.newText(JSON.stringify({ url, status, headers }))
        },
        () => abort.abort(),
      )
    },
    { fuel: 100_000, waits: "fetch" },
  ),
  http_fetch_body: define("() -> (i64)", (talk) => (talk.fetched === null ? 0n : talk.newBytes(talk.fetched))),
}
