import type { LoadPluginOptions } from "./load-plugin.ts"
import type { LoadedPlugin } from "./loaded-plugin.ts"
import { readPluginSource } from "./plugin-source.ts"

/** Whether loading the plugin again would give the same one. What cannot be read any more counts as changed. */
export async function isUnchanged(plugin: LoadedPlugin, options: LoadPluginOptions): Promise<boolean> {
  try {
    return readPluginSource(plugin.name, options).fingerprint === plugin.fingerprint
  } catch {
    return false
  }
}
