/*
 * Everything a bext plugin in C (or C++) needs. Copy this one file; there is nothing to link.
 *
 *   #include "bext.h"
 *
 *   BEXT_ON_RESPONSE() {
 *     return bext_set_header(BEXT_RESPONSE, BEXT_STR("x-hello"), BEXT_STR("world"));
 *   }
 *
 *   clang --target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -o plugin.wasm plugin.c
 *
 * It works without any C library and with wasi-libc (--target=wasm32-wasi -mexec-model=reactor). Several source files may include it.
 *
 * Memory. Text that the host returns, and text that functions of this header make, lives in an arena until the hook has returned;
 * nobody frees it. Hooks declared with BEXT_ON_REQUEST() and its like end the arena's lifetime by themselves, so that an instance
 * serves any number of requests with the memory of its largest one. Keep what must live longer with bext_keep(). A hook exported
 * in another way (BEXT_EXPORT) calls bext_arena_end() before it returns.
 *
 * Errors. Functions that return int32_t return a negative code when the host refuses; text results have bext_failed(). A hook
 * that returns such a code fails with the host's own error. bext_last_error() says what happened, in words.
 *
 * The meaning of every function is in docs/wasm-abi.md of bext.
 */
#ifndef BEXT_H
#define BEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BEXT_EXPORT(name) __attribute__((export_name(name), used))
#define BEXT_IMPORT(name) __attribute__((import_module("bext"), import_name(name)))

/* A function with a loop: one copy of it is enough. */
#define BEXT_SHARED_ __attribute__((noinline, unused)) static

/* ---- text and bytes ------------------------------------------------------------------------------------------------------- */

/* A view of text (UTF-8, without a terminator) or bytes. It owns nothing. */
typedef struct bext_str {
  const char *ptr; /* NULL: there is none, or an error; see bext_failed() */
  size_t len;
} bext_str;

/* A string literal as a view. */
#ifdef __cplusplus
#define BEXT_STR(literal) (bext_str{literal, sizeof(literal) - 1})
#else
#define BEXT_STR(literal) ((bext_str){literal, sizeof(literal) - 1})
#endif

/* No text, which is not the same as empty text. */
#define BEXT_NONE bext_none()

static inline bext_str bext_none(void) {
  bext_str none = {NULL, 0};
  return none;
}

static inline bext_str bext_view(const void *ptr, size_t len) {
  bext_str view = {(const char *)ptr, len};
  return view;
}

/* The view of a C string. */
static inline bext_str bext_cstr(const char *text) {
  size_t len = 0;
  while (text[len] != '\0') len++;
  return bext_view(text, len);
}

/* Whether there is text: neither "none" nor an error. */
static inline bool bext_is_some(bext_str text) { return text.ptr != NULL; }

/* The negative code of a text result that the host refused; 0: it did not. */
static inline int32_t bext_failed(bext_str text) { return text.ptr == NULL ? (int32_t)text.len : 0; }

/* `text`, or `fallback` when there is none (or an error). */
static inline bext_str bext_or(bext_str text, bext_str fallback) { return text.ptr == NULL ? fallback : text; }

BEXT_SHARED_ bool bext_equal(bext_str a, bext_str b) {
  if (a.len != b.len || (a.ptr == NULL) != (b.ptr == NULL)) return false;
  for (size_t i = 0; i < a.len; i++)
    if (a.ptr[i] != b.ptr[i]) return false;
  return true;
}

/* As bext_equal, taking as long for any two texts of these lengths: for signatures and tokens. */
BEXT_SHARED_ bool bext_equal_secret(bext_str a, bext_str b) {
  if (a.len != b.len || a.ptr == NULL || b.ptr == NULL) return false;
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < a.len; i++) difference |= (uint8_t)(a.ptr[i] ^ b.ptr[i]);
  return difference == 0;
}

static inline bool bext_starts_with(bext_str text, bext_str prefix) {
  if (text.ptr == NULL || text.len < prefix.len) return false;
  return bext_equal(bext_view(text.ptr, prefix.len), bext_view(prefix.ptr, prefix.len));
}

/* What lies from `start` up to (not including) `end`; both are cut to the text. */
static inline bext_str bext_slice(bext_str text, size_t start, size_t end) {
  if (end > text.len) end = text.len;
  if (start > end) start = end;
  return text.ptr == NULL ? text : bext_view(text.ptr + start, end - start);
}

/* Where `c` first is at or after `from`; the text's length: nowhere. */
static inline size_t bext_find(bext_str text, char c, size_t from) {
  while (from < text.len && text.ptr[from] != c) from++;
  return from < text.len ? from : text.len;
}

/* A decimal number with an optional "-", alone in the text. @return whether it is one that fits. */
BEXT_SHARED_ bool bext_parse_int(bext_str text, int64_t *value) {
  bool negative = text.len > 0 && text.ptr[0] == '-';
  size_t i = negative ? 1 : 0;
  if (text.ptr == NULL || i == text.len) return false;
  int64_t sum = 0;
  for (; i < text.len; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    int64_t digit = text.ptr[i] - '0';
    if (negative ? sum < (INT64_MIN + digit) / 10 : sum > (INT64_MAX - digit) / 10) return false;
    sum = sum * 10 + (negative ? -digit : digit);
  }
  *value = sum;
  return true;
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

/* Memory until the hook returns, aligned to 16 bytes, not zeroed. NULL: there is none left. The host calls it too. */
void *bext_alloc(size_t size);

/* What was allocated is gone once the next call of a hook begins. Hooks declared by the macros below call it. */
void bext_arena_end(void);

/*
 * A copy that lives as long as the instance, for on_server_start: everything else that this call has allocated until now may
 * live as long with it, so it is not for what happens on each request. "None" stays so; without memory the copy is "none".
 */
bext_str bext_keep(bext_str text);

#ifndef BEXT_NO_ARENA /* a program that defines it brings its own bext_alloc, bext_arena_end and bext_keep */

#ifdef __wasi__
/* Blocks from malloc: the C library believes that all memory above its heap is its own. */
#include <stdlib.h>

struct bext_block {
  struct bext_block *older;
  char *next, *end;
};

#define BEXT_BLOCK_BYTES_ 8192
#define BEXT_BLOCK_HEAD_ ((sizeof(struct bext_block) + 15) & ~(size_t)15)

__attribute__((weak)) struct bext_block *bext_arena_block = NULL;
__attribute__((weak)) bool bext_arena_over = false;

/* The first block stays for the next call, unless it was made for one big value. */
static inline void bext_arena_reset(void) {
  struct bext_block *block = bext_arena_block;
  bext_arena_block = NULL;
  while (block != NULL) {
    struct bext_block *older = block->older;
    if (older == NULL && (size_t)(block->end - (char *)block) == BEXT_BLOCK_BYTES_) {
      block->next = (char *)block + BEXT_BLOCK_HEAD_;
      bext_arena_block = block;
    } else {
      free(block);
    }
    block = older;
  }
}

__attribute__((weak)) BEXT_EXPORT("bext_alloc") void *bext_alloc(size_t size) {
  if (bext_arena_over) {
    bext_arena_over = false;
    bext_arena_reset();
  }
  if (size > (size_t)INT32_MAX) return NULL;
  size_t rounded = (size + 15) & ~(size_t)15;
  if (bext_arena_block == NULL || (size_t)(bext_arena_block->end - bext_arena_block->next) < rounded) {
    size_t bytes = BEXT_BLOCK_HEAD_ + rounded;
    if (bytes < BEXT_BLOCK_BYTES_) bytes = BEXT_BLOCK_BYTES_;
    struct bext_block *block = (struct bext_block *)malloc(bytes);
    if (block == NULL) return NULL;
    block->older = bext_arena_block;
    block->next = (char *)block + BEXT_BLOCK_HEAD_;
    block->end = (char *)block + bytes;
    bext_arena_block = block;
  }
  char *start = bext_arena_block->next;
  bext_arena_block->next += rounded;
  return start;
}

__attribute__((weak)) bext_str bext_keep(bext_str text) {
  if (text.ptr == NULL) return text;
  char *copy = (char *)malloc(text.len + 1);
  if (copy == NULL) return bext_none();
  for (size_t i = 0; i < text.len; i++) copy[i] = text.ptr[i];
  return bext_view(copy, text.len);
}

#else
/* Everything above the program's own data. */
extern char __heap_base;

__attribute__((weak)) char *bext_arena_start = NULL;
__attribute__((weak)) char *bext_arena_next = NULL;
__attribute__((weak)) bool bext_arena_over = false;

__attribute__((weak)) BEXT_EXPORT("bext_alloc") void *bext_alloc(size_t size) {
  if (bext_arena_start == NULL) {
    bext_arena_start = (char *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    bext_arena_next = bext_arena_start;
  }
  if (bext_arena_over) {
    bext_arena_over = false;
    bext_arena_next = bext_arena_start;
  }
  if (size > (size_t)INT32_MAX) return NULL;
  uint64_t after = (uint64_t)(uintptr_t)bext_arena_next + ((size + 15) & ~(size_t)15);
  uint64_t end = (uint64_t)__builtin_wasm_memory_size(0) << 16;
  if (after > UINT32_MAX) return NULL;
  if (after > end && __builtin_wasm_memory_grow(0, (size_t)((after - end + 65535) >> 16)) == (size_t)-1) return NULL;
  char *start = bext_arena_next;
  bext_arena_next = (char *)(uintptr_t)after;
  return start;
}

__attribute__((weak)) bext_str bext_keep(bext_str text) {
  if (text.ptr == NULL) return text;
  char *copy = (char *)bext_alloc(text.len + 1);
  if (copy == NULL) return bext_none();
  for (size_t i = 0; i < text.len; i++) copy[i] = text.ptr[i];
  bext_arena_start = bext_arena_next;
  return bext_view(copy, text.len);
}

/* The compiler calls these four for loops and assignments of its own. */
__attribute__((weak, no_builtin("memcpy"))) void *memcpy(void *__restrict to, const void *__restrict from, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

__attribute__((weak, no_builtin("memmove"))) void *memmove(void *to, const void *from, size_t n) {
  if ((uintptr_t)to <= (uintptr_t)from)
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
  else
    while (n-- > 0) ((char *)to)[n] = ((const char *)from)[n];
  return to;
}

__attribute__((weak, no_builtin("memset"))) void *memset(void *to, int byte, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = (char)byte;
  return to;
}

__attribute__((weak, no_builtin("memcmp"))) int memcmp(const void *a, const void *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int difference = ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
    if (difference != 0) return difference;
  }
  return 0;
}
#endif

/* What the hook returns may lie in the arena, and the host reads it afterwards: the arena ends when the next call begins. */
__attribute__((weak)) void bext_arena_end(void) { bext_arena_over = true; }

#endif /* BEXT_NO_ARENA */

/* ---- hooks ---------------------------------------------------------------------------------------------------------------- */

/* What hooks return; a negative value is a failure, and a refusal of the host that is returned fails the hook with its code. */
enum {
  BEXT_CONTINUE = 0,
  BEXT_ANSWERED = 1,
  BEXT_FAILED = -1, /* the guest's own failure; see bext_fail */
  BEXT_E_GUEST_RESULT_INVALID = -2,
  BEXT_E_PERMISSION = -3,
  BEXT_E_LIMIT_MESSAGE = -4,
  BEXT_E_HEADER_FORBIDDEN = -5,
  BEXT_E_HEADER_INVALID = -6,
  BEXT_E_STATUS_INVALID = -7,
  BEXT_E_BODY_NOT_DECLARED = -8,
  BEXT_E_PATH_REWRITE = -9,
  BEXT_E_STORAGE_KEY = -10,
  BEXT_E_LIMIT_STORAGE = -11,
  BEXT_E_STATE_UNAVAILABLE = -12,
  BEXT_E_QUEUE_MESSAGE = -13,
  BEXT_E_LIMIT_QUEUE = -14,
  BEXT_E_FETCH_FORBIDDEN = -15,
  BEXT_E_FETCH_FAILED = -16,
  BEXT_E_LIMIT_FETCH = -17,
  BEXT_E_QUERY_REWRITE = -18,
  BEXT_E_METHOD_REWRITE = -19,
};

/*
 * Each is followed by the hook's body:
 *
 *   BEXT_ON_REQUEST() { return BEXT_CONTINUE; }
 *   BEXT_ON_RESPONSE() { return BEXT_CONTINUE; }
 *   BEXT_EVENT(on_server_start, json) { return BEXT_CONTINUE; }       also on_server_stop, on_request_complete,
 *                                        on_cache_invalidate, on_reload, on_queue_message, cleanup
 *   BEXT_ON_CACHE_WRITE(key, tags) { return BEXT_CONTINUE; }          tags: a JSON list
 *   BEXT_TRANSFORM(source, path, env) { return BEXT_NONE; }           BEXT_NONE: unchanged; otherwise the new text
 *   BEXT_CACHE(cache_get, params) { return BEXT_NONE; }               also cache_set, cache_delete, cache_invalidate_tag,
 *                                        cache_invalidate_path, cache_is_healthy; JSON in, JSON or BEXT_NONE out
 */
#define BEXT_ON_REQUEST() BEXT_HOOK_(on_request)
#define BEXT_ON_RESPONSE() BEXT_HOOK_(on_response)

#define BEXT_HOOK_(hook)                                   \
  static int32_t bext_body_##hook(void);                   \
  BEXT_EXPORT(#hook) int32_t bext_export_##hook(void) {    \
    int32_t result = bext_body_##hook();                   \
    bext_arena_end();                                      \
    return result;                                         \
  }                                                        \
  static int32_t bext_body_##hook(void)

#define BEXT_EVENT(hook, json)                                                         \
  static int32_t bext_body_##hook(bext_str json);                                      \
  BEXT_EXPORT(#hook) int32_t bext_export_##hook(const char *text, size_t text_len) {   \
    int32_t result = bext_body_##hook(bext_view(text, text_len));                      \
    bext_arena_end();                                                                  \
    return result;                                                                     \
  }                                                                                    \
  static int32_t bext_body_##hook(bext_str json)

#define BEXT_ON_CACHE_WRITE(key, tags)                                                           \
  static int32_t bext_body_on_cache_write(bext_str key, bext_str tags);                          \
  BEXT_EXPORT("on_cache_write")                                                                  \
  int32_t bext_export_on_cache_write(const char *k, size_t k_len, const char *t, size_t t_len) { \
    int32_t result = bext_body_on_cache_write(bext_view(k, k_len), bext_view(t, t_len));         \
    bext_arena_end();                                                                            \
    return result;                                                                               \
  }                                                                                              \
  static int32_t bext_body_on_cache_write(bext_str key, bext_str tags)

#define BEXT_TRANSFORM(source, path, env)                                                                       \
  static bext_str bext_body_transform(bext_str source, bext_str path, bext_str env);                            \
  BEXT_EXPORT("transform")                                                                                      \
  int64_t bext_export_transform(const char *s, size_t s_len, const char *p, size_t p_len, const char *e,        \
                                size_t e_len) {                                                                 \
    bext_str result = bext_body_transform(bext_view(s, s_len), bext_view(p, p_len), bext_view(e, e_len));       \
    bext_arena_end();                                                                                           \
    return bext_to_buffer(result);                                                                              \
  }                                                                                                             \
  static bext_str bext_body_transform(bext_str source, bext_str path, bext_str env)

#define BEXT_CACHE(hook, params)                                                       \
  static bext_str bext_body_##hook(bext_str params);                                   \
  BEXT_EXPORT(#hook) int64_t bext_export_##hook(const char *text, size_t text_len) {   \
    bext_str result = bext_body_##hook(bext_view(text, text_len));                     \
    bext_arena_end();                                                                  \
    return bext_to_buffer(result);                                                     \
  }                                                                                    \
  static bext_str bext_body_##hook(bext_str params)

/* A buffer result: address and length in one number; address 0 and a negative length: an error. */
static inline bext_str bext_from_buffer(int64_t buffer) {
  return bext_view((const void *)(uintptr_t)(uint32_t)((uint64_t)buffer >> 32), (size_t)(uint32_t)buffer);
}

static inline int64_t bext_to_buffer(bext_str text) {
  return (int64_t)((uint64_t)(uintptr_t)text.ptr << 32 | (uint32_t)text.len);
}

/* ---- the host's functions, as they are ------------------------------------------------------------------------------------ */

BEXT_IMPORT("get_method") int64_t bext_abi_get_method(void);
BEXT_IMPORT("get_path") int64_t bext_abi_get_path(void);
BEXT_IMPORT("get_query") int64_t bext_abi_get_query(void);
BEXT_IMPORT("get_scheme") int64_t bext_abi_get_scheme(void);
BEXT_IMPORT("get_host") int64_t bext_abi_get_host(void);
BEXT_IMPORT("get_client_address") int64_t bext_abi_get_client_address(void);
BEXT_IMPORT("get_request_id") int64_t bext_abi_get_request_id(void);
BEXT_IMPORT("get_upgrade") int64_t bext_abi_get_upgrade(void);
BEXT_IMPORT("get_tenant_id") int64_t bext_abi_get_tenant_id(void);
BEXT_IMPORT("get_site_id") int64_t bext_abi_get_site_id(void);
BEXT_IMPORT("get_user") int64_t bext_abi_get_user(void);
BEXT_IMPORT("get_header") int64_t bext_abi_get_header(int32_t side, const char *name, size_t name_len);
BEXT_IMPORT("get_headers") int64_t bext_abi_get_headers(int32_t side);
BEXT_IMPORT("set_header")
int32_t bext_abi_set_header(int32_t side, const char *name, size_t name_len, const char *value, size_t value_len);
BEXT_IMPORT("append_header")
int32_t bext_abi_append_header(int32_t side, const char *name, size_t name_len, const char *value, size_t value_len);
BEXT_IMPORT("remove_header") int32_t bext_abi_remove_header(int32_t side, const char *name, size_t name_len);
BEXT_IMPORT("set_path") int32_t bext_abi_set_path(const char *path, size_t path_len);
BEXT_IMPORT("set_query") int32_t bext_abi_set_query(const char *query, size_t query_len);
BEXT_IMPORT("set_method") int32_t bext_abi_set_method(const char *method, size_t method_len);
BEXT_IMPORT("set_tenant_id") int32_t bext_abi_set_tenant_id(const char *id, size_t id_len);
BEXT_IMPORT("set_site_id") int32_t bext_abi_set_site_id(const char *id, size_t id_len);
BEXT_IMPORT("set_user") int32_t bext_abi_set_user(const char *json, size_t json_len);
BEXT_IMPORT("get_extension") int64_t bext_abi_get_extension(const char *key, size_t key_len);
BEXT_IMPORT("set_extension")
int32_t bext_abi_set_extension(const char *key, size_t key_len, const char *value, size_t value_len);
BEXT_IMPORT("get_body_size") int32_t bext_abi_get_body_size(int32_t side);
BEXT_IMPORT("read_body") int32_t bext_abi_read_body(int32_t side, size_t offset, void *buffer, size_t buffer_len);
BEXT_IMPORT("set_body") int32_t bext_abi_set_body(int32_t side, const char *bytes, size_t bytes_len);
BEXT_IMPORT("get_status") int32_t bext_abi_get_status(void);
BEXT_IMPORT("set_status") int32_t bext_abi_set_status(int32_t status);
BEXT_IMPORT("respond")
int32_t bext_abi_respond(int32_t status, const char *headers, size_t headers_len, const char *body, size_t body_len);
BEXT_IMPORT("is_leader") int32_t bext_abi_is_leader(void);
BEXT_IMPORT("get_config") int64_t bext_abi_get_config(const char *key, size_t key_len);
BEXT_IMPORT("get_secret") int64_t bext_abi_get_secret(const char *name, size_t name_len);
BEXT_IMPORT("log") void bext_abi_log(const char *level, size_t level_len, const char *message, size_t message_len);
BEXT_IMPORT("emit_metric")
void bext_abi_emit_metric(const char *name, size_t name_len, double value, const char *tags_json, size_t tags_json_len);
BEXT_IMPORT("storage_get") int64_t bext_abi_storage_get(const char *key, size_t key_len);
BEXT_IMPORT("storage_set")
int32_t bext_abi_storage_set(const char *key, size_t key_len, const char *value, size_t value_len);
BEXT_IMPORT("storage_set_ttl")
int32_t bext_abi_storage_set_ttl(const char *key, size_t key_len, const char *value, size_t value_len, int64_t ttl_ms);
BEXT_IMPORT("storage_delete") int32_t bext_abi_storage_delete(const char *key, size_t key_len);
BEXT_IMPORT("storage_keys") int64_t bext_abi_storage_keys(const char *prefix, size_t prefix_len, int32_t limit);
BEXT_IMPORT("storage_incr")
int32_t bext_abi_storage_incr(const char *key, size_t key_len, int64_t by, int64_t ttl_ms, int64_t *value_out);
BEXT_IMPORT("storage_cas")
int32_t bext_abi_storage_cas(const char *key, size_t key_len, const char *expected, int32_t expected_len,
                             const char *value, size_t value_len, int64_t ttl_ms);
BEXT_IMPORT("storage_flush") int32_t bext_abi_storage_flush(void);
BEXT_IMPORT("queue_push")
int64_t bext_abi_queue_push(const char *queue, size_t queue_len, const char *json, size_t json_len, const char *key,
                            size_t key_len, int64_t delay_ms);
BEXT_IMPORT("http_fetch") int64_t bext_abi_http_fetch(const char *request_json, size_t request_json_len);
BEXT_IMPORT("http_fetch_body") int64_t bext_abi_http_fetch_body(void);
BEXT_IMPORT("clock_now") int64_t bext_abi_clock_now(void);
BEXT_IMPORT("clock_monotonic") int64_t bext_abi_clock_monotonic(void);
BEXT_IMPORT("random") int32_t bext_abi_random(void *buffer, size_t buffer_len);
BEXT_IMPORT("sha256") int32_t bext_abi_sha256(const char *bytes, size_t bytes_len, uint8_t *out);
BEXT_IMPORT("hmac_sha256")
int32_t bext_abi_hmac_sha256(const char *key, size_t key_len, const char *bytes, size_t bytes_len, uint8_t *out);
BEXT_IMPORT("ed25519_verify")
int32_t bext_abi_ed25519_verify(const uint8_t *public_key, const uint8_t *signature, const char *message,
                                size_t message_len);
BEXT_IMPORT("last_error") int64_t bext_abi_last_error(void);
BEXT_IMPORT("fail") void bext_abi_fail(const char *message, size_t message_len);

/* ---- request and response ------------------------------------------------------------------------------------------------- */

typedef int32_t bext_side;
#define BEXT_REQUEST 0
#define BEXT_RESPONSE 1

static inline bext_str bext_method(void) { return bext_from_buffer(bext_abi_get_method()); }
static inline bext_str bext_path(void) { return bext_from_buffer(bext_abi_get_path()); }
/* Without "?"; empty: there is none. */
static inline bext_str bext_query(void) { return bext_from_buffer(bext_abi_get_query()); }
static inline bext_str bext_scheme(void) { return bext_from_buffer(bext_abi_get_scheme()); }
static inline bext_str bext_host(void) { return bext_from_buffer(bext_abi_get_host()); }
static inline bext_str bext_client_address(void) { return bext_from_buffer(bext_abi_get_client_address()); }
static inline bext_str bext_request_id(void) { return bext_from_buffer(bext_abi_get_request_id()); }
/* "websocket", or none. */
static inline bext_str bext_upgrade(void) { return bext_from_buffer(bext_abi_get_upgrade()); }
static inline bext_str bext_tenant_id(void) { return bext_from_buffer(bext_abi_get_tenant_id()); }
static inline bext_str bext_site_id(void) { return bext_from_buffer(bext_abi_get_site_id()); }
/* JSON, or none. */
static inline bext_str bext_user(void) { return bext_from_buffer(bext_abi_get_user()); }

/* None: absent, or hidden (sensitive_headers). */
static inline bext_str bext_header(bext_side side, bext_str name) {
  return bext_from_buffer(bext_abi_get_header(side, name.ptr, name.len));
}

/* All visible fields; read them with bext_next_pair. */
static inline bext_str bext_headers(bext_side side) { return bext_from_buffer(bext_abi_get_headers(side)); }

static inline int32_t bext_set_header(bext_side side, bext_str name, bext_str value) {
  return bext_abi_set_header(side, name.ptr, name.len, value.ptr, value.len);
}
static inline int32_t bext_append_header(bext_side side, bext_str name, bext_str value) {
  return bext_abi_append_header(side, name.ptr, name.len, value.ptr, value.len);
}
static inline int32_t bext_remove_header(bext_side side, bext_str name) {
  return bext_abi_remove_header(side, name.ptr, name.len);
}

/* These six need permissions: rewrite_path for the first two, rewrite_method for the third, identity for the others. */
static inline int32_t bext_set_path(bext_str path) { return bext_abi_set_path(path.ptr, path.len); }
/* Percent-encoded, without "?". */
static inline int32_t bext_set_query(bext_str query) { return bext_abi_set_query(query.ptr, query.len); }
static inline int32_t bext_set_method(bext_str method) { return bext_abi_set_method(method.ptr, method.len); }
static inline int32_t bext_set_tenant_id(bext_str id) { return bext_abi_set_tenant_id(id.ptr, id.len); }
static inline int32_t bext_set_site_id(bext_str id) { return bext_abi_set_site_id(id.ptr, id.len); }
static inline int32_t bext_set_user(bext_str json) { return bext_abi_set_user(json.ptr, json.len); }

/* Key: "plugin.key" of any plugin. */
static inline bext_str bext_extension(bext_str key) {
  return bext_from_buffer(bext_abi_get_extension(key.ptr, key.len));
}
/* Key: without this plugin's name. */
static inline int32_t bext_set_extension(bext_str key, bext_str value) {
  return bext_abi_set_extension(key.ptr, key.len, value.ptr, value.len);
}

static inline int32_t bext_body_size(bext_side side) { return bext_abi_get_body_size(side); }
/* Bytes written into `buffer`; 0: the end. */
static inline int32_t bext_read_body(bext_side side, size_t offset, void *buffer, size_t buffer_len) {
  return bext_abi_read_body(side, offset, buffer, buffer_len);
}

/* The whole body in the arena. BEXT_FAILED when there is no memory for it. */
BEXT_SHARED_ bext_str bext_body(bext_side side) {
  int32_t size = bext_abi_get_body_size(side);
  if (size < 0) return bext_view(NULL, (size_t)size);
  char *body = (char *)bext_alloc((size_t)size + 1);
  if (body == NULL) return bext_view(NULL, (size_t)BEXT_FAILED);
  int32_t read = 0;
  for (int32_t part; read < size; read += part) {
    part = bext_abi_read_body(side, (size_t)read, body + read, (size_t)(size - read));
    if (part < 0) return bext_view(NULL, (size_t)part);
    if (part == 0) break;
  }
  return bext_view(body, (size_t)read);
}

static inline int32_t bext_set_body(bext_side side, bext_str bytes) {
  return bext_abi_set_body(side, bytes.ptr, bytes.len);
}

/* 0 in on_request. */
static inline int32_t bext_status(void) { return bext_abi_get_status(); }
static inline int32_t bext_set_status(int32_t status) { return bext_abi_set_status(status); }

/* Answers in place of the app: `return bext_respond(404, BEXT_NONE, BEXT_STR("gone"));`. Headers: see bext_write_pair. */
static inline int32_t bext_respond(int32_t status, bext_str headers, bext_str body) {
  int32_t result = bext_abi_respond(status, headers.ptr, headers.ptr == NULL ? 0 : headers.len, body.ptr,
                                    body.ptr == NULL ? 0 : body.len);
  return result < 0 ? result : BEXT_ANSWERED;
}

/* True in exactly one process of the server. */
static inline bool bext_is_leader(void) { return bext_abi_is_leader() == 1; }

/* ---- what the plugin has -------------------------------------------------------------------------------------------------- */

/* The setting: text as it is, anything else as JSON. None: no such key. Empty key: the whole section as JSON. */
static inline bext_str bext_config(bext_str key) { return bext_from_buffer(bext_abi_get_config(key.ptr, key.len)); }

/* A whole number of the configuration; `fallback` when there is none. */
static inline int64_t bext_config_int(bext_str key, int64_t fallback) {
  int64_t value;
  return bext_parse_int(bext_config(key), &value) ? value : fallback;
}

static inline bext_str bext_secret(bext_str name) { return bext_from_buffer(bext_abi_get_secret(name.ptr, name.len)); }

static inline void bext_log(bext_str level, bext_str message) {
  bext_abi_log(level.ptr, level.len, message.ptr, message.len);
}
static inline void bext_debug(bext_str message) { bext_log(BEXT_STR("debug"), message); }
static inline void bext_info(bext_str message) { bext_log(BEXT_STR("info"), message); }
static inline void bext_warn(bext_str message) { bext_log(BEXT_STR("warn"), message); }
static inline void bext_error(bext_str message) { bext_log(BEXT_STR("error"), message); }

/* Tags: a JSON object of texts, or BEXT_NONE. */
static inline void bext_metric(bext_str name, double value, bext_str tags_json) {
  bext_abi_emit_metric(name.ptr, name.len, value, tags_json.ptr, tags_json.ptr == NULL ? 0 : tags_json.len);
}

static inline bext_str bext_storage_get(bext_str key) {
  return bext_from_buffer(bext_abi_storage_get(key.ptr, key.len));
}
/* Kept until deleted. */
static inline int32_t bext_storage_set(bext_str key, bext_str value) {
  return bext_abi_storage_set(key.ptr, key.len, value.ptr, value.len);
}
static inline int32_t bext_storage_set_ttl(bext_str key, bext_str value, int64_t ttl_ms) {
  return bext_abi_storage_set_ttl(key.ptr, key.len, value.ptr, value.len, ttl_ms);
}
/* 1: it was there; 0. */
static inline int32_t bext_storage_delete(bext_str key) { return bext_abi_storage_delete(key.ptr, key.len); }
/* Keys that start with `prefix`, sorted; read them with bext_next_part. */
static inline bext_str bext_storage_keys(bext_str prefix, int32_t limit) {
  return bext_from_buffer(bext_abi_storage_keys(prefix.ptr, prefix.len, limit));
}
/* Adds to a counter, atomically across processes; waits. */
static inline int32_t bext_storage_incr(bext_str key, int64_t by, int64_t ttl_ms, int64_t *value) {
  return bext_abi_storage_incr(key.ptr, key.len, by, ttl_ms, value);
}
/* 1: set, 0: another value was there. `expected` none: absent. Waits. */
static inline int32_t bext_storage_cas(bext_str key, bext_str expected, bext_str value, int64_t ttl_ms) {
  return bext_abi_storage_cas(key.ptr, key.len, expected.ptr, expected.ptr == NULL ? -1 : (int32_t)expected.len,
                              value.ptr, value.len, ttl_ms);
}
/* Waits until everything is on disk. */
static inline int32_t bext_storage_flush(void) { return bext_abi_storage_flush(); }

/* The message's id. `key` none: no order. Waits. */
static inline bext_str bext_queue_push(bext_str queue, bext_str json, bext_str key, int64_t delay_ms) {
  return bext_from_buffer(bext_abi_queue_push(queue.ptr, queue.len, json.ptr, json.len, key.ptr,
                                              key.ptr == NULL ? 0 : key.len, delay_ms));
}

/* JSON {url, status, headers}. Request: JSON {url, method?, headers?, body? or body_base64?, redirect?}. Waits. */
static inline bext_str bext_fetch(bext_str request_json) {
  return bext_from_buffer(bext_abi_http_fetch(request_json.ptr, request_json.len));
}
/* The body that came with the last bext_fetch of this call. */
static inline bext_str bext_fetch_body(void) { return bext_from_buffer(bext_abi_http_fetch_body()); }

/* ---- clock, random, cryptography ------------------------------------------------------------------------------------------ */

/* Milliseconds since 1970. */
static inline int64_t bext_now_ms(void) { return bext_abi_clock_now(); }
/* Milliseconds since some moment. */
static inline int64_t bext_monotonic_ms(void) { return bext_abi_clock_monotonic(); }
/* At most 65,536 bytes. */
static inline int32_t bext_random(void *buffer, size_t buffer_len) { return bext_abi_random(buffer, buffer_len); }
static inline int32_t bext_sha256(bext_str bytes, uint8_t out[32]) {
  return bext_abi_sha256(bytes.ptr, bytes.len, out);
}
static inline int32_t bext_hmac_sha256(bext_str key, bext_str bytes, uint8_t out[32]) {
  return bext_abi_hmac_sha256(key.ptr, key.len, bytes.ptr, bytes.len, out);
}
/* 1: valid; 0. */
static inline int32_t bext_ed25519_verify(const uint8_t public_key[32], const uint8_t signature[64], bext_str message) {
  return bext_abi_ed25519_verify(public_key, signature, message.ptr, message.len);
}

/* ---- errors --------------------------------------------------------------------------------------------------------------- */

/* "E_CODE: what happened" of the last refusal in this call, or none. */
static inline bext_str bext_last_error(void) { return bext_from_buffer(bext_abi_last_error()); }

/* Fails the hook, saying why: `return bext_fail(BEXT_STR("no body"));`. */
static inline int32_t bext_fail(bext_str message) {
  bext_abi_fail(message.ptr, message.len);
  return BEXT_FAILED;
}

/* Leaves the hook with the host's refusal, if there is one: `BEXT_TRY(bext_set_header(…));`. */
#define BEXT_TRY(result)                    \
  do {                                      \
    int32_t bext_result_ = (result);        \
    if (bext_result_ < 0) return bext_result_; \
  } while (0)

/* ---- lists ---------------------------------------------------------------------------------------------------------------- */

/* The next text of a list whose entries end with NUL: `for (bext_str key; bext_next_part(&keys, &key);) …`. */
static inline bool bext_next_part(bext_str *list, bext_str *part) {
  if (list->ptr == NULL || list->len == 0) return false;
  size_t end = bext_find(*list, '\0', 0);
  *part = bext_view(list->ptr, end);
  size_t over = end < list->len ? end + 1 : end;
  *list = bext_view(list->ptr + over, list->len - over);
  return true;
}

/* The next field of a list of pairs: `for (bext_str name, value; bext_next_pair(&headers, &name, &value);) …`. */
static inline bool bext_next_pair(bext_str *list, bext_str *name, bext_str *value) {
  return bext_next_part(list, name) && bext_next_part(list, value);
}

/* ---- making text ---------------------------------------------------------------------------------------------------------- */

/*
 * Text that grows, in the arena. Begin with {0}; when memory is out it stays as it was and `full` is set, and bext_text is none.
 *
 *   bext_writer line = {0};
 *   bext_write(&line, BEXT_STR("hello "));
 *   bext_write(&line, name);
 *   bext_info(bext_text(&line));
 */
typedef struct bext_writer {
  char *ptr;
  size_t len, capacity;
  bool full;
} bext_writer;

/* Room for `more` bytes behind the text; NULL: memory is out. */
BEXT_SHARED_ char *bext_reserve(bext_writer *writer, size_t more) {
  if (writer->full || more > (size_t)INT32_MAX - writer->len) {
    writer->full = true;
    return NULL;
  }
  if (writer->len + more > writer->capacity) {
    size_t capacity = writer->capacity * 2 > writer->len + more ? writer->capacity * 2 : writer->len + more + 48;
    char *larger = (char *)bext_alloc(capacity);
    if (larger == NULL) {
      writer->full = true;
      return NULL;
    }
    for (size_t i = 0; i < writer->len; i++) larger[i] = writer->ptr[i];
    writer->ptr = larger;
    writer->capacity = capacity;
  }
  return writer->ptr + writer->len;
}

BEXT_SHARED_ void bext_write(bext_writer *writer, bext_str text) {
  if (text.ptr == NULL) return;
  char *to = bext_reserve(writer, text.len);
  if (to == NULL) return;
  for (size_t i = 0; i < text.len; i++) to[i] = text.ptr[i];
  writer->len += text.len;
}

BEXT_SHARED_ void bext_write_char(bext_writer *writer, char c) { bext_write(writer, bext_view(&c, 1)); }

BEXT_SHARED_ void bext_write_int(bext_writer *writer, int64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) bext_write_char(writer, '-');
  bext_write(writer, bext_view(digits + at, sizeof digits - at));
}

/* Two lower-case digits for each byte. */
BEXT_SHARED_ void bext_write_hex(bext_writer *writer, bext_str bytes) {
  for (size_t i = 0; i < bytes.len; i++) {
    bext_write_char(writer, "0123456789abcdef"[(uint8_t)bytes.ptr[i] >> 4]);
    bext_write_char(writer, "0123456789abcdef"[bytes.ptr[i] & 15]);
  }
}

/* A JSON string with its quotes (RFC 8259 §7). The text has to be UTF-8. */
BEXT_SHARED_ void bext_write_json_string(bext_writer *writer, bext_str text) {
  bext_write_char(writer, '"');
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = (uint8_t)text.ptr[i];
    if (c < 0x20) {
      bext_write(writer, BEXT_STR("\\u00"));
      bext_write_hex(writer, bext_view(&c, 1));
    } else {
      if (c == '"' || c == '\\') bext_write_char(writer, '\\');
      bext_write_char(writer, (char)c);
    }
  }
  bext_write_char(writer, '"');
}

/* One more field of a list of pairs, for bext_respond. */
BEXT_SHARED_ void bext_write_pair(bext_writer *writer, bext_str name, bext_str value) {
  bext_write(writer, name);
  bext_write_char(writer, '\0');
  bext_write(writer, value);
  bext_write_char(writer, '\0');
}

/* What was written; none: memory was out. */
static inline bext_str bext_text(const bext_writer *writer) {
  if (writer->full) return bext_none();
  return bext_view(writer->ptr == NULL ? "" : writer->ptr, writer->len);
}

#define BEXT_BASE64URL_ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/* Without padding (RFC 4648 §5). */
BEXT_SHARED_ void bext_write_base64url(bext_writer *writer, bext_str bytes) {
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    bits = bits << 8 | (uint8_t)bytes.ptr[i];
    for (count += 8; count >= 6; count -= 6)
      bext_write_char(writer, BEXT_BASE64URL_[bits >> (count - 6) & 63]);
  }
  if (count > 0) bext_write_char(writer, BEXT_BASE64URL_[bits << (6 - count) & 63]);
}

/* ---- reading text --------------------------------------------------------------------------------------------------------- */

static inline int bext_base64url_digit_(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* The bytes, in the arena. None: it is not base64url without padding. */
BEXT_SHARED_ bext_str bext_from_base64url(bext_str text) {
  char *bytes = (char *)bext_alloc(text.len + 1);
  size_t len = 0;
  uint32_t bits = 0;
  int count = 0;
  if (bytes == NULL || text.ptr == NULL || text.len % 4 == 1) return bext_none();
  for (size_t i = 0; i < text.len; i++) {
    int digit = bext_base64url_digit_(text.ptr[i]);
    if (digit < 0) return bext_none();
    bits = bits << 6 | (uint32_t)digit;
    count += 6;
    if (count >= 8) bytes[len++] = (char)(bits >> (count -= 8));
  }
  return bext_view(bytes, len);
}

static inline int bext_hex_digit_(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes, in the arena. None: it is not pairs of hexadecimal digits. */
BEXT_SHARED_ bext_str bext_from_hex(bext_str text) {
  char *bytes = (char *)bext_alloc(text.len / 2 + 1);
  if (bytes == NULL || text.ptr == NULL || text.len % 2 == 1) return bext_none();
  for (size_t i = 0; i < text.len; i += 2) {
    int high = bext_hex_digit_(text.ptr[i]), low = bext_hex_digit_(text.ptr[i + 1]);
    if (high < 0 || low < 0) return bext_none();
    bytes[i / 2] = (char)(high << 4 | low);
  }
  return bext_view(bytes, text.len / 2);
}

/* ---- reading JSON --------------------------------------------------------------------------------------------------------- */

/*
 * A value is looked at where it is, as a view of its JSON text:
 *
 *   bext_str email = bext_json_text(bext_json_get(bext_user(), BEXT_STR("email")));
 *
 * Text that is not JSON (RFC 8259) or nested over 64 levels has no members, no items and no text.
 */

/* These skip what their name says, from `at`; NULL: it is not there. */
static inline const char *bext_json_space_(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

static inline const char *bext_json_word_(const char *at, const char *end, bext_str word) {
  return bext_starts_with(bext_view(at, (size_t)(end - at)), word) ? at + word.len : NULL;
}

static inline const char *bext_json_digits_(const char *at, const char *end) {
  const char *start = at;
  while (at < end && *at >= '0' && *at <= '9') at++;
  return at == start ? NULL : at;
}

BEXT_SHARED_ const char *bext_json_number_(const char *at, const char *end) {
  if (at < end && *at == '-') at++;
  if (at < end && *at == '0') at++;
  else if ((at = bext_json_digits_(at, end)) == NULL) return NULL;
  if (at < end && *at == '.' && (at = bext_json_digits_(at + 1, end)) == NULL) return NULL;
  if (at < end && (*at | 0x20) == 'e') {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at = bext_json_digits_(at, end);
  }
  return at;
}

/* One character of UTF-8 (RFC 3629 §4). */
BEXT_SHARED_ const char *bext_utf8_char_(const char *at, const char *end) {
  uint8_t first = (uint8_t)*at;
  if (first < 0x80) return at + 1;
  int more = first >= 0xc2 && first < 0xe0 ? 1 : (first & 0xf0) == 0xe0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
  if (more == 0 || end - at <= more) return NULL;
  for (int i = 1; i <= more; i++)
    if (((uint8_t)at[i] & 0xc0) != 0x80) return NULL;
  uint8_t second = (uint8_t)at[1];
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return NULL;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return NULL;
  return at + 1 + more;
}

BEXT_SHARED_ const char *bext_json_string_(const char *at, const char *end) {
  if (at == end || *at++ != '"') return NULL;
  while (at < end && *at != '"') {
    if ((uint8_t)*at < 0x20) return NULL;
    if (*at != '\\') {
      if ((at = bext_utf8_char_(at, end)) == NULL) return NULL;
      continue;
    }
    if (end - at < 2) return NULL;
    if (at[1] == 'u') {
      if (end - at < 6) return NULL;
      for (int i = 2; i < 6; i++)
        if (bext_hex_digit_(at[i]) < 0) return NULL;
      at += 6;
    } else {
      if (bext_find(BEXT_STR("\"\\/bfnrt"), at[1], 0) == 8) return NULL;
      at += 2;
    }
  }
  return at < end ? at + 1 : NULL;
}

BEXT_SHARED_ const char *bext_json_value_(const char *at, const char *end, int levels) {
  if (at == end || levels == 0) return NULL;
  if (*at == '"') return bext_json_string_(at, end);
  if (*at == 't') return bext_json_word_(at, end, BEXT_STR("true"));
  if (*at == 'f') return bext_json_word_(at, end, BEXT_STR("false"));
  if (*at == 'n') return bext_json_word_(at, end, BEXT_STR("null"));
  if (*at != '{' && *at != '[') return bext_json_number_(at, end);
  bool object = *at == '{';
  char close = object ? '}' : ']';
  at = bext_json_space_(at + 1, end);
  if (at < end && *at == close) return at + 1;
  for (;;) {
    if (object) {
      if ((at = bext_json_string_(at, end)) == NULL) return NULL;
      at = bext_json_space_(at, end);
      if (at == end || *at != ':') return NULL;
      at = bext_json_space_(at + 1, end);
    }
    if ((at = bext_json_value_(at, end, levels - 1)) == NULL) return NULL;
    at = bext_json_space_(at, end);
    if (at == end || (*at != ',' && *at != close)) return NULL;
    if (*at++ == close) return at;
    at = bext_json_space_(at, end);
  }
}

/* The one value of the text, without the white space around it; none: it is not JSON. */
BEXT_SHARED_ bext_str bext_json(bext_str text) {
  if (text.ptr == NULL) return bext_none();
  const char *end = text.ptr + text.len;
  const char *start = bext_json_space_(text.ptr, end);
  const char *over = bext_json_value_(start, end, 64);
  if (over == NULL || bext_json_space_(over, end) != end) return bext_none();
  return bext_view(start, (size_t)(over - start));
}

static inline bool bext_json_is_object(bext_str json) {
  bext_str value = bext_json(json);
  return value.ptr != NULL && value.ptr[0] == '{';
}

/* The text of a JSON string, in the arena where it has escapes. None: it is not a string. */
BEXT_SHARED_ bext_str bext_json_text(bext_str json) {
  bext_str value = bext_json(json);
  if (value.ptr == NULL || value.ptr[0] != '"') return bext_none();
  bext_str inner = bext_view(value.ptr + 1, value.len - 2);
  if (bext_find(inner, '\\', 0) == inner.len) return inner;
  char *out = (char *)bext_alloc(inner.len + 1); /* an escape is never shorter than what it stands for */
  if (out == NULL) return bext_none();
  size_t len = 0;
  for (size_t i = 0; i < inner.len;) {
    if (inner.ptr[i] != '\\') {
      out[len++] = inner.ptr[i++];
      continue;
    }
    char escape = inner.ptr[i + 1];
    i += 2;
    if (escape != 'u') {
      size_t which = bext_find(BEXT_STR("bfnrt"), escape, 0);
      out[len++] = which < 5 ? "\b\f\n\r\t"[which] : escape;
      continue;
    }
    uint32_t c = 0;
    for (int digits = 4; digits > 0; digits--) c = c << 4 | (uint32_t)bext_hex_digit_(inner.ptr[i++]);
    if (c >= 0xd800 && c < 0xe000) {
      uint32_t low = 0;
      if (c < 0xdc00 && inner.len - i >= 6 && inner.ptr[i] == '\\' && inner.ptr[i + 1] == 'u')
        for (int digit = 2; digit < 6; digit++) low = low << 4 | (uint32_t)bext_hex_digit_(inner.ptr[i + (size_t)digit]);
      if (low >= 0xdc00 && low < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      } else {
        c = 0xfffd; /* half a pair is no character */
      }
    }
    if (c < 0x80) {
      out[len++] = (char)c;
      continue;
    }
    if (c >= 0x10000) out[len++] = (char)(0xf0 | c >> 18);
    if (c >= 0x800) out[len++] = (char)((c >= 0x10000 ? 0x80 : 0xe0) | (c >> 12 & (c >= 0x10000 ? 0x3f : 0x0f)));
    out[len++] = (char)((c >= 0x800 ? 0x80 : 0xc0) | (c >> 6 & (c >= 0x800 ? 0x3f : 0x1f)));
    out[len++] = (char)(0x80 | (c & 0x3f));
  }
  return bext_view(out, len);
}

/*
 * The next member of a JSON object, or item of a JSON list (its name is none): `for (bext_str rest = bext_json(text), name, value;
 * bext_json_next(&rest, &name, &value);) …`. Names and values are JSON.
 */
BEXT_SHARED_ bool bext_json_next(bext_str *rest, bext_str *name, bext_str *value) {
  const char *end = rest->ptr + rest->len;
  if (rest->len < 2 || (end[-1] != '}' && end[-1] != ']')) return false;
  bool object = end[-1] == '}';
  const char *at = bext_json_space_(rest->ptr + 1, end); /* over the bracket, or the comma */
  if (at == end - 1) return false;
  *name = bext_none();
  if (object) {
    const char *start = at;
    at = bext_json_string_(at, end);
    *name = bext_view(start, (size_t)(at - start));
    at = bext_json_space_(bext_json_space_(at, end) + 1, end);
  }
  const char *over = bext_json_value_(at, end, 64);
  *value = bext_view(at, (size_t)(over - at));
  over = bext_json_space_(over, end);
  *rest = bext_view(over, (size_t)(end - over));
  return true;
}

/* The member's value, as JSON; of several with this name the last. None: there is none, or `object` is no JSON object. */
BEXT_SHARED_ bext_str bext_json_get(bext_str object, bext_str name) {
  bext_str found = bext_none();
  bext_str rest = bext_json_is_object(object) ? bext_json(object) : bext_none();
  for (bext_str key, value; bext_json_next(&rest, &key, &value);)
    if (bext_equal(bext_json_text(key), name)) found = value;
  return found;
}

/* A whole number; `fallback` for anything else, also 1.0 and 1e3. */
static inline int64_t bext_json_int(bext_str json, int64_t fallback) {
  int64_t value;
  return bext_parse_int(json, &value) ? value : fallback;
}

/* A JSON number; the last bit or two may be off. @return whether it is one. */
BEXT_SHARED_ bool bext_json_number(bext_str json, double *value) {
  json = bext_json(json);
  if (json.ptr == NULL || (json.ptr[0] != '-' && bext_json_digits_(json.ptr, json.ptr + 1) == NULL)) return false;
  double sum = 0;
  int32_t exponent = 0, explicit_exponent = 0;
  size_t i = json.ptr[0] == '-' ? 1 : 0;
  for (bool fraction = false; i < json.len && (json.ptr[i] | 0x20) != 'e'; i++) {
    if (json.ptr[i] == '.') {
      fraction = true;
    } else {
      sum = sum * 10 + (json.ptr[i] - '0');
      if (fraction) exponent--;
    }
  }
  bool smaller = i + 1 < json.len && json.ptr[i + 1] == '-';
  for (i += smaller || (i + 1 < json.len && json.ptr[i + 1] == '+') ? 2 : 1; i < json.len; i++)
    if (explicit_exponent < 1000000) explicit_exponent = explicit_exponent * 10 + (json.ptr[i] - '0');
  exponent += smaller ? -explicit_exponent : explicit_exponent;
  for (; exponent > 0 && sum != 0 && sum < __builtin_inf(); exponent--) sum *= 10;
  for (; exponent < 0 && sum != 0; exponent++) sum /= 10;
  *value = json.ptr[0] == '-' ? -sum : sum;
  return true;
}

#ifdef __cplusplus
}
#endif
#endif
