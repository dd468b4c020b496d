import { posix } from "node:path"
import { z } from "zod"
import { parseUrlPattern } from "../host/url-pattern.ts"
import { type Complaint, text } from "./checked.ts"
import { size } from "./units.ts"

export const CAPABILITIES = ["middleware", "transform", "lifecycle", "cache_backend"] as const

const SENSITIVE_HEADERS = ["authorization", "cookie", "proxy-authorization", "set-cookie"] as const

/** Names of built-in middleware: a plugin of the same name could not be told from it in logs, metrics and headers. */
const RESERVED_NAMES = new Set(["bext", "cors", "rate-limit", "auth", "tenant", "tracing"])

const PLUGIN_NAME = /^[a-z][a-z0-9-]{0,63}$/

/** Names start with a letter so that they sort after nothing and never look like a number or an option. */
export const pluginName = () =>
  text(
    "my-plugin",
    (value) => {
      if (!PLUGIN_NAME.test(value)) {
        const fix = value.toLowerCase().replace(/[^a-z0-9-]+/g, "-")
        return {
          what: "expected a name of lower-case letters, digits and hyphens, starting with a letter, at most 64 characters",
          fix: PLUGIN_NAME.test(fix) ? `write ${fix}` : undefined,
        }
      }
      return RESERVED_NAMES.has(value) ? { what: `"${value}" is the name of a built-in; choose another` } : undefined
    },
    PLUGIN_NAME,
  )

/** Names of files that only an interpreter of their own runs. */
export const PROGRAM_FILE = /\.(py|rb|sh|bash|pl|lua|php)$/

export const tier = () => z.enum(["quickjs", "wasm", "nsjail"])

/** Limits that only a program has (nsjail). They are optional: what says nothing has the defaults of `mergeLimits`. */
export const programLimits = {
  max_processes: z
    .int()
    .min(1)
    .max(4096)
    .optional()
    .describe("Processes and threads it may have (nsjail). Default: 64"),
  max_open_files: z.int().min(16).max(65_536).optional().describe("Open files of each process (nsjail). Default: 256"),
  max_file_mb: z.int().min(1).max(65_536).optional().describe("Largest file it may write, MiB (nsjail). Default: 64"),
  tmp_mb: z.int().min(1).max(4096).optional().describe("Size of its /tmp, MiB (nsjail). Default: 16"),
  data_quota_mb: z
    .int()
    .min(1)
    .max(1_048_576)
    .optional()
    .describe("What its folder /data may hold, MiB (nsjail, with data_dir = true). Default: 64"),
  cpus: z
    .number()
    .min(0.01)
    .max(256)
    .optional()
    .describe("Processors it may use, 0.5 = half of one (nsjail). Default: 1"),
}

export const PROGRAM_LIMITS = Object.keys(programLimits) as readonly (keyof typeof programLimits)[]

export const secretName = () =>
  text("STRIPE_KEY", (value) =>
    /^[A-Z][A-Z0-9_]{0,63}$/.test(value) ? undefined : { what: "expected an upper-case name such as STRIPE_KEY" },
  )

const QUEUE_NAME = /^[a-z][a-z0-9._-]{0,63}$/

/** Queues belong to the server: two plugins that name the same one mean the same one. */
export const queueName = () =>
  text(
    "mail",
    (value) =>
      QUEUE_NAME.test(value)
        ? undefined
        : {
            what: "expected a queue name of lower-case letters, digits, dots, hyphens and underscores, starting with a letter, at most 64 characters",
          },
    QUEUE_NAME,
  )

/** What a plugin asks for. The operator grants the same fields; the intersection is what it gets. Default: nothing. */
export const permissions = () =>
  z.strictObject({
    allowed_urls: z
      .array(text("https://api.example.com/**", checkUrlPattern))
      .default([])
      .describe(
        "URL patterns the plugin may fetch: scheme, host labels (`*` = one label), port and path. Empty: no fetch at all",
      ),
    max_fetch_per_minute: z.int().min(0).max(1_000_000).default(30).describe("Fetches per minute (token bucket)"),
    queues: z
      .array(queueName())
      .default([])
      .describe("Queues the plugin may push to; with onQueueMessage, those it receives from"),
    secrets: z.array(secretName()).default([]).describe("Names of secrets the plugin may read"),
    sensitive_headers: z
      .array(z.enum(SENSITIVE_HEADERS))
      .default([])
      .describe("Headers that are otherwise hidden from plugins and not theirs to set"),
    set_cookies: z
      .array(z.string().min(1))
      .default([])
      .describe("Cookie-name globs the plugin may set by appending Set-Cookie"),
    identity: z.boolean().default(false).describe("May set user, tenantId and siteId"),
    rewrite_path: z.boolean().default(false).describe("May change the request's path and query"),
    rewrite_method: z.boolean().default(false).describe("May change the request's method"),
    purge: z.boolean().default(false).describe("May purge the cache"),
  })

type PermissionFields = ReturnType<typeof permissions>["shape"]

/**
 * What the operator allows: the same fields without their defaults, for a field that is absent is not decided, which is
 * something else than refused.
 */
export const grant = () => {
  const fields = Object.entries(permissions().shape).map(([name, field]) => {
    const { description = "" } = field
    return [name, field.removeDefault().optional().describe(description)]
  })
  return z.strictObject(
    Object.fromEntries(fields) as {
      [Name in keyof PermissionFields]: z.ZodOptional<ReturnType<PermissionFields[Name]["removeDefault"]>>
    },
  )
}

function checkUrlPattern(pattern: string): Complaint | undefined {
  try {
    parseUrlPattern(pattern)
    return undefined
  } catch (error) {
    const fix = URL.canParse(`https://${pattern}`) && !pattern.includes(":") ? `write "https://${pattern}"` : undefined
    const message = error instanceof Error ? error.message : ""
    const what = message.replace(/^.* is not a URL pattern: /s, "expected a URL pattern: ")
    return { what, fix, hidden: pattern.includes("@") }
  }
}

/** A file inside the plugin's folder. */
const insidePath = () =>
  text("src/index.ts", (value) => {
    const outside = value.startsWith("/") || posix.normalize(value).startsWith("..")
    if (outside || value === "" || /[\\\0]|^[A-Za-z]:/.test(value)) {
      return { what: "expected a path inside the plugin's folder, with forward slashes" }
    }
    return undefined
  })

const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/

const priority = () => z.int().min(0).max(1_000_000)
/** Below 600 are the built-ins; only the operator moves a plugin there. */
const middlewarePriority = () => z.int().min(600).max(1_000_000)

const manifest = z.strictObject({
  name: pluginName().describe("Unique name: lower-case letters, digits and hyphens, starting with a letter"),
  version: text("1.0.0", (value) =>
    SEMVER.test(value) && value.length <= 64 ? undefined : { what: 'expected a semantic version such as "1.0.0"' },
  ).describe("Semantic version"),
  description: z.string().max(500).default("").describe("One sentence for lists and prompts"),
  capabilities: z.array(z.enum(CAPABILITIES)).default([]).describe("What the plugin does; each needs one of its hooks"),
  requires_capabilities: z.array(z.string()).default([]).describe("Capabilities other plugins must provide"),
  provides_capabilities: z.array(z.string()).default([]).describe("Capabilities offered to other plugins"),
  entry: insidePath()
    .optional()
    .describe(
      "The plugin's code. Default: src/index.ts, src/index.js, index.ts or index.js (quickjs), plugin.wasm (wasm); required for nsjail",
    ),
  config_schema: insidePath().optional().describe("JSON Schema (2020-12) of the plugin's configuration"),
  security: z.boolean().default(false).describe('Others rely on it for protection: on_error = "open" is refused'),
  api: z.literal(1).default(1).describe("Version of the plugin API"),
  priority: z
    .union([
      middlewarePriority(),
      z.strictObject({
        middleware: middlewarePriority().optional().describe("600 or more"),
        transform: priority().optional().describe("Position among the transforms"),
        lifecycle: priority().optional().describe("Position among lifecycle plugins"),
      }),
    ])
    .optional()
    .describe("Suggested position in the stack, 600 or more; or one for each capability"),
})

const sandbox = z.strictObject({
  type: tier().default("quickjs").describe("Where the plugin runs"),
  instance: z
    .enum(["shared", "fresh"])
    .optional()
    .describe("shared: one memory, kept between requests; fresh: restored before each request"),
  max_memory_mb: z.int().min(1).max(4096).default(64).describe("Guest memory, MiB"),
  max_cpu_ms: z.int().min(1).max(600_000).optional().describe("CPU time per call, ms. Default: the hook's own"),
  max_time_secs: z
    .int()
    .min(1)
    .max(600)
    .optional()
    .describe("Wall time per call, seconds. Default: the hook's own (10)"),
  max_time_ms: z.int().min(1).max(600_000).optional().describe("Wall time per call, ms; instead of max_time_secs"),
  storage_quota_kb: z.int().min(0).max(1_048_576).default(1024).describe("Storage per tenant, KiB"),
  interpreter: z.string().min(1).optional().describe("Program that runs the entry (nsjail), e.g. python3"),
  body: z
    .enum(["none", "request", "response", "both"])
    .default("none")
    .describe("Which bodies the plugin reads; they are buffered for it"),
  max_body: size().optional().describe("Largest body it is given"),
  on_large_body: z.enum(["fail", "skip"]).default("fail").describe("What happens to a body over max_body"),
  data_dir: z.boolean().default(false).describe("Gets a folder of its own, /data, that survives restarts (nsjail)"),
  ...programLimits,
})

/** plugin.toml */
export const manifestSchema = z.strictObject({
  manifest: manifest.describe("What the plugin is"),
  sandbox: sandbox.prefault({}).describe("Where it runs and how much it may use"),
  transform: z
    .strictObject({ matches: z.array(z.string().min(1)).default([]).describe("Globs of the files it is asked about") })
    .optional()
    .describe("Settings of the transform capability"),
  permissions: permissions().prefault({}).describe("What it asks for; the operator grants it in bext.config.toml"),
})

export type Manifest = z.output<typeof manifestSchema>
export type Permissions = z.output<ReturnType<typeof permissions>>
