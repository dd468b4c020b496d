import { z } from "zod"

/** Names start with a letter so that they sort after nothing and never look like a number or an option. */
export const pluginName = () =>
  z
    .string()
    .regex(
      /^[a-z][a-z0-9-]{0,63}$/,
      "expected lower-case letters, digits and hyphens, starting with a letter, at most 64 characters",
    )

export const tier = () => z.enum(["quickjs", "wasm", "nsjail"])

const positive = () => z.int().min(1)

/** What a plugin asks for. The operator grants the same fields; the intersection is what it gets. Default: nothing. */
export const permissions = () =>
  z.strictObject({
    /** URL patterns: scheme, host labels (`*` = one label), port and path. Empty = no fetch at all. */
    allowed_urls: z.array(z.string()).default([]),
    max_fetch_per_minute: z.int().min(0).default(30),
    queues: z.array(z.string()).default([]),
    secrets: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]*$/, "expected an upper-case name such as STRIPE_KEY"))
      .default([]),
    /** Names among authorization, cookie, proxy-authorization, set-cookie that the plugin may read and write. */
    sensitive_headers: z.array(z.enum(["authorization", "cookie", "proxy-authorization", "set-cookie"])).default([]),
    /** Cookie-name globs that the plugin may set by appending Set-Cookie. */
    set_cookies: z.array(z.string()).default([]),
    identity: z.boolean().default(false),
    rewrite_path: z.boolean().default(false),
    purge: z.boolean().default(false),
  })

/** plugin.toml */
export const manifestSchema = z.strictObject({
  manifest: z.strictObject({
    name: pluginName(),
    version: z
      .string()
      .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/, 'expected a semantic version such as "1.0.0"'),
    description: z.string().max(500).default(""),
    capabilities: z.array(z.enum(["middleware", "transform", "lifecycle", "cache_backend"])).default([]),
    requires_capabilities: z.array(z.string()).default([]),
    provides_capabilities: z.array(z.string()).default([]),
    /** Path of the entry inside the plugin folder. */
    entry: z.string().optional(),
    /** Path of the JSON Schema (2020-12) for the plugin's configuration, inside the plugin folder. */
    config_schema: z.string().optional(),
    /** A plugin others rely on for protection: `on_error = "open"` is refused. */
    security: z.boolean().default(false),
    api: z.literal(1).default(1),
    /** Suggested position in the stack; 600 or more. */
    priority: z
      .union([z.int().min(600), z.record(z.enum(["middleware", "transform", "lifecycle"]), z.int())])
      .optional(),
  }),
  sandbox: z
    .strictObject({
      type: tier().default("quickjs"),
      instance: z.enum(["shared", "fresh"]).optional(),
      max_memory_mb: positive().max(4096).default(64),
      max_cpu_ms: positive().max(600_000).optional(),
      max_time_secs: positive().max(600).optional(),
      max_time_ms: positive().max(600_000).optional(),
      storage_quota_kb: z.int().min(0).max(1_048_576).default(1024),
      interpreter: z.string().optional(),
      body: z.enum(["none", "request", "response", "both"]).default("none"),
      max_body: z.string().optional(),
      on_large_body: z.enum(["fail", "skip"]).default("fail"),
      data_dir: z.boolean().default(false),
    })
    .prefault({}),
  transform: z.strictObject({ matches: z.array(z.string()).default([]) }).optional(),
  permissions: permissions().prefault({}),
})

export type Manifest = z.output<typeof manifestSchema>
export type Permissions = z.output<ReturnType<typeof permissions>>
