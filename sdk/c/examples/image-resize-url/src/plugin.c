/* Short addresses for resized images, signed for imgproxy: https://docs.imgproxy.net/usage/signing_url */
#include "bext.h"

typedef struct {
  int64_t width, height; /* 0: not given */
  bext_str fit;          /* NULL: not given */
} options;

static bool parse_options(bext_str list, options *parsed);
static bext_str processing_path(options wanted, bext_str image);
static int32_t rewrite(bext_str target);
static int32_t refuse_method(void);
static int32_t refuse_options(bext_str prefix);

#define MAX_IMAGE_BYTES 1024

BEXT_ON_REQUEST() {
  bext_str prefix = bext_config(BEXT_STR("prefix"));
  bext_str path = bext_path();
  if (!bext_starts_with(path, prefix)) return BEXT_CONTINUE;
  bext_str method = bext_method();
  if (!bext_equal(method, BEXT_STR("GET")) && !bext_equal(method, BEXT_STR("HEAD"))) return refuse_method();
  size_t slash = bext_find(path, '/', prefix.len);
  bext_str image = bext_slice(path, slash + 1, path.len);
  options wanted = {0, 0, BEXT_NONE};
  if (image.len == 0 || image.len > MAX_IMAGE_BYTES) return refuse_options(prefix);
  if (!parse_options(bext_slice(path, prefix.len, slash), &wanted)) return refuse_options(prefix);
  return rewrite(processing_path(wanted, image));
}

/* 1 to 5 digits, not 0, and not given before. */
static bool parse_pixels(bext_str digits, int64_t *pixels) {
  if (*pixels != 0 || digits.len == 0 || digits.len > 5 || digits.ptr[0] == '-') return false;
  return bext_parse_int(digits, pixels) && *pixels > 0;
}

static bool parse_option(bext_str option, options *parsed) {
  if (bext_starts_with(option, BEXT_STR("w="))) return parse_pixels(bext_slice(option, 2, option.len), &parsed->width);
  if (bext_starts_with(option, BEXT_STR("h="))) return parse_pixels(bext_slice(option, 2, option.len), &parsed->height);
  if (bext_is_some(parsed->fit)) return false;
  if (bext_equal(option, BEXT_STR("fit=fit"))) parsed->fit = BEXT_STR("fit");
  if (bext_equal(option, BEXT_STR("fit=fill"))) parsed->fit = BEXT_STR("fill");
  return bext_is_some(parsed->fit);
}

static bool parse_options(bext_str list, options *parsed) {
  for (size_t start = 0, end; start <= list.len; start = end + 1) {
    end = bext_find(list, ',', start);
    if (!parse_option(bext_slice(list, start, end), parsed)) return false;
  }
  return parsed->width > 0 || parsed->height > 0;
}

static int64_t at_most(int64_t pixels, bext_str setting) {
  int64_t most = bext_config_int(setting, 1);
  return pixels < most ? pixels : most;
}

/* What is signed. Source: https://docs.imgproxy.net/usage/processing */
static bext_str processing_path(options wanted, bext_str image) {
  bext_writer source = {0}, path = {0};
  bext_write(&source, bext_config(BEXT_STR("source")));
  bext_write(&source, image);
  bext_write(&path, BEXT_STR("/rs:"));
  bext_write(&path, bext_or(wanted.fit, BEXT_STR("fit")));
  bext_write_char(&path, ':');
  bext_write_int(&path, at_most(wanted.width, BEXT_STR("max_width")));
  bext_write_char(&path, ':');
  bext_write_int(&path, at_most(wanted.height, BEXT_STR("max_height")));
  bext_write_char(&path, '/');
  bext_write_base64url(&path, bext_text(&source));
  return bext_text(&path);
}

static int32_t rewrite(bext_str target) {
  bext_str key = bext_secret(BEXT_STR("IMAGE_KEY")), salt = bext_secret(BEXT_STR("IMAGE_SALT"));
  BEXT_TRY(bext_failed(key));
  BEXT_TRY(bext_failed(salt));
  key = bext_from_hex(key);
  salt = bext_from_hex(salt);
  if (key.len == 0 || salt.len == 0) return bext_fail(BEXT_STR("IMAGE_KEY and IMAGE_SALT must be hexadecimal"));
  uint8_t signature[32];
  bext_writer message = {0}, path = {0};
  bext_write(&message, salt);
  bext_write(&message, target);
  BEXT_TRY(bext_hmac_sha256(key, bext_text(&message), signature));
  bext_write(&path, bext_config(BEXT_STR("service_prefix")));
  bext_write_char(&path, '/');
  bext_write_base64url(&path, bext_view(signature, sizeof signature));
  bext_write(&path, target);
  return bext_set_path(bext_text(&path));
}

static int32_t refuse(int32_t status, bext_writer *headers, bext_str body) {
  bext_write_pair(headers, BEXT_STR("content-type"), BEXT_STR("text/plain; charset=utf-8"));
  return bext_respond(status, bext_text(headers), body);
}

static int32_t refuse_method(void) {
  bext_writer headers = {0};
  bext_write_pair(&headers, BEXT_STR("allow"), BEXT_STR("GET, HEAD"));
  return refuse(405, &headers, BEXT_STR("use GET or HEAD\n"));
}

static int32_t refuse_options(bext_str prefix) {
  bext_writer headers = {0}, body = {0};
  bext_write(&body, BEXT_STR("use "));
  bext_write(&body, prefix);
  bext_write(&body, BEXT_STR("w=300,h=200,fit=fill/path/of/image\n"));
  return refuse(400, &headers, bext_text(&body));
}
