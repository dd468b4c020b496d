/**
 * For plugins of bext written in AssemblyScript.
 * ```ts
 * import { CONTINUE, request } from "./bext"
 * export { bext_alloc } from "./bext"
 *
 * export function on_request(): i32 {
 *   if (request.path != "/hello") return CONTINUE
 *   return request.respondText(200, "Hello!")
 * }
 * ```
 * A hook is an exported function with its name. A module exports the hooks of the capabilities in its plugin.toml, and
 * bext_alloc, through which the host passes text. Hooks return a number: `CONTINUE`, `ANSWERED`, or a negative one when they
 * have failed; what a failed call changed is dropped. The functions here return such numbers as well, so that a hook can pass on
 * what it got: `return request.headers.set("x-a", "b")`. Where they return text, null is also what a refusal looks like: see
 * `refusal` and `lastError`.
 *
 * | hooks | type |
 * |---|---|
 * | on_request, on_response | `(): i32` |
 * | on_server_start, on_server_stop, on_request_complete, on_cache_invalidate, on_reload, on_queue_message, cleanup | `(json: usize, length: i32): i32` |
 * | on_cache_write | `(key: usize, keyLength: i32, tags: usize, tagsLength: i32): i32` |
 *
 * What a hook is given as address and length, `takeParameter(json, length)` makes text of.
 *
 * One call runs at a time. By default one instance handles all requests, and what global variables hold stays there until
 * the plugin is reloaded or a call is stopped half-way. A failed assertion, `throw`, or an index out of bounds ends the call
 * with a line in the log, and global variables are as they were when the plugin became ready.
 */

export { Body } from "./body"
export { ed25519Verify, equalSecrets, hmacSha256, sha256 } from "./crypto"
export { fromBase64url, fromHex, toBase64, toBase64url, toBytes, toText } from "./encoding"
export { ANSWERED, CONTINUE, Request, Response, request, response } from "./exchange"
export { FetchRequest, FetchResponse, fetch } from "./fetch"
export { Field, Headers } from "./headers"
export { Json, parseJson, quote } from "./json"
export { log } from "./log"
export { bext_alloc, failure, lastError, lastErrorCode, refusal, takeParameter, toResult } from "./memory"
export {
  emitMetric,
  fail,
  getConfig,
  getSecret,
  isLeader,
  monotonicNow,
  now,
  pushToQueue,
  randomBytes,
} from "./plugin"
export { abort, console, seed, trace } from "./runtime"
export {
  storageCompareAndSwap,
  storageDelete,
  storageFlush,
  storageGet,
  storageGetBytes,
  storageIncrement,
  storageKeys,
  storageSet,
  storageSetBytes,
} from "./storage"
