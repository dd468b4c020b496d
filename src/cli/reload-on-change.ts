import { loadConfig } from "../config/load-config.ts"
import type { Config } from "../config/schema.ts"
import type { RunningServer } from "../processes/running-server.ts"
import { FileWatcher } from "./watch-files.ts"
import { watchedPaths } from "./watched-paths.ts"

/** Reloads a server whenever its configuration or one of its plugins changes; dispose of it to end that. @param file - The configuration. */
export function reloadOnChange(server: RunningServer, file: string): Disposable {
  const watch = () => watcher.watch(watchedPaths(file, latest(server, file)).paths)
  const watcher = new FileWatcher(() => {
    watch()
    // Whoever reloads writes to the log why it failed.
    server.control.reload("watch").catch(() => {})
  })
  watch()
  return watcher
}

/** What the file says, for a plugin it names that cannot be loaded yet; what serves, while the file cannot be read. */
function latest(server: RunningServer, file: string): Config {
  try {
    return loadConfig(file)
  } catch {
    return server.config
  }
}
