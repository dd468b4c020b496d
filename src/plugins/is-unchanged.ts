import type { LoadPluginOptions } from "./load-plugin.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { readPluginSource } from "./plugin-source.ts"

/** Whether loading the plugin again would give the same one. What cannot be read any more counts as changed. */
export async function isUnchanged(plugin: LoadedPlugin, options: LoadPluginOptions): Promise<boolean> {
  // Looking takes a moment, and there may be a thousand plugins: requests get their turn between two of them.
  await new Promise((turn) => setImmediate(turn))
  try {
    return readPluginSource(plugin.name, options).fingerprint === plugin.fingerprint && plugin.files.unchanged()
  } catch {
    return false
  }
}
