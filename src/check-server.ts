import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Logger, pino } from "pino"
import type { Config } from "./config/schema.ts"
import { createServer } from "./create-server.ts"
import { createTiers } from "./create-tiers.ts"
import { createHost } from "./host/create-host.ts"
import { BodyBudget } from "./http/body-budget.ts"
import { loadPlugin } from "./plugins/load-plugin.ts"
import type { LoadedPlugin } from "./plugins/loaded-plugin.ts"
import { QuarantineBook } from "./plugins/quarantine.ts"
import { openLmdbStore } from "./state/lmdb-store.ts"

/** What became of one plugin. The plugin is disposed when the next result is asked for. */
export type PluginCheck =
  | { readonly name: string; readonly plugin: LoadedPlugin }
  | { readonly name: string; readonly error: unknown }

export interface CheckOptions {
  /** Absolute folder of the configuration file. */
  readonly folder: string
  /** Gets what the server would log as a warning or an error. */
  readonly warn: (message: string) => void
}

/**
 * Makes everything but the plugins as the server would: keys, error pages, handlers, built-in middleware.
 * @throws {BextError} What the first part that cannot be made says.
 */
export async function checkBuiltIns(config: Config, options: CheckOptions): Promise<void> {
  await using parts = new AsyncDisposableStack()
  const state = { dir: temporaryFolder(parts) }
  parts.use(
    await createServer({ ...config, plugins: {}, state }, { folder: options.folder, logger: toLogger(options) }),
  )
}

/**
 * Loads every enabled plugin as the server would, one after the other, with a state of its own that is thrown away. Their
 * top level runs, their start hooks do not.
 */
export async function* checkPlugins(config: Config, options: CheckOptions): AsyncGenerator<PluginCheck, void> {
  const { folder } = options
  const logger = toLogger(options)
  await using parts = new AsyncDisposableStack()
  const dataDir = temporaryFolder(parts)
  const state = parts.use(openLmdbStore({ dir: dataDir, log: logger }))
  const allowPrivate = config.fetch.allow_private
  const host = parts.use(createHost({ state, log: logger, isOwnListener: () => false, allowPrivate }))
  const bodies = new BodyBudget(config.server.limits.buffered_bodies)
  const tiers = parts.use(createTiers(config.sandbox))
  const role = { leader: true }
  const quarantines = parts.use(await QuarantineBook.open(state))
  for (const [name, { enabled }] of Object.entries(config.plugins)) {
    if (!enabled) continue
    let plugin: LoadedPlugin
    try {
      const shared = { tiers, host, logger, role, quarantines, bodies }
      plugin = await loadPlugin(name, { config, configDir: folder, dataDir, ...shared })
    } catch (error) {
      yield { name, error }
      continue
    }
    try {
      yield { name, plugin }
    } finally {
      await plugin[Symbol.asyncDispose]()
    }
  }
}

function temporaryFolder(parts: AsyncDisposableStack): string {
  const dir = mkdtempSync(join(tmpdir(), "bext-check-"))
  parts.defer(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function toLogger({ warn }: CheckOptions): Logger {
  return pino({ level: "warn" }, { write: (line) => warn((JSON.parse(line) as { msg: string }).msg) })
}
