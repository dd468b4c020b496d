import type { Logger } from "pino"
import { checkPlugin } from "../config/check-plugin.ts"
import type { Manifest, Permissions } from "../config/manifest-schema.ts"
import { configError } from "../config/parse-config.ts"
import type { Config } from "../config/schema.ts"
import { PluginError } from "../errors.ts"
import { compileConfigSchema } from "../host/config-schema.ts"
import type { Host } from "../host/create-host.ts"
import { createGuestServices, type ServiceOptions } from "../host/create-services.ts"
import { effectivePermissions } from "../host/permissions.ts"
import { toQueueSettings } from "../host/queue-settings.ts"
import type { InstanceMode, Json, Sandbox, SandboxTier, Tier } from "../sandbox/sandbox.ts"
import type { ByteBudget } from "./buffer-response.ts"
import { capabilitiesOf, checkHooks } from "./check-hooks.ts"
import { makeWay } from "./data-folder.ts"
import { FileStamps } from "./file-stamps.ts"
import type { GuestAccess } from "./guest-access.ts"
import { maskError } from "./guest-text.ts"
import { HeaderAccess } from "./header-access.ts"
import type { Lanes } from "./lanes/lanes.ts"
import { LeaderGuest } from "./leader-guest.ts"
import { LoadedPlugin } from "./loaded-plugin.ts"
import { mergeLimits, settingsOverCeilings } from "./plugin-limits.ts"
import { PluginMatch } from "./plugin-match.ts"
import { type PluginSource, readPluginSource } from "./plugin-source.ts"
import { PluginStats } from "./plugin-stats.ts"
import { toProgramSource } from "./program-source.ts"
import type { Quarantines } from "./quarantine.ts"
import type { Role } from "./role.ts"
import { checkIsolation, describeUnisolated, wantedIsolation } from "./wanted-isolation.ts"

/** Each sandbox there is, made when it is first needed; then always the same. */
export type Tiers = ReadonlyMap<Tier, () => Promise<SandboxTier>>

export interface LoadPluginOptions {
  readonly config: Config
  /** Absolute folder of the configuration file: the project. */
  readonly configDir: string
  readonly tiers: Tiers
  readonly host: Host
  readonly logger: Logger
  readonly role: Readonly<Role>
  readonly quarantines: Quarantines
  /** Where plugins go that use too much of this thread. Absent: they stay. */
  readonly lanes?: Lanes
  /** What buffered response bodies are taken from. */
  readonly bodies: ByteBudget
  /** Where programs have their data. Default: the folder of the state. */
  readonly dataDir?: string
  /** Development: folders inside the project have everything they ask for; what that is gets logged. */
  readonly grantLocalFolders?: boolean
}

const DEFAULT_PRIORITY = 600
const INLINE = { now: "inline", used: 0, reason: null, movedAtMs: null, waiting: 0 } as const

/**
 * Finds a plugin, works out what it may do and use, evaluates its top level and compares what it exports with what it
 * declares. Its `on_server_start` has not run.
 * @param predecessor - The plugin of that name that serves now: its counters go on.
 * @throws {BextError} with the code of what is wrong; nothing is left behind.
 */
export async function loadPlugin(
  name: string,
  options: LoadPluginOptions,
  predecessor?: LoadedPlugin,
): Promise<LoadedPlugin> {
  const { config, tiers, host, logger, role } = options
  const entry = config.plugins[name]!
  const found = readPluginSource(name, options)
  checkPlugin(config, name, found.manifest)
  const openTier = chooseTier(name, found.manifest, tiers)
  const isProgram = found.manifest.sandbox.type === "nsjail"
  const permissions = grant(name, found, options)
  const limits = mergeLimits(found.manifest.sandbox, entry, config.sandbox.ceilings)
  for (const what of settingsOverCeilings(name, entry, config.sandbox.ceilings)) logger.warn({ plugin: name }, what)
  const settings = checkSettings(name, found, config)
  const match = new PluginMatch(entry.match)
  const severalTenants = reachesSeveralTenants(found.manifest, match, permissions, config)
  const program = isProgram
    ? toProgramSource(name, found, { ...options, limits: limits.program, severalTenants })
    : null
  const rights: ServiceOptions = {
    plugin: name,
    owner: found.owner,
    permissions,
    config: settings,
    secrets: new Map(Object.entries(entry.secrets).map(([key, secret]) => [key, secret.reveal()])),
    quotaBytes: limits.storageBytes,
    queues: permissions.queues.map((queue) => toQueueSettings(queue, config.queues[queue])),
    body: found.manifest.sandbox.body,
    messageBytes: limits.sandbox.messageBytes,
  }
  const services = createGuestServices(host, rights)
  const files = new FileStamps()
  let sandbox: Sandbox | undefined
  try {
    const source = {
      name,
      folder: found.folder,
      entry: found.entry,
      noteFile: (path: string) => files.note(path),
      ...(program !== null && { program }),
    }
    // What a program reads of its folder, and when, nobody can tell.
    if (program !== null) files.noteTree(found.folder)
    const instance: InstanceMode = found.manifest.sandbox.instance ?? (severalTenants ? "fresh" : "shared")
    const tier = await openTier()
    if (program !== null) checkIsolation(name, wantedIsolation(config, name, found.local), tier.isolation!)
    if (program?.data) {
      const dir = options.dataDir ?? config.state.dir
      const what = `${dir} can be passed through by all users now: the programs of plugins get to their data by it`
      makeWay(dir, program.data.folder, () => logger.info({ plugin: name }, what))
    }
    const load = () => tier.load(source, services, limits.sandbox, instance)
    const leaderGuest = runsInLeaderAlone(found) ? new LeaderGuest(name, () => loadChecked(load, found.manifest)) : null
    if (role.leader) await leaderGuest?.open()
    const inline = leaderGuest ?? (await load())
    sandbox = inline
    const manifest = found.synthesised ? withCapabilities(found.manifest, sandbox) : found.manifest
    const headers = new HeaderAccess(name, permissions, config.server.identity_headers, (header) => {
      const what = `${name} read ${header}, which is hidden from it; to show it, ask for it in plugin.toml and grant it:`
      logger.warn({ plugin: name, header }, `${what} sensitive_headers = ["${header}"]`)
    })
    const access: GuestAccess = {
      plugin: name,
      headers,
      permissions,
      body: manifest.sandbox.body,
      maxBodyBytes: limits.maxBodyBytes,
      maxAnswerBytes: limits.sandbox.messageBytes,
    }
    const { lane: wanted, cpu_share: share } = entry
    // A program uses nothing of the serving thread that it could be sent away for.
    const lanes = program === null ? options.lanes : undefined
    const laned = lanes?.wrap(tier, inline, {
      wanted,
      share,
      instance,
      rights: { ...rights, access: { ...access, headers: config.server.identity_headers } },
      services,
      hidden: (header) => headers.refusesRead(header),
      logger,
    })
    sandbox = laned ?? inline
    if (leaderGuest === null) {
      checkHooks(manifest, sandbox.hooks)
      // Without a start hook there is nothing to wait for, and a thousand half-loaded guests would each hold a memory.
      if (!sandbox.hooks.has("on_server_start")) await sandbox.ready(null)
    }
    if (tier.isolation?.level === "process") logger.warn({ plugin: name }, describeUnisolated(name))
    return new LoadedPlugin({
      name,
      tier: tier.tier,
      instance,
      manifest,
      path: found.synthesised ? found.entry : found.folder,
      fingerprint: found.fingerprint,
      files,
      priority: entry.priority ?? suggestedPriority(manifest),
      onError: entry.on_error,
      required:
        entry.required ?? (entry.on_error === "closed" && manifest.manifest.capabilities.includes("middleware")),
      match,
      permissions,
      access,
      onLargeBody: manifest.sandbox.on_large_body,
      limits: limits.calls,
      memoryBytes: limits.sandbox.memoryBytes,
      role,
      stats: predecessor?.stats ?? new PluginStats(),
      config: settings,
      sandbox,
      laneStatus: () => laned?.status ?? { ...INLINE, wanted, share },
      isolation: tier.isolation,
      leaderGuest: leaderGuest ?? undefined,
      services,
      bodies: options.bodies,
      quarantines: options.quarantines,
      logger,
    })
  } catch (error) {
    maskError(error, services.mask)
    await sandbox?.[Symbol.asyncDispose]()
    await services[Symbol.asyncDispose]()
    throw error
  }
}

function chooseTier(name: string, { sandbox }: Manifest, tiers: Tiers): () => Promise<SandboxTier> {
  const openTier = tiers.get(sandbox.type)
  if (openTier !== undefined) return openTier
  const there = [...tiers.keys()].join(", ") || "none"
  throw new PluginError("E_PLUGIN_TIER_UNAVAILABLE", name, `needs the sandbox ${sandbox.type}; there is: ${there}`)
}

/** A secret that the operator mapped is granted by that. */
function grant(name: string, found: PluginSource, options: LoadPluginOptions): Permissions {
  const { config, logger } = options
  const entry = config.plugins[name]!
  const requested = found.manifest.permissions
  const everything = found.local && options.grantLocalFolders === true
  const secrets = [...new Set([...(entry.grant?.secrets ?? []), ...Object.keys(entry.secrets)])]
  const granted = everything ? "all" : { ...defined(entry.grant ?? {}), secrets }
  const { permissions, missing } = effectivePermissions(name, requested, granted, config.sandbox.ceilings)
  if (missing !== null) {
    const what = `asks for more than it was granted; to allow it, put into bext.config.toml:\n${missing.toml}`
    throw new PluginError("E_GRANT_MISSING", name, what)
  }
  if (everything && asksForAnything(requested)) {
    logger.info({ plugin: name, permissions }, `${name} is a folder of this project and was granted what it asks for`)
  }
  const unmapped = permissions.secrets.filter((secret) => !Object.hasOwn(entry.secrets, secret))
  if (unmapped.length > 0) {
    const line = `${unmapped[0]} = "env:${unmapped[0]}"`
    logger.warn(
      { plugin: name, secrets: unmapped },
      `${name}: no value for its secrets; [plugins.${name}.secrets] ${line}`,
    )
  }
  return permissions
}

function defined<T extends object>(row: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

function asksForAnything(permissions: Permissions): boolean {
  return Object.values(permissions).some((asked) => asked === true || (Array.isArray(asked) && asked.length > 0))
}

/** The plugin's own section, checked against the JSON Schema it ships, with the schema's defaults. */
function checkSettings(name: string, { schema }: PluginSource, config: Config): Json {
  const settings = config.plugins[name]!.config as Json
  if (schema === null) return settings
  const checked = compileConfigSchema(name, schema.file, schema.text).check(settings)
  if (checked.ok) return checked.value
  throw configError(
    config,
    checked.problems.map(({ path: pointer, message }) => ({
      path: ["plugins", name, "config", ...toPath(pointer)],
      what: message,
    })),
  )
}

/** JSON pointer (RFC 6901) → path of a field. */
function toPath(pointer: string): string[] {
  const steps = pointer.split("/").slice(1)
  return steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
}

/** A program that hears of what happened, and is part of no request, is needed once. */
function runsInLeaderAlone({ manifest: { manifest, sandbox } }: PluginSource): boolean {
  const { capabilities } = manifest
  return sandbox.type === "nsjail" && capabilities.length > 0 && capabilities.every((one) => one === "lifecycle")
}

async function loadChecked(load: () => Promise<Sandbox>, manifest: Manifest): Promise<Sandbox> {
  const sandbox = await load()
  try {
    checkHooks(manifest, sandbox.hooks)
    return sandbox
  } catch (error) {
    await sandbox[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * Tenants must not meet in one memory. It takes no mistake in the plugin: code that waits for a promise which another
 * request made goes on when that one's fetch arrives, and has its storage.
 */
function reachesSeveralTenants(
  { manifest }: Manifest,
  match: PluginMatch,
  { queues }: Permissions,
  { middleware }: Config,
): boolean {
  // Messages come from whoever pushes; `match` is for requests.
  const receives = queues.length > 0 && manifest.capabilities.includes("lifecycle")
  return match.severalTenants || (middleware.tenant !== undefined && (match.tenants?.size !== 1 || receives))
}

function withCapabilities(manifest: Manifest, sandbox: Sandbox): Manifest {
  return { ...manifest, manifest: { ...manifest.manifest, capabilities: capabilitiesOf(sandbox.hooks) } }
}

function suggestedPriority({ manifest }: Manifest): number {
  const { priority } = manifest
  return (typeof priority === "object" ? priority.middleware : priority) ?? DEFAULT_PRIORITY
}
