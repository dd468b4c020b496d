/* Greets the app and the client in a header each. */
#include "bext.h"

BEXT_ON_REQUEST() {
  bext_writer greeting = {0};
  bext_write(&greeting, BEXT_STR("bext says "));
  bext_write(&greeting, bext_config(BEXT_STR("greeting")));
  return bext_set_header(BEXT_REQUEST, bext_config(BEXT_STR("request_header")), bext_text(&greeting));
}

BEXT_ON_RESPONSE() {
  bext_str name = bext_header(BEXT_REQUEST, BEXT_STR("x-name"));
  if (name.ptr == NULL || name.len == 0 || name.len > 64) name = BEXT_STR("world");
  bext_writer greeting = {0};
  bext_write(&greeting, bext_config(BEXT_STR("greeting")));
  bext_write(&greeting, BEXT_STR(", "));
  bext_write(&greeting, name);
  return bext_set_header(BEXT_RESPONSE, bext_config(BEXT_STR("response_header")), bext_text(&greeting));
}
