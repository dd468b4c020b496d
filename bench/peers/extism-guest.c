// The guests of bench/guests as Extism has them: written against its functions, as its PDK for C is.
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXTISM(name) IMPORT("extism:host/env", #name) extism_##name
#define EXPORTED(name) __attribute__((export_name(name)))

typedef unsigned char byte;
typedef unsigned int uint;
typedef unsigned long long address;
address EXTISM(input_length)(void);
address EXTISM(input_load_u64)(address at);
byte EXTISM(input_load_u8)(address at);
address EXTISM(alloc)(address length);
address EXTISM(length)(address block);
byte EXTISM(load_u8)(address at);
void EXTISM(store_u8)(address at, byte value);
void EXTISM(output_set)(address block, address length);
address IMPORT("extism:host/user", "get_header") get_header(address name);

static address store(const char *text, uint length) {
  address block = extism_alloc(length);
  for (uint i = 0; i < length; i++) extism_store_u8(block + i, (byte)text[i]);
  return block;
}

#define ANSWER(literal) extism_output_set(store(literal, sizeof(literal) - 1), sizeof(literal) - 1)

// Asks the host for the one header.
EXPORTED("on_request") int on_request(void) {
  static const char blocked[] = "block";
  address value = get_header(store("x-plugin-key", 12));
  if (extism_length(value) != 5) return 0;
  for (uint i = 0; i < 5; i++)
    if (extism_load_u8(value + i) != (byte)blocked[i]) return 0;
  ANSWER("{\"action\":\"respond\",\"status\":403}");
  return 0;
}

// Gets the request as JSON.
EXPORTED("on_request_json") int on_request_json(void) {
  static union {
    address words[512];
    char text[4096];
  } input;
  static const char blocked[] = "\"x-plugin-key\":\"block\"";
  uint length = (uint)extism_input_length(), at = 0;
  for (; at + 8 <= length && at < sizeof input; at += 8) input.words[at / 8] = extism_input_load_u64(at);
  for (; at < length && at < sizeof input; at++) input.text[at] = (char)extism_input_load_u8(at);
  for (uint start = 0; start + sizeof blocked <= at; start++) {
    uint i = 0;
    while (i < sizeof blocked - 1 && input.text[start + i] == blocked[i]) i++;
    if (i < sizeof blocked - 1) continue;
    ANSWER("{\"action\":\"respond\",\"status\":403}");
    return 0;
  }
  ANSWER("{\"action\":\"continue\"}");
  return 0;
}

#ifdef KERNEL
#include "../kernels/kernels.c"
EXPORTED("compute") int compute(void) {
  if (KERNEL != EXPECTED) __builtin_trap();
  return 0;
}
#endif
