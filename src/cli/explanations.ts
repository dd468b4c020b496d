import type { ErrorCode } from "../errors.ts"

export interface Explanation {
  /** What happened, in one or two sentences. */
  readonly happened: string
  /** What to do, most promising first. */
  readonly steps: readonly string[]
  readonly related: readonly ErrorCode[]
}

/** What `bext explain` and docs/errors.md say about each code, beyond the one-line hint of the error table. */
export const EXPLANATIONS: Readonly<Partial<Record<ErrorCode, Explanation>>> = {
  // requests
  E_REQUEST_INVALID: {
    happened: "The bytes on the connection are not an HTTP/1.1 request, or could be read in two ways.",
    steps: [
      "Look at what the client sends: `curl -v` shows a request that works.",
      "A request with both Content-Length and Transfer-Encoding, or with two Hosts, is refused on purpose: that is how requests are smuggled past proxies.",
      "A client that speaks TLS or HTTP/2 to a plain HTTP/1.1 port shows up here as well.",
    ],
    related: ["E_PATH_INVALID", "E_HEADERS_TOO_LARGE"],
  },
  E_PATH_INVALID: {
    happened:
      "The path has an encoded slash (%2F), a backslash, a NUL or a broken percent-encoding. Programs disagree about what such a path means, so nothing behind bext ever sees one.",
    steps: ["Send the value as a query parameter instead of a path segment.", "Encode a literal percent sign as %25."],
    related: ["E_REQUEST_INVALID", "E_NOT_FOUND"],
  },
  E_HEADERS_TOO_LARGE: {
    happened:
      "The request line and headers together are over `server.limits.header_bytes`, or there are more fields than `server.limits.header_count`.",
    steps: ["Cookies are the usual reason: delete those nobody needs.", "Raise the limit in [server.limits]."],
    related: ["E_BODY_TOO_LARGE"],
  },
  E_BODY_TOO_LARGE: {
    happened: "The request body is over `server.limits.body`, or over the `max_body` of a plugin that reads it.",
    steps: [
      "Raise `server.limits.body`, or `max_body` in [plugins.NAME.limits].",
      'A plugin that can do without large bodies says `on_large_body = "skip"` in its plugin.toml.',
      "A compressed body counts by its size after decompression.",
    ],
    related: ["E_BODY_ENCODING", "E_OVERLOADED"],
  },
  E_BODY_ENCODING: {
    happened:
      "A plugin reads the body, and its Content-Encoding is one that bext cannot remove, or the compressed data is broken.",
    steps: ["Send the body with gzip, deflate, br or uncompressed."],
    related: ["E_BODY_TOO_LARGE", "E_BODY_NOT_DECLARED"],
  },
  E_REQUEST_TIMEOUT: {
    happened:
      "The request did not arrive completely within `server.limits.header_timeout` or `server.limits.request_timeout`.",
    steps: [
      "Check the client's connection.",
      "Raise `server.limits.request_timeout` for large uploads over slow links.",
    ],
    related: ["E_UPSTREAM_TIMEOUT", "E_LIMIT_TIME"],
  },
  E_CLIENT_LEFT: {
    happened:
      "The client closed its connection before its request had arrived or was answered. Whoever worked on it, a plugin or the upstream, was stopped and is not to blame.",
    steps: [
      "Nothing, when a visitor went to another page. Log lines of such requests have status 499 and `aborted`.",
      "When there are many, look at `duration_ms` of those lines: clients, and proxies in front, may wait for a shorter time than the answer takes.",
    ],
    related: ["E_REQUEST_TIMEOUT", "E_UPSTREAM_TIMEOUT", "E_LIMIT_TIME"],
  },
  E_METHOD_NOT_ALLOWED: {
    happened: "What answers this path does not take this method; files, for one, only GET and HEAD.",
    steps: [
      "Use a method that the response's Allow header names.",
      "Send the path to an upstream with a [[routes]] entry.",
    ],
    related: ["E_NOT_FOUND"],
  },
  E_NOT_FOUND: {
    happened: "No route and no file has this path. Files and folders that start with a dot are never served.",
    steps: [
      "Paths are case-sensitive, and normalised before they are matched.",
      "`bext check` shows whether the routes are what you think they are.",
    ],
    related: ["E_TENANT_UNKNOWN", "E_METHOD_NOT_ALLOWED"],
  },
  E_RANGE_NOT_SATISFIABLE: {
    happened: "The Range header asks for bytes beyond the end.",
    steps: ["Ask without Range and look at Content-Length; the file may have become shorter."],
    related: ["E_PRECONDITION_FAILED"],
  },
  E_PRECONDITION_FAILED: {
    happened: "If-Match or If-Unmodified-Since names a version that is not the current one.",
    steps: ["Fetch the resource again and repeat the change."],
    related: ["E_RANGE_NOT_SATISFIABLE"],
  },
  E_EXPECTATION_FAILED: {
    happened: "The Expect header asks for something other than 100-continue.",
    steps: ["Remove the header."],
    related: ["E_REQUEST_INVALID"],
  },
  E_RATE_LIMITED: {
    happened: "The client used up the requests of its window in [middleware.rate_limit].",
    steps: [
      "Wait as long as Retry-After says.",
      "Operator: behind a proxy all clients share one address unless `server.trusted_proxies` names the proxy.",
      'Operator: raise `requests`, or count by a key with `by = "header:NAME"`.',
    ],
    related: ["E_OVERLOADED", "E_LIMIT_FETCH"],
  },
  E_UNAUTHENTICATED: {
    happened: "The path needs a user, and the request has no token, an expired one, or one that does not verify.",
    steps: [
      "Send `Authorization: Bearer TOKEN`, or the cookie named in [middleware.auth].",
      "The log entry of the request says which check failed: signature, algorithm, exp, nbf, iss or aud.",
      "Operator: paths that need no user go into `middleware.auth.public`.",
    ],
    related: ["E_FORBIDDEN", "E_AUTH_KEYS_UNAVAILABLE"],
  },
  E_AUTH_KEYS_UNAVAILABLE: {
    happened: "The keys that tokens are checked with cannot be fetched or read, so that no token can be accepted.",
    steps: [
      "Fetch `middleware.auth.jwks_url` from this machine with curl.",
      "Keys in a file (`jwks_file` or `key_file`) do not depend on the network.",
    ],
    related: ["E_UNAUTHENTICATED"],
  },
  E_FORBIDDEN: {
    happened:
      "The user is known and lacks a claim that a rule in [[middleware.auth.rules]] asks for, or a plugin refused the request.",
    steps: ["Compare the token's claims with the rules that match the path."],
    related: ["E_UNAUTHENTICATED", "E_CORS_ORIGIN"],
  },
  E_TENANT_UNKNOWN: {
    happened: "No tenant matches this request, and [middleware.tenant] rejects unknown ones.",
    steps: [
      "Add the host name to `hosts` of a [[tenants]] entry.",
      'Set `unknown = "pass"` if requests without a tenant are fine.',
      "Behind a proxy, name it in `server.trusted_proxies` so that its Forwarded header is believed.",
    ],
    related: ["E_NOT_FOUND"],
  },
  E_CORS_ORIGIN: {
    happened:
      "A page of another origin asked for something its browser may not have: the origin is not in `middleware.cors.origins`.",
    steps: [
      "Add the origin exactly as the browser sends it: scheme, host and port, no slash at the end.",
      "On a path of `middleware.session.login_paths` the origin also needs `credentials = true`: otherwise any page could log a visitor in.",
    ],
    related: ["E_FORBIDDEN"],
  },
  E_WEBSOCKET_ORIGIN: {
    happened:
      "A page of another origin asked for a websocket. Browsers send the site's cookies along with such a request and show the page what comes back, so bext lets only its own origin do that.",
    steps: [
      "List the page's origin in `middleware.cors.origins`. `*` does not count here, because a websocket carries cookies.",
      "If the page is of the same site: a proxy in front that ends TLS must be in `server.trusted_proxies` and send X-Forwarded-Proto, else bext takes the site for http.",
    ],
    related: ["E_CORS_ORIGIN", "E_WEBSOCKET_VERSION"],
  },
  E_WEBSOCKET_VERSION: {
    happened:
      "A client asked for a websocket in another version of the protocol than 13, the only one there is in practice.",
    steps: ["Use a current websocket library.", "Send Sec-WebSocket-Version: 13, once."],
    related: ["E_REQUEST_INVALID"],
  },
  E_WEBSOCKET_LIMIT: {
    happened:
      "As many websockets are open as `server.limits.websockets` allows in one process, or this client has `server.limits.websockets_per_client`.",
    steps: [
      "Look in the access log for who opens them: each has a line when it ends.",
      "Raise the limit. Each websocket takes two file descriptors: see `ulimit -n`.",
      "Clients behind one address count as one. If that address is your own proxy, list it in `server.trusted_proxies`.",
    ],
    related: ["E_RATE_LIMITED", "E_OVERLOADED"],
  },
  E_OVERLOADED: {
    happened: "The server is at one of its own limits (connections, buffered bodies), or it is shutting down.",
    steps: ["Try again later.", "Operator: see `server.limits.connections` and `server.limits.buffered_bodies`."],
    related: ["E_RATE_LIMITED", "E_PLUGIN_QUARANTINED"],
  },
  E_INTERNAL: {
    happened: "Something failed inside bext that has no code of its own. This is a defect of bext.",
    steps: ["Find the log entry with the request id of the error page; it has the stack.", "Report it."],
    related: [],
  },
  // upstream
  E_UPSTREAM_UNREACHABLE: {
    happened: "The server behind bext does not accept connections, or closed one before it answered.",
    steps: [
      "Start it.",
      "Compare its address with `app.upstream` and the `upstream` of [[routes]].",
      "Fetch that URL from this machine with curl.",
    ],
    related: ["E_UPSTREAM_TIMEOUT", "E_UPSTREAM_INVALID"],
  },
  E_UPSTREAM_INVALID: {
    happened: "What the upstream sent is not a valid HTTP response.",
    steps: [
      "Check that the URL's scheme is right: http:// for plain, https:// for TLS.",
      "Look at the response with `curl -v`.",
    ],
    related: ["E_UPSTREAM_UNREACHABLE"],
  },
  E_UPSTREAM_TIMEOUT: {
    happened:
      "The upstream sent nothing for as long as `upstream_timeout`, which bounds the time to the first byte and between two chunks.",
    steps: ["Find out why it is slow.", "Raise `upstream_timeout` in [app] or in the route."],
    related: ["E_UPSTREAM_UNREACHABLE", "E_REQUEST_TIMEOUT"],
  },
  E_SESSION_INVALID: {
    happened:
      "The app answered with the header x-bext-session, and bext cannot begin or end a session from what it says. The user was not logged in.",
    steps: [
      'Send it once: `x-bext-session: {"id": "ada", "claims": {"role": "admin"}}`, or `x-bext-session: end`.',
      "Percent-encode it, in JavaScript with `encodeURIComponent(JSON.stringify(session))`: headers carry ASCII alone.",
      "Keep the claims short: the sealed session has to fit into a cookie of 4096 bytes. The log says by how much it is too long.",
    ],
    related: ["E_UPSTREAM_INVALID", "E_UNAUTHENTICATED"],
  },
  // configuration
  E_CONFIG_INVALID: {
    happened:
      "bext.config.toml has mistakes. All of them are reported at once, each with file, line, column and field.",
    steps: [
      "Fix the fields in the message.",
      "`bext check` repeats the check without starting anything.",
      "docs/configuration.md describes every field; schemas/ has a JSON Schema for editors.",
    ],
    related: ["E_CONFIG_SECRET_MISSING", "E_PLUGIN_MANIFEST_INVALID"],
  },
  E_CONFIG_NOT_FOUND: {
    happened: "There is no configuration where bext looked for one.",
    steps: [
      "`bext init` writes one for this folder.",
      "`bext serve --config FILE` names another.",
      "`bext serve --static DIR` and `bext serve --upstream URL` need none.",
    ],
    related: ["E_CONFIG_INVALID", "E_FILE_UNREADABLE"],
  },
  E_CONFIG_SECRET_MISSING: {
    happened: 'A field says "env:NAME" and the environment of bext has no variable of that name, or an empty one.',
    steps: [
      "Set the variable where bext is started: `NAME=… bext serve`, or the unit file of the service.",
      "A plugin that is not needed now: `enabled = false`.",
    ],
    related: ["E_CONFIG_INVALID"],
  },
  E_CONFIG_EDIT: {
    happened:
      "A command that adds lines to the configuration found no place where TOML allows them, or the file changed meanwhile. It was left as it is.",
    steps: [
      "Write the lines in the message into the file.",
      "`plugins = { … }` in braces takes no [plugins.NAME] below it: write tables with headers instead.",
    ],
    related: ["E_CONFIG_INVALID"],
  },
  E_PORT_IN_USE: {
    happened: "Another program listens on the address that bext was told to use.",
    steps: [
      "Find it: `ss -ltnp` on Linux, `lsof -iTCP -sTCP:LISTEN` elsewhere.",
      "Use another port: PORT=8080, or `server.listen`.",
    ],
    related: ["E_CONFIG_INVALID"],
  },
  E_FILE_UNREADABLE: {
    happened: "A file exists and cannot be used: no permission, a folder where a file should be, or not UTF-8.",
    steps: ["Check the path in the message with `ls -ld`, as the user that runs bext."],
    related: ["E_CONFIG_NOT_FOUND"],
  },
  E_USAGE: {
    happened: "The command line has a word or option that bext does not know, or lacks one.",
    steps: ["`bext --help` lists the commands, `bext COMMAND --help` the options of one."],
    related: ["E_CONFIG_NOT_FOUND"],
  },
  E_RELOAD_NEEDS_RESTART: {
    happened:
      "The configuration was read again, and fields changed that belong to the process or its sockets: those of [server], [log], [state] and [admin], and the ceilings of the process in [sandbox].",
    steps: [
      "The server goes on with its old configuration.",
      "Restart it, or undo the change of the fields in the message and reload.",
    ],
    related: ["E_CONFIG_INVALID"],
  },
  E_PROCESS_FAILED: {
    happened:
      "One of several serving processes ended, or did not answer, while something needed it: the start of the server, a reload, or a command. The others serve on, and one that ended is started again.",
    steps: [
      "Look in the log for the process with the number in the message: its exit code or signal is there, and what it said before.",
      "SIGKILL without anybody having sent it usually means that memory ran out: see the kernel's log, and lower `server.processes`.",
      "One that stands still can be ended with `kill -9`; it is started again at once.",
    ],
    related: ["E_INTERNAL"],
  },
  // plugins at load
  E_PLUGIN_MANIFEST_INVALID: {
    happened: "A plugin.toml has mistakes. All of them are reported at once, each with file, line, column and field.",
    steps: ["Fix the fields in the message.", "docs/configuration.md describes every field of plugin.toml."],
    related: ["E_CONFIG_INVALID", "E_PLUGIN_HOOK_MISMATCH"],
  },
  E_PLUGIN_NOT_FOUND: {
    happened: "A plugin of bext.config.toml, or a file that its plugin.toml names, is not where it should be.",
    steps: [
      "Without `path`, bext looks in ./plugins/NAME next to the configuration and then among its own plugins.",
      "The manifest is called plugin.toml.",
      "A plugin in a compiled language has to be built: the command is in its README.md, and in docs/wasm-plugins.md.",
    ],
    related: ["E_PLUGIN_MANIFEST_INVALID", "E_PLUGIN_LOAD_FAILED"],
  },
  E_PLUGIN_LOAD_FAILED: {
    happened:
      "The plugin's code cannot be loaded: a syntax error, an import that does not exist, or its top level threw. Of a WebAssembly module: it imports or exports what its ABI does not have, or with another type.",
    steps: [
      "Go to the file, line and column in the message; of a module, to the import or export it names. docs/wasm-abi.md has the right types.",
      "TypeScript is stripped, not compiled: `enum`, `namespace` and parameter properties do not work; use unions and plain objects.",
      "Plugins import files of their own folder only.",
    ],
    related: ["E_PLUGIN_HOOK_MISMATCH", "E_WASM_INVALID", "E_LIMIT_CPU"],
  },
  E_PLUGIN_HOOK_MISMATCH: {
    happened:
      "What the plugin exports and what its manifest declares do not agree: a hook without its capability, or a capability without any of its hooks.",
    steps: [
      "Middleware exports onRequest or onResponse, lifecycle one of onServerStart, onServerStop, onRequestComplete …; WebAssembly modules on_request and so on.",
      "Export each hook in one spelling: onRequest or on_request, not both.",
    ],
    related: ["E_PLUGIN_MANIFEST_INVALID"],
  },
  E_ISOLATION: {
    happened: "This machine cannot isolate the plugin's program as well as is demanded.",
    steps: [
      "`bext doctor` says which level this machine offers, and what is missing for a better one.",
      "On Linux, install bubblewrap (package bubblewrap). For `full`, bext needs control groups it may write to: as root, or with Delegate=yes in its systemd unit. docs/nsjail-isolation.md has what containers need.",
      "min_isolation in [sandbox.nsjail], or in the plugin's table, says the least that is accepted: full, namespaces or process. Without it, folders of the project need nothing and all other plugins namespaces. A program on level process can read what its user can: lower it only for code that you trust.",
      "Root runs no program without bubblewrap, whatever min_isolation says: install it, or start bext as another user.",
    ],
    related: ["E_PLUGIN_LOAD_FAILED"],
  },
  E_PLUGIN_TIER_UNAVAILABLE: {
    happened: "The plugin asks for a sandbox that is not there, because the program that embeds bext left it out.",
    steps: ["`bext doctor` shows which sandboxes there are.", "`bext serve` has all of them."],
    related: ["E_PLUGIN_LOAD_FAILED"],
  },
  E_WASM_INVALID: {
    happened:
      "The plugin's entry is not a WebAssembly module, or it is damaged. The message says what the file looks like, or at which byte (from 0) it goes wrong.",
    steps: [
      "Compile for wasm32: wasm32-unknown-unknown or wasm32-wasip1 (Rust), GOOS=wasip1 GOARCH=wasm (Go), --target=wasm32 (C).",
      "If it was downloaded or copied: compare its size and checksum with the original; a download may have saved an error page.",
      "`wasm-objdump -h plugin.wasm` (wabt) shows its sections and offsets.",
    ],
    related: ["E_WASM_UNSUPPORTED", "E_WASM_LIMIT", "E_PLUGIN_LOAD_FAILED"],
  },
  E_WASM_UNSUPPORTED: {
    happened:
      "The module is in order, and uses a WebAssembly feature that bext does not run: one whose work it could not count and stop, or a component instead of a core module.",
    steps: [
      'Compile without the feature that the message names: threads by not linking with --shared-memory, exceptions with -fno-exceptions (C++) or panic = "abort" (Rust), memory64 by wasm32 instead of wasm64.',
      "A component is made for wasm32-wasip2; build for wasm32-wasip1 or wasm32-unknown-unknown instead.",
    ],
    related: ["E_WASM_INVALID"],
  },
  E_WASM_LIMIT: {
    happened:
      "The module is larger or more involved than bext takes: its size, a function, the memory it starts with, or the time it takes to compile. The limits keep a module from holding up the server before it runs.",
    steps: [
      'Build a release: optimise for size (-Os, opt-level = "s"), strip debug information, run wasm-opt -Os.',
      "Initial memory pages: let the module start with less (--initial-memory, the stack size), or raise `max_memory_mb` in [plugins.NAME.limits]; a page has 64 KiB.",
      "One function over a limit: split it, or keep the compiler from inlining everything into it.",
    ],
    related: ["E_WASM_INVALID", "E_LIMIT_MEMORY"],
  },
  E_GRANT_MISSING: {
    happened:
      "The plugin's manifest asks for permissions that the operator has not granted. Plugins start with nothing.",
    steps: [
      "Read what it asks for; the message lists it.",
      "`bext plugin grant NAME` asks you and writes the grant; `bext dev` gives plugins of the project what they ask for.",
      "Or paste the [plugins.NAME.grant] block of the message into bext.config.toml, or the part you agree with.",
    ],
    related: ["E_PERMISSION", "E_FETCH_FORBIDDEN"],
  },
  // limits
  E_LIMIT_CPU: {
    happened:
      "A call of the plugin computed for longer than `max_cpu_ms`. Waiting does not count. The call was stopped; the next one works.",
    steps: [
      "Do less work per call; do it once in onServerStart.",
      "Raise `max_cpu_ms` in [plugins.NAME.limits]; [sandbox.ceilings] may cap it.",
    ],
    related: ["E_LIMIT_TIME", "E_LIMIT_FUEL"],
  },
  E_LIMIT_TIME: {
    happened: "A call of the plugin, its waits included, took longer than `max_time_ms` or `max_time_secs`.",
    steps: [
      "Look for a fetch that never answers, or a promise that nobody resolves.",
      "Work that may outlive the answer goes into ctx.waitUntil().",
      "Raise the limit in [plugins.NAME.limits].",
    ],
    related: ["E_LIMIT_CPU", "E_FETCH_FAILED"],
  },
  E_LIMIT_MEMORY: {
    happened: "The plugin's memory reached `max_memory_mb`.",
    steps: [
      "Look for a list or Map at module level that only grows: it lives as long as the instance.",
      "Raise `max_memory_mb` in [plugins.NAME.limits].",
    ],
    related: ["E_INSTANCE_RESET", "E_LIMIT_MESSAGE"],
  },
  E_LIMIT_STACK: {
    happened: "The plugin called itself too deeply.",
    steps: [
      "Look for recursion without an end, also in getters and toJSON.",
      "Turn recursion over large data into a loop.",
    ],
    related: ["E_LIMIT_MEMORY"],
  },
  E_LIMIT_FUEL: {
    happened:
      "A call of a WebAssembly plugin used up the fuel of its hook. Fuel counts what a module does, about one unit for each instruction, and is the same on every machine; the message says where the module was.",
    steps: [
      "Look for a loop without an end in the function that the message names (keep the names in the module to see it).",
      "`bext_plugin_fuel_total` divided by `bext_plugin_calls_total` is what a call of the hook uses on average.",
      "Give the hook more in [plugins.NAME.fuel], e.g. on_request = 50_000_000; [sandbox.ceilings] max_fuel may cap it.",
    ],
    related: ["E_LIMIT_CPU", "E_LIMIT_TIME"],
  },
  E_LIMIT_STORAGE: {
    happened: "The plugin's storage is over `storage_quota_kb`. The value was not stored; what was there stays.",
    steps: ["Delete keys, or store them with a time to live.", "Raise `storage_quota_kb` in [plugins.NAME.limits]."],
    related: ["E_STORAGE_KEY", "E_STATE_UNAVAILABLE"],
  },
  E_LIMIT_FETCH: {
    happened: "The plugin fetched more often than `max_fetch_per_minute` lets it, or an answer was too large.",
    steps: [
      "Keep answers in bext.storage with a time to live.",
      "Raise `max_fetch_per_minute` in plugin.toml and in the grant.",
    ],
    related: ["E_FETCH_FAILED"],
  },
  E_LIMIT_QUEUE: {
    happened:
      "The queue holds as many messages as it may (`queues.NAME.max_messages`), or one plugin has 1000 pushes or 8 MiB of them under way at once. The push did not happen; what was in the queue before is still there.",
    steps: [
      "`bext queue list` shows how many messages wait and how old the oldest is; `bext queue show NAME --dead` why they fail.",
      "No plugin with onQueueMessage may be loaded for this queue, or it is in quarantine: `bext status`.",
      "Await each push before the next, or some at a time.",
      "Raise `max_messages` in [queues.NAME].",
    ],
    related: ["E_QUEUE_MESSAGE", "E_PERMISSION"],
  },
  E_LIMIT_MESSAGE: {
    happened: "One value that crossed the sandbox boundary (a header, a body, a stored value, an answer) is too large.",
    steps: ["Send it in parts, or send less."],
    related: ["E_LIMIT_MEMORY", "E_BODY_TOO_LARGE"],
  },
  // behaviour of plugins
  E_GUEST_THREW: {
    happened: "The plugin threw an error. Its text is in the log, never in the response.",
    steps: [
      "Find the log entry: it has the stack with file, line and column of the plugin's source.",
      '`on_error = "open"` goes on without a plugin that failed, if the site can do without it.',
    ],
    related: ["E_GUEST_RESULT_INVALID", "E_PLUGIN_QUARANTINED"],
  },
  E_GUEST_TRAPPED: {
    happened:
      "A WebAssembly module trapped (unreachable, access outside its memory, division by zero…), or passed the host an address outside its memory.",
    steps: [
      "The message names the function when the module has names: build it with them (not stripped).",
      "Languages end a panic, a failed assertion or an abort with a trap: the line the plugin logged before says why.",
    ],
    related: ["E_GUEST_THREW", "E_LIMIT_MEMORY"],
  },
  E_GUEST_CRASHED: {
    happened: "The plugin's process ended while it worked on a call. It is started anew.",
    steps: [
      "The message says how it ended: an exit status, or the signal that ended it.",
      "What it wrote to standard error before is in the log, under its name.",
    ],
    related: ["E_LIMIT_MEMORY", "E_GUEST_PROTOCOL", "E_PLUGIN_QUARANTINED"],
  },
  E_GUEST_PROTOCOL: {
    happened:
      "The plugin's process wrote something to standard output that is no message of the protocol, or made a call of the host that there is not.",
    steps: [
      "Standard output belongs to the protocol: write what people should read to standard error.",
      "Write one JSON object a line, end the line, and flush. The message shows how the line began.",
      "docs/nsjail-protocol.md has every message.",
    ],
    related: ["E_GUEST_RESULT_INVALID", "E_GUEST_CRASHED"],
  },
  E_GUEST_RESULT_INVALID: {
    happened: "A hook returned something that is none of its documented results.",
    steps: [
      'Return nothing, { action: "continue" }, { action: "respond", status, headers, body } or a Response.',
      "Is an await missing? A promise inside the object is not a value.",
    ],
    related: ["E_STATUS_INVALID", "E_HEADER_INVALID"],
  },
  E_GUEST_EXITED: {
    happened: "The plugin's instance ended during the call. It is built anew for the next one.",
    steps: ["Look at the log for what the plugin wrote last."],
    related: ["E_INSTANCE_RESET", "E_PLUGIN_QUARANTINED"],
  },
  E_INSTANCE_RESET: {
    happened:
      "Another call broke the instance this call was running in (a limit, a trap), so that its memory was restored and this call lost.",
    steps: [
      "Find the call that failed first; its code is in the log.",
      'instance = "fresh" in plugin.toml keeps requests apart from each other.',
    ],
    related: ["E_LIMIT_CPU", "E_LIMIT_MEMORY"],
  },
  E_LANE_FULL: {
    happened:
      "The plugin used more CPU time than its share of the serving thread, so its calls run in a worker thread. More of them came than that thread gets through, and this one was not taken, or its time was over before its turn.",
    steps: [
      "bext status shows where the plugin runs, and why.",
      "Make the plugin do less for each request, or raise plugins.NAME.cpu_share if other plugins and requests can wait for it.",
      '`on_error = "open"` goes on without the plugin, if the site can do without it.',
    ],
    related: ["E_OVERLOADED", "E_LIMIT_CPU"],
  },
  E_PLUGIN_QUARANTINED: {
    happened:
      "The plugin failed for many clients, so it is not called for a while; its failure policy applies meanwhile. A probe call brings it back. Or an operator took it out of service.",
    steps: [
      "bext status says who decided, why, and when the next probe is due; the failures are in the log.",
      "Once it is mended: bext plugin release NAME.",
    ],
    related: ["E_GUEST_THREW", "E_LIMIT_CPU"],
  },
  E_HEADER_FORBIDDEN: {
    happened:
      "The plugin set a header that is not a plugin's to set: hop-by-hop headers, Host, Content-Length, Forwarded, x-bext-*, or one that needs a permission.",
    steps: [
      'Authorization, Cookie and Set-Cookie need `sensitive_headers = ["…"]`, appending a cookie only `set_cookies = ["ab_*"]`.',
      "Lengths are computed by bext: leave them out.",
    ],
    related: ["E_HEADER_INVALID", "E_PERMISSION"],
  },
  E_HEADER_INVALID: {
    happened: "The plugin set a header whose name is not a token, or whose value has a CR, LF or NUL.",
    steps: ["Encode values that come from requests before putting them into a header."],
    related: ["E_HEADER_FORBIDDEN"],
  },
  E_STATUS_INVALID: {
    happened: "The plugin answered with a status that is not a whole number from 200 to 599.",
    steps: ['Return the status as a number: 404, not "404".'],
    related: ["E_GUEST_RESULT_INVALID"],
  },
  E_BODY_NOT_DECLARED: {
    happened:
      "The plugin reads or changes a body without having said so. Bodies stream past plugins that do not ask for them.",
    steps: ['Add `body = "request"`, "response" or "both" to the [sandbox] table of plugin.toml.'],
    related: ["E_BODY_TOO_LARGE", "E_PERMISSION"],
  },
  E_RESPONSE_BODY: {
    happened: "A plugin reads response bodies, and this one could not be given to it.",
    steps: [
      "Raise `max_body` in [plugins.NAME.limits].",
      'A plugin that can do without says `on_large_body = "skip"` in plugin.toml.',
    ],
    related: ["E_BODY_TOO_LARGE", "E_BODY_NOT_DECLARED"],
  },
  E_PERMISSION: {
    happened: "The plugin used something it was not granted.",
    steps: [
      "Ask for it in the [permissions] table of plugin.toml.",
      "Grant it in [plugins.NAME.grant] of bext.config.toml.",
    ],
    related: ["E_GRANT_MISSING", "E_FETCH_FORBIDDEN"],
  },
  E_PATH_REWRITE: {
    happened: "The plugin set a path that is not absolute and normalised.",
    steps: ["Start it with a slash; no //, no dot segments, no query."],
    related: ["E_PATH_INVALID", "E_PERMISSION"],
  },
  E_QUERY_REWRITE: {
    happened:
      "The plugin set a query that has a space, a control character, something beyond ASCII or a #, or is too long.",
    steps: ["Percent-encode names and values (encodeURIComponent), and leave out the question mark."],
    related: ["E_PATH_REWRITE", "E_PERMISSION"],
  },
  E_METHOD_REWRITE: {
    happened: "The plugin changed the method of a request to one that it cannot have.",
    steps: [
      "Set a method that clients of this server can send, in upper case; CONNECT and TRACE are for nobody.",
      "A client that did not ask for HEAD waits for content: its request cannot become HEAD.",
      "A request for a websocket stays GET.",
    ],
    related: ["E_PERMISSION", "E_METHOD_NOT_ALLOWED"],
  },
  E_STORAGE_KEY: {
    happened: "A storage key is empty, longer than 512 bytes, or has a NUL, a slash, a backslash or two dots in a row.",
    steps: ["Separate the parts of a key by a colon: user:42."],
    related: ["E_LIMIT_STORAGE"],
  },
  E_QUEUE_MESSAGE: {
    happened:
      "The plugin pushed something that cannot be a message: no JSON value, one of more than 256 KiB or 100 levels, a key that is empty, over 512 bytes or not well-formed text, or a delay below 0 or over 30 days.",
    steps: [
      "Push a reference (a key of bext.storage, a URL) instead of the large thing itself.",
      "Functions, undefined and cycles are no JSON; encode bytes as base64.",
    ],
    related: ["E_LIMIT_QUEUE", "E_LIMIT_MESSAGE"],
  },
  E_FETCH_FORBIDDEN: {
    happened:
      "The plugin fetched a URL that its permissions do not cover, or one that leads to a private address. Redirects are checked as well.",
    steps: [
      "Add a pattern to `allowed_urls` in plugin.toml and in [plugins.NAME.grant].",
      "A server in a private network also needs its address and port in `fetch.allow_private`.",
    ],
    related: ["E_FETCH_FAILED", "E_PERMISSION"],
  },
  E_FETCH_FAILED: {
    happened: "A fetch that was allowed did not succeed: no connection, no name, a time-out, a broken answer.",
    steps: ["Fetch the URL from this machine with curl.", "The plugin gets this error and can catch it."],
    related: ["E_FETCH_FORBIDDEN", "E_LIMIT_FETCH"],
  },
  // admin listener
  E_ADMIN_TOKEN: {
    happened: "A request to the admin listener had no bearer token, or one that is not `admin.token`.",
    steps: [
      "bext commands take it from the variable BEXT_ADMIN_TOKEN, or from the one that the configuration names.",
      'curl: `-H "Authorization: Bearer $BEXT_ADMIN_TOKEN"`. A token in the URL is never accepted: URLs end up in logs.',
      "`admin.metrics_token` is for GET /metrics alone.",
      "After ten wrong tokens from one address, that address waits; Retry-After says how long.",
    ],
    related: ["E_ADMIN_FORBIDDEN", "E_ADMIN_UNREACHABLE"],
  },
  E_ADMIN_FORBIDDEN: {
    happened:
      "The admin listener refused a request before looking at what it asks: it came from a browser page (Origin, Sec-Fetch-Site), under a host name that is not its own, with a body that is not JSON, or with the token that may only read metrics.",
    steps: [
      "Use `bext status` and its siblings, or curl.",
      "Reached through a name of its own: add the name to `admin.allowed_hosts`.",
    ],
    related: ["E_ADMIN_TOKEN"],
  },
  E_ADMIN_REQUEST: {
    happened: "A request to the admin listener was let in, and its query or its JSON is not what the path takes.",
    steps: [
      "The detail of the answer names what is expected.",
      "Unknown fields are errors too: a misspelt one would otherwise do nothing.",
    ],
    related: ["E_ADMIN_FORBIDDEN"],
  },
  E_ADMIN_IN_USE: {
    happened: "Another running server answers at the address or socket of `admin.listen`.",
    steps: [
      "Usually it is another bext of the same folder: `bext status` shows its process.",
      "Two servers of one folder need two sockets: set `admin.listen` of one of them.",
      "A socket that a dead server left behind is replaced without a word; this one answered.",
    ],
    related: ["E_PORT_IN_USE", "E_ADMIN_SOCKET"],
  },
  E_ADMIN_SOCKET: {
    happened: "The socket of `admin.listen` cannot be made safely at its place.",
    steps: [
      "Its folder must not be writable by other users, who could put a socket of their own there: `chmod go-w FOLDER`.",
      "Something that is not a socket is never replaced: move it away.",
      "Some shared folders of containers and networks cannot hold sockets: name a local path.",
    ],
    related: ["E_ADMIN_IN_USE", "E_ADMIN_UNREACHABLE"],
  },
  E_ADMIN_UNREACHABLE: {
    happened: "A bext command looked for a running server at `admin.listen` of the configuration, and nobody answered.",
    steps: [
      "Start it: `bext serve`.",
      "Run the command in the server's folder, or name its configuration with --config.",
      "The socket belongs to the user that runs the server: run the command as that user.",
      "When [admin] was just changed, the server is still at the old place: `bext reload --admin unix:PATH`, or send it SIGHUP.",
      "Another machine: `--admin http://ADDRESS:PORT` with the token in BEXT_ADMIN_TOKEN.",
    ],
    related: ["E_ADMIN_TOKEN", "E_ADMIN_SOCKET"],
  },
  E_STATE_UNAVAILABLE: {
    happened: "The folder of `state.dir` cannot be opened or written.",
    steps: [
      "Check its permissions and the free space, as the user that runs bext.",
      "`bext doctor` tries the database.",
    ],
    related: ["E_FILE_UNREADABLE", "E_LIMIT_STORAGE"],
  },
}
