import { z } from "zod"
import { permissions, pluginName, tier } from "./manifest-schema.ts"
import { duration, size } from "./units.ts"

const glob = () => z.string().startsWith("/", 'expected a path glob such as "/api/**"')
const secret = () =>
  z.string().regex(/^env:[A-Za-z_][A-Za-z0-9_]*$/, 'expected "env:NAME"; secrets are never written into the file')

const server = z.strictObject({
  /** "ADDRESS:PORT", "[IPv6]:PORT" or ":PORT". */
  listen: z.string().default("127.0.0.1:3000"),
  /** CIDR ranges whose Forwarded and X-Forwarded-* headers are believed (RFC 7239). */
  trusted_proxies: z.array(z.string()).default([]),
  /** Headers that say who the user is; dropped from clients before any middleware. */
  identity_headers: z.array(z.string()).default([]),
  /** How long requests in flight may take to finish after SIGTERM. */
  grace: duration().prefault("10s"),
  limits: z
    .strictObject({
      header_bytes: size().prefault("16kb"),
      header_count: z.int().min(1).max(2000).default(100),
      body: size().prefault("10mb"),
      header_timeout: duration().prefault("10s"),
      request_timeout: duration().prefault("60s"),
      idle_timeout: duration().prefault("30s"),
      connections: z.int().min(1).default(10_000),
      /** Bytes of buffered bodies in the whole process. */
      buffered_bodies: size().prefault("256mb"),
    })
    .prefault({}),
})

const log = z.strictObject({
  level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** auto: pretty on a terminal, JSON lines otherwise. */
  format: z.enum(["auto", "json", "pretty"]).default("auto"),
  access: z.boolean().default(true),
})

const app = z.strictObject({
  /** Folder of files. With `upstream` too, files win and everything else goes upstream. */
  static: z.string().optional(),
  upstream: z.url({ protocol: /^https?$/, error: 'expected a URL such as "http://127.0.0.1:4000"' }).optional(),
  /** Time to the first byte of the upstream's response, and between two chunks of it. */
  upstream_timeout: duration().prefault("30s"),
  /** Extension keys ("plugin.key") sent upstream as x-bext-ext-KEY. */
  forward_extensions: z.array(z.string()).default([]),
})

const route = z
  .strictObject({
    path: glob(),
    static: z.string().optional(),
    upstream: z.url({ protocol: /^https?$/ }).optional(),
    upstream_timeout: duration().prefault("30s"),
  })
  .refine((row) => (row.static === undefined) !== (row.upstream === undefined), {
    error: "expected exactly one of static and upstream",
  })

const cors = z.strictObject({
  /** Exact origins, globs ("https://*.example.com") or anchored regexes ("/https:\/\/app-\d+\.example\.com/"). "*" = any. */
  origins: z.array(z.string()).min(1),
  methods: z.array(z.string()).default(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
  headers: z.array(z.string()).default(["content-type", "authorization"]),
  expose_headers: z.array(z.string()).default([]),
  credentials: z.boolean().default(false),
  max_age: duration().prefault("10m"),
})

const rateRule = {
  requests: z.int().min(1),
  window: duration(),
  /** "client" (address) or "header:NAME". */
  by: z
    .string()
    .regex(/^(client|header:[A-Za-z0-9-]+)$/, 'expected "client" or "header:NAME"')
    .default("client"),
}
const rateLimit = z.strictObject({
  ...rateRule,
  /** IPv6 clients are told apart by this many leading bits. */
  ipv6_prefix: z.int().min(16).max(128).default(64),
  /** Further rules for some paths; a request counts against each rule that matches it. */
  rules: z.array(z.strictObject({ path: glob(), ...rateRule })).default([]),
})

const algorithms = z.enum([
  ...(["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as const),
  ...(["ES256", "ES384", "ES512", "EdDSA"] as const),
])
const auth = z
  .strictObject({
    algorithms: z.array(algorithms).min(1),
    /** HS*: the shared secret. */
    secret: secret().optional(),
    /** PEM file of a public key. */
    key_file: z.string().optional(),
    jwks_file: z.string().optional(),
    jwks_url: z.url({ protocol: /^https?$/ }).optional(),
    issuer: z.string().optional(),
    audience: z.union([z.string(), z.array(z.string())]).optional(),
    leeway: duration().prefault("5s"),
    /** Cookie that may carry the token besides Authorization: Bearer. */
    cookie: z.string().optional(),
    /** Claim that becomes the user's id. */
    user_claim: z.string().default("sub"),
    /** Path globs that need no user. Everything else does. */
    public: z.array(glob()).default([]),
    /** Paths that need certain claims as well; a claim that is a list must contain the value. */
    rules: z
      .array(
        z.strictObject({
          path: glob(),
          claims: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
        }),
      )
      .default([]),
  })
  .refine((row) => [row.secret, row.key_file, row.jwks_file, row.jwks_url].filter(Boolean).length === 1, {
    error: "expected exactly one of secret, key_file, jwks_file and jwks_url",
  })

const tenant = z.strictObject({
  /** Ways to find the tenant, tried in order. */
  by: z
    .array(
      z.string().regex(/^(host|path|subdomain:[a-z0-9.-]+|header:[A-Za-z0-9-]+|claim:[A-Za-z0-9_.-]+)$/, {
        error: 'expected "host", "path", "subdomain:DOMAIN", "header:NAME" or "claim:NAME"',
      }),
    )
    .min(1)
    .default(["host"]),
  unknown: z.enum(["reject", "pass"]).default("reject"),
})

const tracing = z.strictObject({
  /** Who may ask for Server-Timing by a `Server-Timing: 1`-style request header, see middleware/tracing.ts. */
  server_timing: z.enum(["off", "loopback", "on"]).default("off"),
})

const pluginLimits = z.strictObject({
  max_memory_mb: z.int().min(1).max(4096).optional(),
  max_cpu_ms: z.int().min(1).max(600_000).optional(),
  max_time_secs: z.int().min(1).max(600).optional(),
  max_time_ms: z.int().min(1).max(600_000).optional(),
  storage_quota_kb: z.int().min(0).max(1_048_576).optional(),
  max_body: size().optional(),
  max_instances: z.int().min(1).max(10_000).optional(),
})

const plugin = z.strictObject({
  enabled: z.boolean().default(true),
  sandbox: tier().optional(),
  /** Plugin folder or single file, relative to the configuration file. */
  path: z.string().optional(),
  /** Exact version or semver range the manifest must satisfy. */
  version: z.string().optional(),
  priority: z.int().min(0).max(1_000_000).optional(),
  on_error: z.enum(["closed", "open"]).default("closed"),
  required: z.boolean().optional(),
  match: z
    .array(
      z.strictObject({
        path: glob().optional(),
        methods: z.array(z.string()).optional(),
        hosts: z.array(z.string()).optional(),
        tenants: z.array(z.string()).optional(),
      }),
    )
    .default([]),
  config: z.record(z.string(), z.json()).default({}),
  limits: pluginLimits.prefault({}),
  fuel: z.record(z.string(), z.int().min(1)).default({}),
  /** What the operator allows of what the manifest asks. */
  grant: permissions().partial().optional(),
  /** Secret name → "env:NAME". */
  secrets: z.record(z.string(), secret()).default({}),
})

/** bext.config.toml */
export const configSchema = z.strictObject({
  server: server.prefault({}),
  log: log.prefault({}),
  app: app.prefault({}),
  routes: z.array(route).default([]),
  middleware: z
    .strictObject({
      cors: cors.optional(),
      rate_limit: rateLimit.optional(),
      auth: auth.optional(),
      tenant: tenant.optional(),
      tracing: tracing.prefault({}),
    })
    .prefault({}),
  tenants: z
    .array(
      z.strictObject({ id: z.string().min(1), site: z.string().optional(), hosts: z.array(z.string()).default([]) }),
    )
    .default([]),
  plugins: z.record(pluginName(), plugin).default({}),
  sandbox: z
    .strictObject({
      ceilings: z
        .strictObject({
          max_memory_mb: z.int().min(1).optional(),
          max_cpu_ms: z.int().min(1).optional(),
          max_time_ms: z.int().min(1).optional(),
          storage_quota_kb: z.int().min(0).optional(),
          max_fetch_per_minute: z.int().min(0).optional(),
          max_body: size().optional(),
        })
        .prefault({}),
    })
    .prefault({}),
  fetch: z
    .strictObject({
      /** Exact "ADDRESS:PORT" pairs in private ranges that plugins with a matching URL may reach. */
      allow_private: z.array(z.string()).default([]),
    })
    .prefault({}),
  /** Status → HTML file shown to browsers. */
  errors: z.record(z.string().regex(/^[45]\d\d$/, "expected a status from 400 to 599"), z.string()).default({}),
  state: z.strictObject({ dir: z.string().default(".bext") }).prefault({}),
})

export type Config = z.output<typeof configSchema>
export type PluginConfig = Config["plugins"][string]
