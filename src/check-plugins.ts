import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import type { Config } from "./config/schema.ts"
import { createTiers } from "./create-tiers.ts"
import { createHost } from "./host/create-host.ts"
import { BodyBudget } from "./http/body-budget.ts"
import { loadPlugin } from "./plugins/load-plugin.ts"
import type { LoadedPlugin } from "./plugins/loaded-plugin.ts"
import { openLmdbStore } from "./state/lmdb-store.ts"

/** What became of one plugin. The plugin is disposed when the next result is asked for. */
export type PluginCheck =
  | { readonly name: string; readonly plugin: LoadedPlugin }
  | { readonly name: string; readonly error: unknown }

/**
 * Loads every enabled plugin as the server would, one after the other, with a state of its own that is thrown away. Their
 * top level runs, their start hooks do not.
 * @param options.folder - Absolute folder of the configuration file.
 * @param options.warn - Gets what the server would log as a warning or an error.
 */
export async function* checkPlugins(
  config: Config,
  options: { folder: string; warn: (message: string) => void },
): AsyncGenerator<PluginCheck, void> {
  const { folder, warn } = options
  const logger = pino({ level: "warn" }, { write: (line) => warn((JSON.parse(line) as { msg: string }).msg) })
  const dir = mkdtempSync(join(tmpdir(), "bext-check-"))
  await using parts = new AsyncDisposableStack()
  parts.defer(() => rmSync(dir, { recursive: true, force: true }))
  const state = parts.use(openLmdbStore({ dir, log: logger }))
  const allowPrivate = config.fetch.allow_private
  const host = parts.use(createHost({ state, log: logger, isOwnListener: () => false, allowPrivate }))
  const bodies = new BodyBudget(config.server.limits.buffered_bodies)
  const tiers = await createTiers()
  for (const [name, { enabled }] of Object.entries(config.plugins)) {
    if (!enabled) continue
    let plugin: LoadedPlugin
    try {
      plugin = await loadPlugin(name, { config, configDir: folder, tiers, host, logger, leader: true, bodies })
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
