import { z } from "zod"
import { HOOK_NAMES } from "../hooks.ts"
import { checked } from "./checked.ts"
import {
  addressAndPort,
  addressRange,
  adminListen,
  collectorUrl,
  cookieName,
  cookiePath,
  filePath,
  headerName,
  hostGlob,
  hostName,
  keySetUrl,
  listen,
  method,
  originPattern,
  pathGlob,
  readOnlyPath,
  secret,
  status,
  tenantId,
  upstreamUrl,
  versionRange,
} from "./field-types.ts"
import { grant, pluginName, programLimits, queueName, secretName, tier } from "./manifest-schema.ts"
import { duration, size } from "./units.ts"

const limits = z.strictObject({
  header_bytes: size().prefault("16kb").describe("Request line and headers together"),
  header_count: z.int().min(1).max(2000).default(100).describe("Header fields of one request"),
  body: size().prefault("10mb").describe("Request body"),
  header_timeout: duration().prefault("10s").describe("Until the headers are complete"),
  request_timeout: duration().prefault("60s").describe("Until the whole request has arrived"),
  idle_timeout: duration().prefault("30s").describe("Between two requests of a connection"),
  connections: z.int().min(1).max(1_000_000).default(10_000).describe("Open connections"),
  websockets: z.int().min(1).max(1_000_000).default(10_000).describe("Open websockets of one process"),
  websockets_per_client: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(100)
    .describe("Open websockets of one client address (IPv6: of one /64) in one process"),
  websocket_idle_timeout: duration()
    .prefault("10m")
    .describe("A websocket on which nothing moves in either direction for this long is closed, with code 1001"),
  buffered_bodies: size().prefault("256mb").describe("Buffered bodies of the whole process together"),
})

const server = z.strictObject({
  listen: listen()
    .default("127.0.0.1:3000")
    .describe(
      '"ADDRESS:PORT", "[IPv6]:PORT" or ":PORT" (every address). The environment variable PORT replaces the port',
    ),
  processes: z
    .union([z.literal("auto"), z.int().min(1).max(256)])
    .default("auto")
    .describe(
      'Serving processes: a number, or "auto" for one for each CPU this server may use (cgroup limits count). From 2 on a supervisor restarts those that crash',
    ),
  trusted_proxies: z
    .array(addressRange())
    .default([])
    .describe("Addresses whose Forwarded and X-Forwarded-* headers are believed (RFC 7239)"),
  identity_headers: z
    .array(headerName())
    .default([])
    .describe("Headers that say who the user is; dropped from clients' requests before any middleware"),
  grace: duration().prefault("10s").describe("How long requests in flight may take to finish after SIGTERM"),
  limits: limits.prefault({}).describe("What one client may use"),
})

const admin = checked(
  z.strictObject({
    listen: adminListen()
      .default("unix:.bext/admin.sock")
      .describe('"unix:PATH" (a socket for the user that runs bext), "ADDRESS:PORT" (needs token) or "off"'),
    token: secret()
      .optional()
      .describe("Bearer token of every request; at least 16 characters. With ADDRESS:PORT required"),
    metrics_token: secret().optional().describe("Another token, which may only GET /metrics"),
    allowed_hosts: z
      .array(hostName())
      .default([])
      .describe("Names under which ADDRESS:PORT is reached, besides its address and localhost"),
  }),
  (row) => {
    const isTcp = row.listen !== "off" && !row.listen.startsWith("unix:")
    if (isTcp && row.token === undefined) {
      return {
        what: `listening on ${row.listen} needs token: every program of this machine can connect to it`,
        fix: 'write token = "env:BEXT_ADMIN_TOKEN" and set that variable, e.g. to what openssl rand -hex 32 prints',
      }
    }
    if (row.metrics_token !== undefined && row.token === undefined) {
      return { what: "metrics_token needs token as well: without it, whoever connects may do everything" }
    }
    return undefined
  },
)

const log = z.strictObject({
  level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info").describe("Least important level shown"),
  format: z
    .enum(["auto", "json", "pretty"])
    .default("auto")
    .describe("auto: pretty on a terminal, JSON lines otherwise"),
  access: z.boolean().default(true).describe("One line for each request"),
})

const websockets = () =>
  z
    .boolean()
    .default(false)
    .describe(
      "Websockets are passed on to the upstream; their Origin must be this site's or in middleware.cors.origins",
    )

const app = checked(
  z.strictObject({
    static: filePath()
      .optional()
      .describe("Folder of files. With upstream too, files win and everything else goes upstream"),
    upstream: upstreamUrl().optional().describe("Server behind this one"),
    upstream_timeout: duration()
      .prefault("30s")
      .describe(
        "Time to the first byte of the upstream's response, and between two chunks of it; for a websocket, until the upstream has agreed",
      ),
    forward_extensions: z
      .array(z.string().min(1))
      .default([])
      .describe('Extension keys ("plugin.key") sent upstream as x-bext-ext-KEY'),
    forward_user: z
      .boolean()
      .default(false)
      .describe("Tells the upstream who the user is: x-bext-user, JSON with id and claims"),
    websockets: websockets(),
  }),
  needsUpstream,
)

const route = checked(
  checked(
    z.strictObject({
      path: pathGlob().describe("Which requests"),
      static: filePath().optional().describe("Folder of files"),
      upstream: upstreamUrl().optional().describe("Server behind this one"),
      upstream_timeout: duration().prefault("30s").describe("As app.upstream_timeout"),
      forward_user: z.boolean().default(false).describe("As app.forward_user"),
      websockets: websockets(),
    }),
    (row) =>
      (row.static === undefined) === (row.upstream === undefined)
        ? { what: "expected exactly one of static and upstream" }
        : undefined,
  ),
  needsUpstream,
)

function needsUpstream(row: { upstream?: string | undefined; websockets: boolean }) {
  if (!row.websockets || row.upstream !== undefined) return undefined
  return { what: "websockets = true needs an upstream, which is where they lead" }
}

const cors = z.strictObject({
  origins: z
    .array(originPattern())
    .min(1)
    .describe(
      'Exact origins, globs ("https://*.example.com"), regexes of the whole origin ("/https:\\\\/\\\\/pr-\\\\d+\\\\.example\\\\.com/") or "*"',
    ),
  methods: z
    .array(method())
    .default(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    .describe("Methods other origins may use"),
  headers: z.array(headerName()).default(["content-type", "authorization"]).describe("Headers other origins may send"),
  expose_headers: z.array(headerName()).default([]).describe("Response headers other origins may read"),
  credentials: z.boolean().default(false).describe("Cookies and Authorization are allowed"),
  private_network: z
    .boolean()
    .default(false)
    .describe("Pages of these origins that come from a public address may call this server on a private one"),
  max_age: duration().prefault("10m").describe("How long a browser remembers a preflight answer"),
})

const rateRule = {
  requests: z.int().min(1).max(1_000_000_000).describe("Requests allowed in each window"),
  window: duration().describe("Length of the window"),
  by: z
    .string()
    .regex(/^(client|user|tenant|header:[!#$%&'*+.^_`|~A-Za-z0-9-]+|claim:[A-Za-z0-9_.:/-]+)$/, {
      error: 'expected "client", "user", "tenant", "claim:NAME" or "header:NAME"',
    })
    .default("client")
    .describe(
      'What is counted: "client" (its address), "header:NAME", or, at priority 450, "user", "claim:NAME" or "tenant"',
    ),
}
const rateLimit = z.strictObject({
  ...rateRule,
  ipv6_prefix: z.int().min(16).max(128).default(64).describe("IPv6 clients are told apart by this many leading bits"),
  rules: z
    .array(z.strictObject({ path: pathGlob().describe("Which requests"), ...rateRule }))
    .default([])
    .describe("Further rules for some paths; a request counts against each rule that matches it"),
})

const HMAC = ["HS256", "HS384", "HS512"] as const
const PUBLIC_KEY = [
  ...(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as const),
  ...(["ES256", "ES384", "ES512", "EdDSA"] as const),
]
const auth = checked(
  z.strictObject({
    algorithms: z
      .array(z.enum([...HMAC, ...PUBLIC_KEY]))
      .default([])
      .describe("Algorithms a token may be signed with; no other is accepted. None: no tokens, the gate alone"),
    secret: secret().optional().describe("HS*: the shared secret"),
    key_file: filePath().optional().describe("PEM file of a public key"),
    jwks_file: filePath().optional().describe("File of a JSON Web Key Set (RFC 7517)"),
    jwks_url: keySetUrl().optional().describe("URL of a JSON Web Key Set, fetched again when keys rotate"),
    issuer: z.string().min(1).optional().describe("Required iss claim"),
    audience: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .optional()
      .describe("Required aud claim, or several of which one must be there"),
    leeway: duration().prefault("5s").describe("Clock difference allowed for exp, nbf and iat"),
    cookie: z.string().min(1).optional().describe("Cookie that may carry the token besides Authorization: Bearer"),
    user_claim: z.string().min(1).default("sub").describe("Claim that becomes the user's id"),
    public: z.array(pathGlob()).default([]).describe("Paths that need no user. Everything else does"),
    rules: z
      .array(
        z.strictObject({
          path: pathGlob().describe("Which requests"),
          claims: z
            .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
            .describe("Claims the user must have; a claim that is a list must contain the value"),
        }),
      )
      .default([])
      .describe("Paths that need certain claims as well"),
  }),
  (row) => {
    const keys = [row.secret, row.key_file, row.jwks_file, row.jwks_url].filter((key) => key !== undefined)
    if (row.algorithms.length === 0) {
      if (keys.length === 0 && row.cookie === undefined) return undefined
      return { what: "a key or a cookie for tokens, but no algorithms", fix: 'add algorithms = ["RS256"], or yours' }
    }
    if (keys.length !== 1) return { what: "expected exactly one of secret, key_file, jwks_file and jwks_url" }
    const hmac = row.algorithms.filter((name) => name.startsWith("HS")).length
    if (row.secret !== undefined && hmac < row.algorithms.length) {
      return {
        what: "a secret is for HS256, HS384 and HS512 only",
        fix: "for the others use key_file, jwks_file or jwks_url",
      }
    }
    if (row.secret === undefined && hmac > 0) {
      return { what: "HS256, HS384 and HS512 need secret: with them a public key would be a password everybody knows" }
    }
    return undefined
  },
)

const session = checked(
  z.strictObject({
    secrets: z
      .array(secret())
      .min(1)
      .max(16)
      .describe("The first seals cookies, all open them: put a new one in front and remove the old one later"),
    login_paths: z
      .array(pathGlob())
      .min(1)
      .describe("Where the app's answers may begin and end sessions (response header x-bext-session)"),
    cookie: cookieName()
      .optional()
      .describe("Name of the cookie. Default: __Host-session; what its path, domain and secure allow otherwise"),
    same_site: z
      .enum(["strict", "lax", "none"])
      .default("lax")
      .describe("Whether requests that other sites cause carry the cookie"),
    secure: z.boolean().default(true).describe("https only. false: for development over plain http"),
    path: cookiePath().default("/").describe("Paths the browser sends it to"),
    domain: hostName().optional().describe("Sends it to this domain and all below. Default: this host alone"),
    idle: duration().prefault("1d").describe("A session ends when it was not used for this long"),
    absolute: duration().prefault("7d").describe("A session ends this long after it began, however much it is used"),
    leeway: duration().prefault("5s").describe("Clock difference allowed between machines that share the secrets"),
  }),
  (row) => {
    const name = row.cookie?.toLowerCase() ?? ""
    if (!row.secure && (row.same_site === "none" || /^__(host|secure)-/.test(name))) {
      return { what: 'same_site = "none" and names that begin with __Host- or __Secure- need secure = true' }
    }
    if (name.startsWith("__host-") && (row.domain !== undefined || row.path !== "/")) {
      return { what: 'a name that begins with __Host- goes with path = "/" and without domain' }
    }
    if (row.idle > row.absolute) return { what: "idle is longer than absolute", fix: "idle is the shorter one" }
    const variables = row.secrets.map(({ variable }) => variable)
    if (new Set(variables).size < variables.length) return { what: "the same secret twice" }
    return undefined
  },
)

const tenant = z.strictObject({
  by: z
    .array(
      z.string().regex(/^(host|path|subdomain:[a-z0-9.-]+|header:[A-Za-z0-9-]+|claim:[A-Za-z0-9_.-]+)$/, {
        error: 'expected "host", "path", "subdomain:DOMAIN", "header:NAME" or "claim:NAME"',
      }),
    )
    .min(1)
    .default(["host"])
    .describe(
      'Ways to find the tenant, tried in order: "host", "path", "subdomain:DOMAIN", "header:NAME", "claim:NAME"',
    ),
  unknown: z.enum(["reject", "pass"]).default("reject").describe("What happens to a request without a known tenant"),
})

/** What the sender of spans writes itself, or what would change how its message ends. */
const OWN_HEADERS =
  /^(content-(type|length|encoding)|host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect)$/i

const otlp = checked(
  z.strictObject({
    endpoint: collectorUrl().describe("Where spans go: OTLP over HTTP, protobuf. Without a path, /v1/traces is added"),
    headers: z
      .record(headerName(), secret())
      .default({})
      .describe('Header → "env:NAME": what the collector asks for, such as authorization'),
    service_name: z.string().min(1).max(255).default("bext").describe("Name of this server in traces"),
    sample: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe("Share of the requests that is traced, 0 to 1. Where a trusted proxy has decided, its word counts"),
    timeout: duration().prefault("10s").describe("For one message to the collector"),
    queue: z
      .int()
      .min(256)
      .max(1_000_000)
      .default(4096)
      .describe("Spans of one process that may wait for the collector; more are dropped and counted"),
  }),
  ({ headers }) => {
    const own = Object.keys(headers).find((name) => OWN_HEADERS.test(name))
    return own === undefined ? undefined : { what: `the header ${own} is not yours to set: it belongs to the message` }
  },
)

const tracing = z.strictObject({
  server_timing: z
    .enum(["off", "loopback", "on"])
    .default("off")
    .describe("Who may ask for the Server-Timing header: nobody, clients on this machine, everybody"),
  otlp: otlp.optional().describe("OpenTelemetry: spans of requests, sent to a collector. Active when present"),
})

const pluginLimits = {
  max_memory_mb: z.int().min(1).max(4096).optional().describe("Guest memory, MiB"),
  max_cpu_ms: z.int().min(1).max(600_000).optional().describe("CPU time per call, ms"),
  max_time_secs: z.int().min(1).max(600).optional().describe("Wall time per call, seconds"),
  max_time_ms: z.int().min(1).max(600_000).optional().describe("Wall time per call, ms; instead of max_time_secs"),
  storage_quota_kb: z.int().min(0).max(1_048_576).optional().describe("Storage per tenant, KiB"),
  max_body: size().optional().describe("Largest body it is given"),
  max_instances: z.int().min(1).max(10_000).optional().describe("Instances that may exist at once"),
  ...programLimits,
}

const minIsolation = () => z.enum(["full", "namespaces", "process"]).optional()

const interpreter = z.string().min(1).optional().describe("Program that runs the entry (nsjail), e.g. python3")

/** The spelling of the public documentation, `[plugins.NAME.sandbox]`: the tier and the limits in one table. */
const sandboxTable = z.strictObject({
  type: tier().optional().describe("The tier"),
  ...pluginLimits,
  interpreter,
})

const match = checked(
  z.strictObject({
    path: pathGlob().optional().describe("Glob of the path"),
    methods: z.array(method()).min(1).optional().describe("Methods"),
    hosts: z.array(hostGlob()).min(1).optional().describe("Globs of the host name"),
    tenants: z.array(tenantId()).min(1).optional().describe("Tenants; needs a priority above 400"),
  }),
  (row) =>
    Object.values(row).every((field) => field === undefined)
      ? { what: "expected at least one of path, methods, hosts and tenants" }
      : undefined,
)

const plugin = z
  .strictObject({
    enabled: z.boolean().default(true).describe("false: as if the plugin were not there"),
    sandbox: z
      .union([tier(), sandboxTable])
      .optional()
      .describe("Tier; must be the one of plugin.toml. As a table: the tier and the limits together"),
    path: filePath().optional().describe("Plugin folder or single file. Default: ./plugins/NAME, then the bundled one"),
    version: versionRange().optional().describe("Version or semver range the manifest must satisfy"),
    priority: z
      .int()
      .min(0)
      .max(1_000_000)
      .optional()
      .describe("Position in the stack; lower sees requests earlier. Default: plugin.toml's, then 600"),
    on_error: z
      .enum(["closed", "open"])
      .default("closed")
      .describe("When a call fails: closed answers with an error, open goes on without the plugin"),
    required: z
      .boolean()
      .optional()
      .describe("The server does not start without it. Default: true for middleware that fails closed"),
    match: z.array(match).default([]).describe("Which requests it sees: those that fit one entry. Empty: all"),
    config: z.record(z.string(), z.json()).default({}).describe("The plugin's own settings"),
    limits: z.strictObject(pluginLimits).prefault({}).describe("Limits instead of those in plugin.toml"),
    interpreter,
    min_isolation: minIsolation().describe(
      "What must at least stand between its program and this machine (nsjail), instead of sandbox.nsjail.min_isolation",
    ),
    jails: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .describe("Programs that run at the same time in each serving process (nsjail). Default: 1"),
    read_only_paths: z
      .array(readOnlyPath())
      .max(64)
      .default([])
      .describe("Files and folders of this machine that its program sees at the same place, read only (nsjail)"),
    cpu_share: z
      .number()
      .gt(0)
      .max(1)
      .default(0.1)
      .describe("Part of the serving thread it may use over a second; above it, it moves to a worker thread"),
    lane: z
      .enum(["auto", "inline", "worker"])
      .default("auto")
      .describe("Where it runs: as cpu_share says, always in the serving thread, always in a worker thread"),
    fuel: z
      .partialRecord(z.enum(HOOK_NAMES), z.int().min(1))
      .default({})
      .describe("Fuel per call of a hook (wasm): about one unit for each instruction"),
    grant: grant().optional().describe("What the operator allows of what the manifest asks"),
    secrets: z.record(secretName(), secret()).default({}).describe('Secret name → "env:NAME"'),
  })
  .transform(({ sandbox, ...row }, context) => {
    if (typeof sandbox !== "object") return { ...row, sandbox }
    const { type, interpreter, ...limits } = sandbox
    for (const [key, value] of Object.entries({ ...limits, interpreter })) {
      const other = key === "interpreter" ? row.interpreter : row.limits[key as keyof typeof limits]
      if (value === undefined || other === undefined) continue
      const message = `already set ${key === "interpreter" ? "in the plugin's table" : "in limits"}`
      context.addIssue({ code: "custom", path: ["sandbox", key], message, input: value })
    }
    return {
      ...row,
      sandbox: type,
      interpreter: interpreter ?? row.interpreter,
      limits: { ...limits, ...defined(row.limits) },
    }
  })

function defined<T extends object>(row: T): T {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as T
}

const queue = z.strictObject({
  max_messages: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(100_000)
    .describe("Messages that wait or are being handled; as many dead letters are kept"),
  visibility_timeout: checked(duration(), (ms) => (ms < 1000 ? { what: "expected at least 1s" } : undefined))
    .prefault("30s")
    .describe("How long a message stays with a process that says nothing more; it is prolonged while its handler runs"),
  max_attempts: z.int().min(1).max(1000).default(10).describe("Deliveries until a message is a dead letter"),
  backoff: duration().prefault("1s").describe("Pause after the first failure; doubled with each further one"),
  max_backoff: duration().prefault("1h").describe("Longest pause"),
  retention: duration().prefault("14d").describe("How long dead letters are kept"),
})

const ceilings = z.strictObject({
  max_memory_mb: z.int().min(1).optional().describe("Guest memory, MiB"),
  max_cpu_ms: z.int().min(1).optional().describe("CPU time per call, ms"),
  max_time_ms: z.int().min(1).optional().describe("Wall time per call, ms"),
  max_fuel: z.int().min(1).optional().describe("Fuel per call of any hook (wasm)"),
  storage_quota_kb: z.int().min(0).optional().describe("Storage per tenant, KiB"),
  max_fetch_per_minute: z.int().min(0).optional().describe("Fetches per minute"),
  max_body: size().optional().describe("Largest body"),
  ...programLimits,
})

/** What a queue without a section has. */
export const DEFAULT_QUEUE: QueueConfig = queue.parse({})

/** bext.config.toml */
export const configSchema = z.strictObject({
  server: server.prefault({}).describe("The listener and what clients may use"),
  admin: admin.prefault({}).describe("The admin listener: status, metrics, reload, quarantine, log"),
  log: log.prefault({}).describe("What is written to standard output"),
  app: app.prefault({}).describe("What answers requests that nothing else answered"),
  routes: z.array(route).default([]).describe("Paths with a handler of their own; the first that matches wins"),
  middleware: z
    .strictObject({
      cors: cors.optional().describe("Cross-origin requests (priority 100). Active when present"),
      rate_limit: rateLimit.optional().describe("Requests per client (priority 200). Active when present"),
      auth: auth
        .optional()
        .describe("JWT authentication (priority 300) and the authorisation gate. Active when present"),
      session: session.optional().describe("Sessions in sealed cookies (priority 300). Active when present"),
      tenant: tenant.optional().describe("Tenant resolver (priority 400). Active when present"),
      tracing: tracing.prefault({}).describe("Request ids and W3C trace context (priority 500). Always active"),
    })
    .prefault({})
    .describe("Built-in middleware"),
  tenants: z
    .array(
      z.strictObject({
        id: tenantId().describe("Name of the tenant"),
        site: tenantId().optional().describe("Name of its site"),
        hosts: z.array(hostGlob()).default([]).describe("Host names, or globs of them"),
      }),
    )
    .default([])
    .describe("The tenants"),
  plugins: z.record(pluginName(), plugin).default({}).describe("Plugins, in the order that breaks ties of priority"),
  queues: z
    .record(queueName(), queue)
    .default({})
    .describe("Bounds of queues; a queue without a section has the defaults"),
  sandbox: z
    .strictObject({
      ceilings: ceilings.prefault({}).describe("Upper bounds for every plugin, whatever it asks for"),
      nsjail: z
        .strictObject({
          min_isolation: minIsolation().describe(
            'What must at least stand between a program and this machine: "full" (namespaces, system-call filter, cgroups), "namespaces" (without cgroups) or "process" (resource limits alone). Default: namespaces; process for plugins that are folders of this project',
          ),
        })
        .prefault({})
        .describe("Plugins that are programs"),
      max_instances: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(2000)
        .describe("Instances of all plugins of a process; at the limit, those longest at rest are given up"),
      max_guest_memory_mb: z
        .int()
        .min(16)
        .max(1_048_576)
        .default(2048)
        .describe("Memory of all instances of a process, MiB; at the limit, those longest at rest are given up"),
    })
    .prefault({})
    .describe("Settings of all sandboxes"),
  fetch: z
    .strictObject({
      allow_private: z
        .array(addressAndPort())
        .default([])
        .describe('Exact "ADDRESS:PORT" pairs in private ranges that plugins with a matching URL may reach'),
    })
    .prefault({})
    .describe("Plugins' fetches"),
  errors: z.record(status(), filePath()).default({}).describe("Status → HTML file shown to browsers"),
  state: z
    .strictObject({ dir: filePath().default(".bext").describe("Folder of everything that must survive a restart") })
    .prefault({})
    .describe("Plugin storage, counters and caches"),
})

export type Config = z.output<typeof configSchema>
export type QueueConfig = z.output<typeof queue>
export type PluginConfig = Config["plugins"][string]
