/**
 * Every failure bext can name: its code, the status a client sees, who is to blame, and what to do about it.
 * The table is the only place where a status is chosen, so a guest can never pick one.
 */
export type Blame = "client" | "guest" | "operator" | "host"

interface ErrorRow {
  /** HTTP status a client sees (RFC 9110 §15). */
  readonly status: number
  readonly blame: Blame
  /** What the person to blame can do, in one sentence. */
  readonly hint: string
}

export const ERRORS = {
  // requests
  E_REQUEST_INVALID: { status: 400, blame: "client", hint: "send a well-formed HTTP/1.1 request (RFC 9112)" },
  E_PATH_INVALID: {
    status: 400,
    blame: "client",
    hint: "send a path without encoded slashes, backslashes, NUL or broken percent-encoding",
  },
  E_HEADERS_TOO_LARGE: { status: 431, blame: "client", hint: "send fewer or shorter headers (server.limits)" },
  E_BODY_TOO_LARGE: { status: 413, blame: "client", hint: "send a smaller body, or raise server.limits.body" },
  E_BODY_ENCODING: { status: 415, blame: "client", hint: "send the body with gzip, deflate, br or no content coding" },
  E_REQUEST_TIMEOUT: {
    status: 408,
    blame: "client",
    hint: "send the whole request within server.limits.request_timeout",
  },
  // Mostly for the log: 499 is what others call it there, too, and no registered status says it.
  E_CLIENT_LEFT: { status: 499, blame: "client", hint: "wait for the answer" },
  E_METHOD_NOT_ALLOWED: { status: 405, blame: "client", hint: "use one of the methods in the Allow header" },
  E_NOT_FOUND: { status: 404, blame: "client", hint: "no route or file has this path" },
  E_RANGE_NOT_SATISFIABLE: { status: 416, blame: "client", hint: "ask for a range inside the representation" },
  E_PRECONDITION_FAILED: { status: 412, blame: "client", hint: "the representation changed; fetch it again" },
  E_EXPECTATION_FAILED: { status: 417, blame: "client", hint: "only Expect: 100-continue is supported" },
  E_RATE_LIMITED: { status: 429, blame: "client", hint: "wait as long as Retry-After says" },
  E_UNAUTHENTICATED: { status: 401, blame: "client", hint: "send valid credentials" },
  E_AUTH_KEYS_UNAVAILABLE: {
    status: 503,
    blame: "operator",
    hint: "make the key set of middleware.auth readable again; what was known of it is missing or too old",
  },
  E_FORBIDDEN: { status: 403, blame: "client", hint: "this user may not use this route" },
  E_TENANT_UNKNOWN: { status: 404, blame: "client", hint: "no tenant matches this host, path or header" },
  E_CORS_ORIGIN: { status: 403, blame: "client", hint: "this origin is not in middleware.cors.origins" },
  E_WEBSOCKET_ORIGIN: {
    status: 403,
    blame: "client",
    hint: "open the websocket from a page of this site, or list the page's origin in middleware.cors.origins",
  },
  E_WEBSOCKET_VERSION: { status: 426, blame: "client", hint: "speak version 13 of the websocket protocol (RFC 6455)" },
  E_WEBSOCKET_LIMIT: {
    status: 503,
    blame: "client",
    hint: "close a websocket first, or raise websockets or websockets_per_client in [server.limits]",
  },
  E_OVERLOADED: { status: 503, blame: "host", hint: "the server is at its limit or shutting down; try again" },
  E_INTERNAL: { status: 500, blame: "host", hint: "see the log entry with this request id" },
  // upstream
  E_UPSTREAM_UNREACHABLE: { status: 502, blame: "operator", hint: "start the upstream, or fix app.upstream" },
  E_UPSTREAM_INVALID: { status: 502, blame: "operator", hint: "the upstream sent a response that is not valid HTTP" },
  E_UPSTREAM_TIMEOUT: {
    status: 504,
    blame: "operator",
    hint: "make the upstream faster, or raise app.upstream_timeout",
  },
  E_SESSION_INVALID: {
    status: 502,
    blame: "operator",
    hint: 'let the app send x-bext-session once: {"id", "claims"} as JSON, percent-encoded, short enough for a cookie, or end',
  },
  // configuration
  E_CONFIG_INVALID: { status: 500, blame: "operator", hint: "fix the field named in the message" },
  E_CONFIG_NOT_FOUND: {
    status: 500,
    blame: "operator",
    hint: "go to the folder of the site, name its file with --config, or run bext init for a new one",
  },
  E_CONFIG_SECRET_MISSING: {
    status: 500,
    blame: "operator",
    hint: "set the environment variable named in the message",
  },
  E_CONFIG_EDIT: { status: 500, blame: "operator", hint: "make the change by hand; the file was left as it is" },
  E_PORT_IN_USE: { status: 500, blame: "operator", hint: "stop the other server, or change server.listen or PORT" },
  E_FILE_UNREADABLE: { status: 500, blame: "operator", hint: "check the path and its permissions" },
  E_USAGE: { status: 500, blame: "operator", hint: "see bext --help" },
  E_RELOAD_NEEDS_RESTART: {
    status: 500,
    blame: "operator",
    hint: "restart the server: a reload of a single process cannot change the fields named in the message",
  },
  E_PROCESS_FAILED: {
    status: 500,
    blame: "host",
    hint: "see the log for why the process ended or stands still, then try again",
  },
  // plugins at load
  E_PLUGIN_MANIFEST_INVALID: { status: 500, blame: "operator", hint: "fix the manifest field named in the message" },
  E_PLUGIN_NOT_FOUND: {
    status: 500,
    blame: "operator",
    hint: "check plugins.NAME.path; install the plugin, or build it",
  },
  E_PLUGIN_LOAD_FAILED: { status: 500, blame: "guest", hint: "fix the plugin's source where the message says" },
  E_PLUGIN_HOOK_MISMATCH: {
    status: 500,
    blame: "guest",
    hint: "make manifest.capabilities and the exported hooks agree",
  },
  E_ISOLATION: {
    status: 500,
    blame: "operator",
    hint: "install what is missing, or lower min_isolation; see bext doctor",
  },
  E_PLUGIN_TIER_UNAVAILABLE: { status: 500, blame: "operator", hint: "use a sandbox this build has; see bext doctor" },
  E_WASM_INVALID: {
    status: 500,
    blame: "guest",
    hint: "build the module again for wasm32; this file is damaged or not one",
  },
  E_WASM_UNSUPPORTED: {
    status: 500,
    blame: "guest",
    hint: "compile the module without the WebAssembly feature named in the message",
  },
  E_WASM_LIMIT: {
    status: 500,
    blame: "guest",
    hint: "make the module smaller where the message says (a release build often is), or raise max_memory_mb for its memory",
  },
  E_GRANT_MISSING: {
    status: 500,
    blame: "operator",
    hint: "run bext plugin grant NAME, or paste the block in the message into bext.config.toml",
  },
  // plugins at run time: limits
  E_LIMIT_CPU: { status: 504, blame: "guest", hint: "do less work per call, or raise limits.max_cpu_ms" },
  E_LIMIT_TIME: { status: 504, blame: "guest", hint: "raise limits.max_time_ms or split the work" },
  E_LIMIT_MEMORY: { status: 502, blame: "guest", hint: "use less memory, or raise limits.max_memory_mb" },
  E_LIMIT_STACK: { status: 502, blame: "guest", hint: "recurse less deeply" },
  E_LIMIT_FUEL: {
    status: 504,
    blame: "guest",
    hint: "do less work per call, or raise the hook's fuel in plugins.NAME.fuel",
  },
  E_LIMIT_STORAGE: { status: 502, blame: "guest", hint: "delete keys, or raise limits.storage_quota_kb" },
  E_LIMIT_FETCH: { status: 502, blame: "guest", hint: "fetch less often, or raise permissions.max_fetch_per_minute" },
  E_LIMIT_QUEUE: {
    status: 503,
    blame: "operator",
    hint: "let the consumer catch up, push less at once, or raise queues.NAME.max_messages",
  },
  E_LIMIT_MESSAGE: { status: 502, blame: "guest", hint: "send smaller values across the sandbox boundary" },
  // plugins at run time: behaviour
  E_GUEST_THREW: { status: 502, blame: "guest", hint: "see cause: text the guest sent" },
  E_GUEST_RESULT_INVALID: { status: 502, blame: "guest", hint: "return one of the documented results" },
  E_GUEST_TRAPPED: {
    status: 502,
    blame: "guest",
    hint: "the module did what WebAssembly forbids, or passed an address outside its memory; its memory was restored",
  },
  E_GUEST_EXITED: { status: 502, blame: "guest", hint: "the instance is gone; it is rebuilt on the next call" },
  E_GUEST_CRASHED: {
    status: 502,
    blame: "guest",
    hint: "see the plugin's standard error in the log; it is started anew",
  },
  E_GUEST_PROTOCOL: { status: 502, blame: "guest", hint: "write one JSON object a line, see docs/nsjail-protocol.md" },
  E_INSTANCE_RESET: { status: 502, blame: "guest", hint: "another call broke the shared instance; see the log" },
  E_LANE_FULL: {
    status: 503,
    blame: "guest",
    hint: "make the plugin use less CPU time, or raise its cpu_share; too many of its calls wait for its worker thread",
  },
  E_PLUGIN_QUARANTINED: { status: 503, blame: "guest", hint: "the plugin failed too often; see the log" },
  E_HEADER_FORBIDDEN: { status: 502, blame: "guest", hint: "this header is not the plugin's to set" },
  E_HEADER_INVALID: { status: 502, blame: "guest", hint: "header names are tokens, values have no CR, LF or NUL" },
  E_STATUS_INVALID: { status: 502, blame: "guest", hint: "a final status is an integer from 200 to 599" },
  E_BODY_NOT_DECLARED: { status: 502, blame: "guest", hint: 'add body = "request" | "response" | "both" to [sandbox]' },
  E_RESPONSE_BODY: {
    status: 502,
    blame: "operator",
    hint: 'raise limits.max_body, or set on_large_body = "skip" in the plugin\'s [sandbox]',
  },
  E_PERMISSION: { status: 502, blame: "guest", hint: "request the permission in plugin.toml and grant it" },
  E_PATH_REWRITE: { status: 502, blame: "guest", hint: "set an absolute, normalised path" },
  E_QUERY_REWRITE: {
    status: 502,
    blame: "guest",
    hint: "set a percent-encoded query: visible ASCII without #, at most 8192 characters, without the question mark",
  },
  E_METHOD_REWRITE: {
    status: 502,
    blame: "guest",
    hint: "set a method of HTTP in upper case, not CONNECT or TRACE, and HEAD only where the client sent HEAD",
  },
  E_STORAGE_KEY: {
    status: 502,
    blame: "guest",
    hint: "keys are 1 to 512 bytes without NUL, slash, backslash or dot-dot",
  },
  E_QUEUE_MESSAGE: {
    status: 502,
    blame: "guest",
    hint: "push a JSON value of at most 256 KiB and 100 levels, a key of 1 to 512 bytes, a delay of at most 30 days",
  },
  E_FETCH_FORBIDDEN: { status: 502, blame: "guest", hint: "add the URL to permissions.allowed_urls and grant it" },
  E_FETCH_FAILED: { status: 502, blame: "guest", hint: "see cause" },
  // admin listener
  E_ADMIN_TOKEN: {
    status: 401,
    blame: "client",
    hint: "set BEXT_ADMIN_TOKEN to the token of admin.token, or send it as Authorization: Bearer",
  },
  E_ADMIN_FORBIDDEN: {
    status: 403,
    blame: "client",
    hint: "call the admin API from bext or curl, at its own address, with JSON; browsers are refused",
  },
  E_ADMIN_REQUEST: { status: 400, blame: "client", hint: "docs/operations.md has what the admin API takes" },
  E_ADMIN_IN_USE: {
    status: 500,
    blame: "operator",
    hint: "stop the other server, or give this one another admin.listen",
  },
  E_ADMIN_SOCKET: { status: 500, blame: "operator", hint: "name another socket in admin.listen, or set it to off" },
  E_ADMIN_UNREACHABLE: {
    status: 502,
    blame: "operator",
    hint: "start the server with bext serve, go to the folder of the one that runs, or name its configuration with --config",
  },
  // state
  E_STATE_UNAVAILABLE: {
    status: 500,
    blame: "operator",
    hint: "check that state.dir exists, is writable and has free space; the log says what failed",
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

/** A failure with a code. `message` is for logs and operators, never for HTTP clients. */
export class BextError extends Error {
  override readonly name: string = "BextError"
  readonly code: ErrorCode
  /** Extra response headers the status calls for, e.g. Retry-After. */
  readonly headers: readonly (readonly [string, string])[]

  constructor(
    code: ErrorCode,
    what: string,
    options: ErrorOptions & { headers?: readonly (readonly [string, string])[] } = {},
  ) {
    super(`${what} [${code}]`, options)
    this.code = code
    this.headers = options.headers ?? []
  }

  get status(): number {
    return ERRORS[this.code].status
  }
}

/** A failure of one plugin: "resize: hook transform ran past 250 ms [E_LIMIT_TIME]". */
export class PluginError extends BextError {
  override readonly name = "PluginError"
  readonly plugin: string

  constructor(code: ErrorCode, plugin: string, what: string, options: ErrorOptions = {}) {
    super(code, `${plugin}: ${what}`, options)
    this.plugin = plugin
  }
}

/** A failure on its way to another thread: plain data. */
export interface PlainError {
  /** Null: not one that bext raised. */
  readonly code: ErrorCode | null
  /** Without plugin and code. */
  readonly what: string
  readonly name: string
  readonly stack: string
  readonly cause: PlainError | null
}

/** Causes of causes that are kept. */
const MAX_CAUSES = 4

export function toPlainError(error: unknown, depth = 0): PlainError {
  if (!(error instanceof Error)) return { code: null, what: String(error), name: "Error", stack: "", cause: null }
  const code = error instanceof BextError ? error.code : null
  const prefix = error instanceof PluginError ? `${error.plugin}: ` : ""
  const what = code === null ? error.message : error.message.slice(prefix.length, -` [${code}]`.length)
  const cause = error.cause === undefined || depth === MAX_CAUSES ? null : toPlainError(error.cause, depth + 1)
  return { code, what, name: error.name, stack: error.stack ?? "", cause }
}

/** The plugin's failure; one without a code is `E_INTERNAL`. */
export function fromPlainError({ code, what, cause }: PlainError, plugin: string): PluginError {
  const options = cause === null ? {} : { cause: toCause(cause, plugin) }
  return new PluginError(code ?? "E_INTERNAL", plugin, what, options)
}

function toCause(plain: PlainError, plugin: string): Error {
  if (plain.code !== null) return fromPlainError(plain, plugin)
  const error = new Error(plain.what, plain.cause === null ? {} : { cause: toCause(plain.cause, plugin) })
  error.name = plain.name
  error.stack = plain.stack
  return error
}
