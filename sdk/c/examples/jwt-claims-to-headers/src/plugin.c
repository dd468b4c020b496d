/* Lets requests with a valid token (JWT, HS256) through and tells the app about its claims. */
#include "bext.h"

static int32_t remove_forged_headers(bext_str prefix);
static bext_str bearer_token(bext_str authorization);
static bext_str verified_claims(bext_str token, bext_str secret);
static bool is_current(bext_str claims, int64_t leeway);
static bool is_for_us(bext_str claims);
static int32_t set_claim_headers(bext_str claims, bext_str prefix);
static int32_t refuse(bext_str challenge, bext_str why);

/* RFC 7518 §3.2 */
#define MIN_SECRET_BYTES 32
#define MAX_CLAIM_BYTES 1024

BEXT_ON_REQUEST() {
  bext_str prefix = bext_config(BEXT_STR("header_prefix"));
  BEXT_TRY(bext_failed(prefix));
  BEXT_TRY(remove_forged_headers(prefix));
  bext_str secret = bext_secret(BEXT_STR("JWT_SECRET"));
  BEXT_TRY(bext_failed(secret));
  if (secret.len < MIN_SECRET_BYTES) return bext_fail(BEXT_STR("JWT_SECRET has less than 32 bytes"));
  bext_str authorization = bext_header(BEXT_REQUEST, BEXT_STR("authorization"));
  BEXT_TRY(bext_failed(authorization));
  if (!bext_is_some(authorization)) return refuse(BEXT_STR("Bearer"), BEXT_STR("a token is needed\n"));
  bext_str claims = verified_claims(bearer_token(authorization), secret);
  int64_t leeway = bext_config_int(BEXT_STR("leeway_seconds"), 0);
  if (!bext_is_some(claims) || !is_current(claims, leeway) || !is_for_us(claims))
    return refuse(BEXT_STR("Bearer error=\"invalid_token\""), BEXT_STR("the token is not valid\n"));
  return set_claim_headers(claims, prefix);
}

/* Nobody but a token may say who the user is. */
static int32_t remove_forged_headers(bext_str prefix) {
  bext_str headers = bext_headers(BEXT_REQUEST);
  BEXT_TRY(bext_failed(headers));
  for (bext_str name, value; bext_next_pair(&headers, &name, &value);)
    if (bext_starts_with(name, prefix)) BEXT_TRY(bext_remove_header(BEXT_REQUEST, name));
  return BEXT_CONTINUE;
}

/* None: these are other credentials. */
static bext_str bearer_token(bext_str authorization) {
  static const char scheme[] = "bearer ";
  for (size_t i = 0; i < sizeof scheme - 1; i++)
    if (i >= authorization.len || (authorization.ptr[i] | 0x20) != scheme[i]) return BEXT_NONE;
  size_t start = sizeof scheme - 1;
  while (start < authorization.len && authorization.ptr[start] == ' ') start++;
  return bext_slice(authorization, start, authorization.len);
}

/* The payload; none: it is not one that the owner of the secret has signed. Source: RFC 7515 §5.2. */
static bext_str verified_claims(bext_str token, bext_str secret) {
  size_t first = bext_find(token, '.', 0);
  size_t second = bext_find(token, '.', first + 1);
  if (second >= token.len || bext_find(token, '.', second + 1) < token.len) return BEXT_NONE;
  bext_str header = bext_from_base64url(bext_slice(token, 0, first));
  if (!bext_equal(bext_json_text(bext_json_get(header, BEXT_STR("alg"))), BEXT_STR("HS256"))) return BEXT_NONE;
  if (bext_is_some(bext_json_get(header, BEXT_STR("crit")))) return BEXT_NONE;
  uint8_t expected[32];
  if (bext_hmac_sha256(secret, bext_slice(token, 0, second), expected) < 0) return BEXT_NONE;
  bext_str signature = bext_from_base64url(bext_slice(token, second + 1, token.len));
  if (!bext_equal_secret(signature, bext_view(expected, sizeof expected))) return BEXT_NONE;
  bext_str claims = bext_from_base64url(bext_slice(token, first + 1, second));
  return bext_json_is_object(claims) ? claims : BEXT_NONE;
}

/* Whole seconds of a JSON number. @return whether it is one. */
static bool to_seconds(bext_str json, int64_t *seconds) {
  double number;
  if (!bext_json_number(json, &number)) return false;
  *seconds = number > 9e15 ? (int64_t)9e15 : number < -9e15 ? (int64_t)-9e15 : (int64_t)number;
  return true;
}

/* Source: RFC 7519 §4.1.4 and §4.1.5. */
static bool is_current(bext_str claims, int64_t leeway) {
  int64_t now = bext_now_ms() / 1000, expiry, start;
  if (!to_seconds(bext_json_get(claims, BEXT_STR("exp")), &expiry) || now >= expiry + leeway) return false;
  bext_str not_before = bext_json_get(claims, BEXT_STR("nbf"));
  if (!bext_is_some(not_before)) return true;
  return to_seconds(not_before, &start) && now >= start - leeway;
}

/* Source: RFC 7519 §4.1.1 and §4.1.3. */
static bool is_for_us(bext_str claims) {
  bext_str issuer = bext_config(BEXT_STR("issuer")), audience = bext_config(BEXT_STR("audience"));
  if (bext_failed(issuer) < 0 || bext_failed(audience) < 0) return false;
  if (bext_is_some(issuer) && !bext_equal(bext_json_text(bext_json_get(claims, BEXT_STR("iss"))), issuer)) return false;
  if (!bext_is_some(audience)) return true;
  bext_str claim = bext_json_get(claims, BEXT_STR("aud"));
  if (bext_equal(bext_json_text(claim), audience)) return true;
  if (!bext_is_some(claim) || claim.ptr[0] != '[') return false;
  for (bext_str name, item; bext_json_next(&claim, &name, &item);)
    if (bext_equal(bext_json_text(item), audience)) return true;
  return false;
}

/* Text that can be a header's value as it is. */
static bool is_plain(bext_str text) {
  if (text.len == 0 || text.len > MAX_CLAIM_BYTES || text.ptr[0] == ' ' || text.ptr[text.len - 1] == ' ') return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] < ' ' || text.ptr[i] > '~') return false;
    if (text.ptr[i] == ' ' && text.ptr[i - 1] == ' ') return false;
  }
  return true;
}

static bext_str header_value(bext_str json) {
  bext_str text = bext_json_text(json);
  if (bext_is_some(text)) return is_plain(text) ? text : BEXT_NONE;
  bool plain = bext_is_some(json) && json.ptr[0] != '{' && json.ptr[0] != '[' && json.ptr[0] != '"';
  return plain && !bext_equal(json, BEXT_STR("null")) && json.len <= MAX_CLAIM_BYTES ? json : BEXT_NONE;
}

static int32_t set_claim_headers(bext_str claims, bext_str prefix) {
  bext_str rest = bext_json(bext_config(BEXT_STR("claims")));
  for (bext_str none, item; bext_json_next(&rest, &none, &item);) {
    bext_str claim = bext_json_text(item);
    bext_str value = header_value(bext_json_get(claims, claim));
    if (!bext_is_some(value)) continue;
    bext_writer name = {0};
    bext_write(&name, prefix);
    for (size_t i = 0; i < claim.len; i++) {
      char c = claim.ptr[i];
      bext_write_char(&name, c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
    BEXT_TRY(bext_set_header(BEXT_REQUEST, bext_text(&name), value));
  }
  return BEXT_CONTINUE;
}

static int32_t refuse(bext_str challenge, bext_str why) {
  bext_writer headers = {0};
  bext_write_pair(&headers, BEXT_STR("www-authenticate"), challenge);
  bext_write_pair(&headers, BEXT_STR("cache-control"), BEXT_STR("no-store"));
  bext_write_pair(&headers, BEXT_STR("content-type"), BEXT_STR("text/plain; charset=utf-8"));
  return bext_respond(401, bext_text(&headers), why);
}
