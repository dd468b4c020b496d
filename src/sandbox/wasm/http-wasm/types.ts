/** The import module of the http-wasm handler ABI. */
export const HTTP_HANDLER_MODULE = "http_handler"

/**
 * Its functions with their types, as `ModuleShape` writes types.
 * Source: http-wasm.io, HTTP Handler ABI.
 */
export const HTTP_HANDLER_TYPES = new Map<string, string>([
  ["add_header_value", "(i32 i32 i32 i32 i32) -> ()"],
  ["enable_features", "(i32) -> (i32)"],
  ["get_config", "(i32 i32) -> (i32)"],
  ["get_header_names", "(i32 i32 i32) -> (i64)"],
  ["get_header_values", "(i32 i32 i32 i32 i32) -> (i64)"],
  ["get_method", "(i32 i32) -> (i32)"],
  ["get_protocol_version", "(i32 i32) -> (i32)"],
  ["get_source_addr", "(i32 i32) -> (i32)"],
  ["get_status_code", "() -> (i32)"],
  ["get_uri", "(i32 i32) -> (i32)"],
  ["log", "(i32 i32 i32) -> ()"],
  ["log_enabled", "(i32) -> (i32)"],
  ["read_body", "(i32 i32 i32) -> (i64)"],
  ["remove_header", "(i32 i32 i32) -> ()"],
  ["set_header_value", "(i32 i32 i32 i32 i32) -> ()"],
  ["set_method", "(i32 i32) -> ()"],
  ["set_status_code", "(i32) -> ()"],
  ["set_uri", "(i32 i32) -> ()"],
  ["write_body", "(i32 i32 i32) -> ()"],
])

/** Functions that the guest exports. */
export const GUEST_TYPES = new Map<string, string>([
  ["handle_request", "() -> (i64)"],
  ["handle_response", "(i32 i32) -> ()"],
])
