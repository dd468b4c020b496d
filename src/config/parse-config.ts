import { dirname, resolve } from "node:path"
import type { z } from "zod"
import type { ErrorCode } from "../errors.ts"
import { checkConfig } from "./check-config.ts"
import { ConfigError, locate, type Problem, type Source } from "./config-error.ts"
import { formatListenAddress, parseListenAddress } from "./listen-address.ts"
import { readToml } from "./read-toml.ts"
import { type Config, configSchema } from "./schema.ts"
import { type Env, resolveSecrets, seal } from "./seal.ts"
import { toProblems } from "./to-problems.ts"

/** What the problems of a configuration are located in; see `configError`. */
const sources = new WeakMap<Config, Source>()

/**
 * The door for bext.config.toml: typed, defaulted, deeply frozen. Relative file paths count from the file's folder and
 * are absolute in the result; the port is already replaced by the variable PORT; secrets are read from `env`.
 * @param options.file - Path of the file, for messages and relative paths.
 * @throws {ConfigError} All problems at once: `E_CONFIG_INVALID`, or `E_CONFIG_SECRET_MISSING` when nothing but
 *   environment variables is missing.
 */
export function parseConfig(text: string, options: { file: string; env: Env }): Config {
  const source = { file: options.file, text: text.replace(/^\uFEFF/, "") }
  const input = readToml(source, "E_CONFIG_INVALID")
  return toConfig(input, source, dirname(resolve(options.file)), options.env)
}

/**
 * The same door for configuration made by a program: an object in the shape of the file.
 * @param options.folder - Relative file paths count from here.
 */
export function createConfig(input: z.input<typeof configSchema>, options: { folder: string; env: Env }): Config {
  return toConfig(input, { file: "the configuration", text: undefined }, options.folder, options.env)
}

/** An `E_CONFIG_INVALID` for problems that show only later, with their places in the file the configuration came from. */
export function configError(config: Config, problems: readonly Problem[]): ConfigError {
  return toError("E_CONFIG_INVALID", sources.get(config) ?? { file: "the configuration", text: undefined }, problems)
}

function toConfig(input: unknown, source: Source, folder: string, env: Env): Config {
  const result = configSchema.safeParse(input)
  const problems = result.success ? [] : toProblems(configSchema, input, result.error.issues)
  // A mistake in one section must not hide those in the others: what is sound is checked further.
  const sound = result.success ? result.data : soundSections(input, result.error.issues)
  const missing: Problem[] = []
  if (sound !== undefined) {
    seal(configSchema, sound, folder)
    problems.push(...checkConfig(sound), ...checkPort(env))
    missing.push(...resolveSecrets(enabledOnly(sound), env))
  }
  if (problems.length > 0) throw toError("E_CONFIG_INVALID", source, [...problems, ...missing])
  if (missing.length > 0) throw toError("E_CONFIG_SECRET_MISSING", source, missing)
  const config = withPort(sound!, env)
  sources.set(config, source)
  return config
}

function toError(code: ErrorCode, source: Source, problems: readonly Problem[]): ConfigError {
  return new ConfigError(code, source.file, locate(source, problems))
}

/** The configuration without the sections (or plugins, or built-ins) that hold a mistake. */
function soundSections(input: unknown, issues: readonly z.core.$ZodIssue[]): Config | undefined {
  if (typeof input !== "object" || input === null) return undefined
  const copy = structuredClone(input) as Record<string, unknown>
  for (const issue of issues) {
    const keys = issue.code === "unrecognized_keys" && issue.path.length < 2 ? issue.keys : [undefined]
    for (const key of keys) remove(copy, key === undefined ? issue.path : [...issue.path, key])
  }
  return configSchema.safeParse(copy).data
}

function remove(tree: Record<string, unknown>, path: readonly PropertyKey[]): void {
  const [section, name] = path.map(String)
  if (section === undefined) return
  const inner = tree[section]
  const nested = (section === "plugins" || section === "middleware") && name !== undefined
  if (nested && typeof inner === "object" && inner !== null) delete (inner as Record<string, unknown>)[name]
  else delete tree[section]
}

function enabledOnly(config: Config): Config {
  const plugins = Object.entries(config.plugins).filter(([, plugin]) => plugin.enabled)
  return { ...config, plugins: Object.fromEntries(plugins) }
}

function checkPort(env: Env): Problem[] {
  const { PORT } = env
  if (PORT === undefined || PORT === "" || portOf(PORT) !== undefined) return []
  const what = `the environment variable PORT is ${JSON.stringify(PORT)}; expected a whole number from 0 to 65535`
  return [{ path: ["server", "listen"], what, fixes: ["set PORT to a number, or unset it"] }]
}

function portOf(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined
}

function withPort(config: Config, env: Env): Config {
  const port = portOf(env.PORT ?? "")
  if (port === undefined) return config
  const { host } = parseListenAddress(config.server.listen)!
  return Object.freeze({
    ...config,
    server: Object.freeze({ ...config.server, listen: formatListenAddress({ host, port }) }),
  })
}
