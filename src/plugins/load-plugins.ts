import { BextError } from "../errors.ts"
import { isUnchanged } from "./is-unchanged.ts"
import { LeaderPlugin, type Leading } from "./leader-plugin.ts"
import { type LoadPluginOptions, loadPlugin } from "./load-plugin.ts"
import { type PluginFailure, settleFailures } from "./plugin-failures.ts"
import { PluginSet } from "./plugin-set.ts"
import { resolvePlugin } from "./resolve-plugin.ts"
import { ServingPlugin } from "./serving-plugin.ts"

export interface LoadPluginsOptions extends LoadPluginOptions {
  /** How plugins that run in the process that leads hear of the others. Absent: this process is the whole server. */
  readonly leading?: Leading | undefined
}

/** Plugins loaded at the same time: enough to keep the disk busy, few enough to bound memory. */
const AT_ONCE = 16

/**
 * Loads every enabled plugin of the configuration; their start hooks have not run. Plugins that `previous` has and that
 * would be loaded just the same are taken from there, as they are.
 * @throws {BextError} When a required plugin cannot be loaded; the message names every plugin that failed. Others are
 *   left out and logged.
 */
export async function loadPlugins(options: LoadPluginsOptions, previous?: PluginSet): Promise<PluginSet> {
  const { config, logger } = options
  const names = Object.keys(config.plugins).filter((name) => config.plugins[name]!.enabled)
  const results = await mapAtMost(AT_ONCE, names, async (name) => {
    const before = previous?.find(name)
    if (before !== undefined && (await isUnchanged(before.plugin, options))) return before
    const plugin = await loadPlugin(name, options, before?.plugin)
    const { leading } = options
    const isAlone = plugin.leaderGuest !== null && leading !== undefined
    return isAlone ? new LeaderPlugin(plugin, plugin.leaderGuest, leading, options) : new ServingPlugin(plugin, logger)
  })
  const failures: PluginFailure[] = []
  const members: ServingPlugin[] = []
  for (const [index, result] of results.entries()) {
    if (result.status === "fulfilled") members.push(result.value)
    else {
      const [name, error] = [names[index]!, result.reason]
      failures.push({ name, error, required: isRequired(options, name, error) })
    }
  }
  const set = new PluginSet(members, logger)
  try {
    settleFailures(failures, logger)
  } catch (error) {
    await set.release()
    throw error
  }
  return set
}

/** By default, middleware that fails closed is; and what could not be read far enough to tell, or contradicts itself. */
function isRequired({ config, configDir }: LoadPluginsOptions, name: string, error: unknown): boolean {
  const entry = config.plugins[name]!
  if (entry.required !== undefined || entry.on_error === "open") return entry.required ?? false
  if (error instanceof BextError && error.code === "E_PLUGIN_HOOK_MISMATCH") return true
  try {
    const { manifest, synthesised } = resolvePlugin(name, entry, configDir)
    return synthesised || manifest.manifest.capabilities.includes("middleware")
  } catch {
    return true
  }
}

async function mapAtMost<In, Out>(
  atOnce: number,
  inputs: readonly In[],
  run: (input: In) => Promise<Out>,
): Promise<PromiseSettledResult<Out>[]> {
  const results: PromiseSettledResult<Out>[] = []
  let next = 0
  async function work(): Promise<void> {
    while (next < inputs.length) {
      const index = next++
      const [result] = await Promise.allSettled([run(inputs[index]!)])
      results[index] = result!
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return results
}
