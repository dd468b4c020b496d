// The functions of docs/wasm-abi.md, as they are: a module imports those that it reaches from "bext", the name of this file.
// Texts and bytes are an address and a length.

export declare function get_method(): i64
export declare function get_path(): i64
export declare function get_query(): i64
export declare function get_scheme(): i64
export declare function get_host(): i64
export declare function get_client_address(): i64
export declare function get_request_id(): i64
export declare function get_upgrade(): i64
export declare function get_tenant_id(): i64
export declare function get_site_id(): i64
export declare function get_user(): i64
export declare function get_header(side: i32, name: usize, nameLength: i32): i64
export declare function get_headers(side: i32): i64
export declare function set_header(side: i32, name: usize, nameLength: i32, value: usize, valueLength: i32): i32
export declare function append_header(side: i32, name: usize, nameLength: i32, value: usize, valueLength: i32): i32
export declare function remove_header(side: i32, name: usize, nameLength: i32): i32
export declare function set_path(path: usize, pathLength: i32): i32
export declare function set_query(query: usize, queryLength: i32): i32
export declare function set_method(method: usize, methodLength: i32): i32
export declare function set_tenant_id(id: usize, idLength: i32): i32
export declare function set_site_id(id: usize, idLength: i32): i32
export declare function set_user(json: usize, jsonLength: i32): i32
export declare function get_extension(key: usize, keyLength: i32): i64
export declare function set_extension(key: usize, keyLength: i32, value: usize, valueLength: i32): i32
export declare function get_body_size(side: i32): i32
export declare function read_body(side: i32, offset: i32, buffer: usize, length: i32): i32
export declare function set_body(side: i32, bytes: usize, bytesLength: i32): i32
export declare function get_status(): i32
export declare function set_status(status: i32): i32
export declare function respond(status: i32, headers: usize, headersLength: i32, body: usize, bodyLength: i32): i32
export declare function is_leader(): i32
export declare function get_config(key: usize, keyLength: i32): i64
export declare function get_secret(name: usize, nameLength: i32): i64
export declare function log(level: usize, levelLength: i32, message: usize, messageLength: i32): void
export declare function emit_metric(
  name: usize,
  nameLength: i32,
  value: f64,
  tagsJson: usize,
  tagsJsonLength: i32,
): void
export declare function storage_get(key: usize, keyLength: i32): i64
export declare function storage_set(key: usize, keyLength: i32, value: usize, valueLength: i32): i32
export declare function storage_set_ttl(key: usize, keyLength: i32, value: usize, valueLength: i32, ttlMs: i64): i32
export declare function storage_delete(key: usize, keyLength: i32): i32
export declare function storage_keys(prefix: usize, prefixLength: i32, limit: i32): i64
export declare function storage_incr(key: usize, keyLength: i32, by: i64, ttlMs: i64, value: usize): i32
export declare function storage_cas(
  key: usize,
  keyLength: i32,
  expected: usize,
  expectedLength: i32,
  value: usize,
  valueLength: i32,
  ttlMs: i64,
): i32
export declare function storage_flush(): i32
export declare function queue_push(
  queue: usize,
  queueLength: i32,
  json: usize,
  jsonLength: i32,
  key: usize,
  keyLength: i32,
  delayMs: i64,
): i64
export declare function http_fetch(requestJson: usize, requestJsonLength: i32): i64
export declare function http_fetch_body(): i64
export declare function clock_now(): i64
export declare function clock_monotonic(): i64
export declare function random(buffer: usize, length: i32): i32
export declare function sha256(bytes: usize, bytesLength: i32, out: usize): i32
export declare function hmac_sha256(key: usize, keyLength: i32, bytes: usize, bytesLength: i32, out: usize): i32
export declare function ed25519_verify(publicKey: usize, signature: usize, message: usize, messageLength: i32): i32
export declare function last_error(): i64
export declare function fail(message: usize, messageLength: i32): void
