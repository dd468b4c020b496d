// What the other one-header plugins do: blocks one client by a header.
#include "bext.h"

BEXT_ON_REQUEST() {
  if (!bext_equal(bext_header(BEXT_REQUEST, BEXT_STR("x-plugin-key")), BEXT_STR("block"))) return BEXT_CONTINUE;
  return bext_respond(403, BEXT_NONE, BEXT_NONE);
}

#ifdef BOTH_HOOKS
BEXT_ON_RESPONSE() {
  BEXT_TRY(bext_set_header(BEXT_RESPONSE, BEXT_STR("x-one"), BEXT_STR("1")));
  return bext_set_header(BEXT_RESPONSE, BEXT_STR("x-two"), BEXT_STR("2"));
}
#endif

#ifdef SUSPENDING
// It may wait, and does not.
BEXT_EVENT(on_reload, reason) { return bext_failed(bext_fetch(BEXT_STR("{\"url\":\"http://127.0.0.1/\"}"))); }
#endif

#ifdef IMAGE_BYTES
// An image of this size: no byte of it is zero.
static char kept[IMAGE_BYTES];
BEXT_EVENT(on_server_start, config) {
  for (unsigned i = 0; i < IMAGE_BYTES; i++) kept[i] = (char)(i | 1);
  return kept[config.len] == 0;
}
#endif
