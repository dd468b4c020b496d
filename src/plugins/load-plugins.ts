import { BextError } from "../errors.ts"
import { type LoadPluginOptions, loadPlugin } from "./load-plugin.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { type PluginFailure, settleFailures } from "./plugin-failures.ts"
import { PluginSet } from "./plugin-set.ts"
import { resolvePlugin } from "./resolve-plugin.ts"

export type LoadPluginsOptions = LoadPluginOptions

/** Plugins loaded at the same time: enough to keep the disk busy, few enough to bound memory. */
const AT_ONCE = 16

/**
 * Loads every enabled plugin of the configuration; their start hooks have not run.
 * @throws {BextError} When a required plugin cannot be loaded; the message names every plugin that failed. Others are
 *   left out and logged.
 */
export async function loadPlugins(options: LoadPluginsOptions): Promise<PluginSet> {
  const { config, logger } = options
  const names = Object.keys(config.plugins).filter((name) => config.plugins[name]!.enabled)
  const results = await mapAtMost(AT_ONCE, names, (name) => loadPlugin(name, options))
  const failures: PluginFailure[] = []
  const plugins: LoadedPlugin[] = []
  for (const [index, result] of results.entries()) {
    if (result.status === "fulfilled") plugins.push(result.value)
    else {
      const [name, error] = [names[index]!, result.reason]
      failures.push({ name, error, required: isRequired(options, name, error) })
    }
  }
  try {
    settleFailures(failures, logger)
  } catch (error) {
    await Promise.allSettled(plugins.map((plugin) => plugin[Symbol.asyncDispose]()))
    throw error
  }
  return new PluginSet(plugins, logger)
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
